"""What a terminal shows of a training run."""

from __future__ import annotations

import time

from rich.progress import BarColumn, Progress, TaskID, TextColumn, TimeRemainingColumn

from fleetnet.amounts import count
from fleetnet.cli.console import console, say
from fleetnet.training.callbacks import Callback, Figures
from fleetnet.training.progress import EpochRecord
from fleetnet.training.trainer import Trainer


class TrainingProgress(Callback):
    """A bar for the epoch at hand on a terminal, and a line for every epoch done."""

    def __init__(self) -> None:
        self._console = console(stderr=True)
        self._progress = Progress(
            TextColumn("{task.description}"),
            BarColumn(bar_width=None),
            TextColumn("{task.fields[figures]}"),
            TextColumn("ETA"),
            TimeRemainingColumn(),
            console=self._console,
            transient=True,
            disable=not self._console.is_terminal,
        )
        self._task: TaskID | None = None
        self._epochs = 0
        self._done = 0
        self._images = 0
        self._seen, self._started = 0, 0.0

    def __enter__(self) -> TrainingProgress:
        """Start drawing."""
        self._progress.start()
        return self

    def __exit__(self, *_: object) -> None:
        """Stop drawing."""
        self._progress.stop()

    def on_train_start(self, run: Trainer) -> None:
        """Print the recipe whole and what it is applied to."""
        self._epochs = run.recipe.epochs
        say(
            f"{run.model} on {run.source.description}: "
            f"{count(len(run.source.classes), 'class')}, "
            f"{count(len(run.split.train), 'image')} to train, {len(run.split.val)} held out, "
            f"on {run.device}"
        )
        for note in run.notes:
            say(note)
        for line in run.recipe.to_yaml().splitlines():
            say(line)
        self._console.print(f"{'epoch':>9} {'loss':>8} {'train':>8} {'top-1':>8} {'images/s':>9}")

    def on_epoch_start(self, epoch: int, images: int, done: int) -> None:
        """Begin an epoch's bar."""
        self._images = images
        self._seen, self._started = 0, time.perf_counter()
        self._done = images * (epoch - 1)
        if self._task is None:
            # One task over the whole run, so that the ETA is the run's.
            self._task = self._progress.add_task("", total=images * self._epochs, figures="")
        self._progress.update(
            self._task, description=f"epoch {epoch}/{self._epochs}", completed=self._done + done
        )

    def on_figures(self, figures: Figures) -> None:
        """Advance the bar."""
        if self._task is None:
            return
        self._seen += figures.images
        speed = self._seen / (time.perf_counter() - self._started)
        shown = (
            f"loss {figures.loss:.3f}  train {figures.top1:.1%}  lr {figures.lr:.2g}  "
            f"{speed:.0f} images/s"
        )
        self._progress.update(self._task, advance=figures.images, figures=shown)

    def on_epoch_end(self, record: EpochRecord) -> None:
        """Print the epoch's line."""
        self._done += self._images
        if self._task is not None:
            self._progress.update(self._task, completed=self._done)
        self._console.print(
            f"{f'{record.epoch}/{self._epochs}':>9} {record.train_loss:>8.4f} "
            f"{record.train_top1:>8.2%} {record.top1:>8.2%} {record.images_per_s:>9.0f}"
        )
