"""What a terminal shows of a search: which training runs, and how much time is left."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

from rich.progress import BarColumn, Progress, TaskID, TextColumn

from fleetnet.amounts import share
from fleetnet.cli.console import console
from fleetnet.training.callbacks import Callback, Figures
from fleetnet.training.progress import EpochRecord

if TYPE_CHECKING:
    from fleetnet.training.trainer import Trainer


class _HasTime(Protocol):
    @property
    def left_s(self) -> float: ...


class AutoProgress(Callback):
    """A bar for the training at hand on a terminal, and a line for every epoch done."""

    def __init__(self) -> None:
        self._console = console(stderr=True)
        self._progress = self._new_progress()
        self._task: TaskID | None = None
        self._search: _HasTime | None = None
        self._epochs = 0

    def _new_progress(self) -> Progress:
        return Progress(
            TextColumn("{task.description}"),
            BarColumn(bar_width=None),
            TextColumn("{task.fields[figures]}"),
            console=self._console,
            transient=True,
            disable=not self._console.is_terminal,
        )

    def of(self, search: _HasTime) -> None:
        """Show the time that this search has left."""
        self._search = search

    def __enter__(self) -> AutoProgress:
        """Start drawing."""
        self._progress.start()
        return self

    def __exit__(self, *_: object) -> None:
        """Stop drawing."""
        self._progress.stop()

    def on_train_start(self, run: Trainer) -> None:
        """Begin a bar for a training."""
        if self._task is not None:
            self._progress.remove_task(self._task)
        self._epochs = run.recipe.epochs
        images = len(run.split.train) * run.recipe.epochs
        self._task = self._progress.add_task(run.model, total=images, figures="")

    def on_epoch_start(self, epoch: int, images: int, done: int) -> None:
        """Show which epoch begins."""
        if self._task is not None:
            self._progress.update(
                self._task,
                description=f"epoch {epoch}/{self._epochs}",
                completed=images * (epoch - 1) + done,
            )

    def on_figures(self, figures: Figures) -> None:
        """Advance the bar."""
        if self._task is not None:
            shown = f"loss {figures.loss:.3f}  {self._left()}"
            self._progress.update(self._task, advance=figures.images, figures=shown)

    def on_epoch_end(self, record: EpochRecord) -> None:
        """Print the epoch's line."""
        self._console.print(
            f"{f'{record.epoch}/{self._epochs}':>9}  loss {record.train_loss:.4f}  "
            f"top-1 {share(record.score)}  {self._left()}"
        )

    def _left(self) -> str:
        from fleetnet.training.search.plan import spoken

        if self._search is None:
            return ""
        left = self._search.left_s
        return f"{spoken(left)} left" if left > 0 else f"{spoken(-left)} over the budget"
