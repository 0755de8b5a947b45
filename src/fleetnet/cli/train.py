"""``fleetnet train``: from a folder of images to a checkpoint."""

from __future__ import annotations

import datetime
import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.progress import BarColumn, Progress, TaskID, TextColumn, TimeRemainingColumn

from fleetnet.cli.console import console, say, warn_unreadable
from fleetnet.errors import FleetnetError, require

if TYPE_CHECKING:
    from fleetnet.training.recipe import Recipe
    from fleetnet.training.trainer import EpochRecord, Trainer, TrainResult

DataArgument = Annotated[
    str,
    typer.Argument(
        metavar="DATA",
        help="Folder with a sub-folder of images per class (or train/ and val/ of those), or "
        "'elpv'.",
    ),
]
LabelOption = Annotated[
    str | None, typer.Option("--label", help="Which label to learn, for 'elpv': type or defect.")
]


def register(app: typer.Typer) -> None:
    """Add the verb."""
    app.command("train")(train)


def train(
    data: DataArgument,
    model: Annotated[
        str, typer.Option("--model", "-m", help="A name from 'fleetnet models'.")
    ] = "MobileNetV2",
    recipe: Annotated[
        str, typer.Option("--recipe", "-r", help="A recipe's name, or a YAML file.")
    ] = "finetune",
    settings: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="KEY=VALUE", help="Override a value of the recipe."),
    ] = None,
    epochs: Annotated[int | None, typer.Option(help="Short for --set epochs=N.")] = None,
    size: Annotated[
        int | None, typer.Option(help="Input side in pixels; resizes to 8/7 of it first.")
    ] = None,
    weights: Annotated[
        str | None,
        typer.Option(help="Weights to start from: a file from anywhere, or a published set."),
    ] = None,
    offline: Annotated[
        bool, typer.Option("--offline", help="Take published weights from the cache alone.")
    ] = False,
    output: Annotated[
        Path | None, typer.Option("--output", "-o", help="Folder for the run.  [runs/MODEL-TIME]")
    ] = None,
    overwrite: Annotated[
        bool, typer.Option("--overwrite", help="Replace a run that is in that folder.")
    ] = False,
    label: LabelOption = None,
) -> None:
    """Train a network on labelled images and leave checkpoints.

    A quarter of each class is held out by a seeded split (--set data.val_fraction=…) and evaluated
    after each epoch; data with train/ and val/ keeps its own split.
    """
    chosen = load_recipe(recipe, [*shorthands(epochs, size), *(settings or [])])
    output = output or default_output(model)
    if (output / "last.ckpt").exists() and not overwrite:
        raise FleetnetError(
            f"{output} holds a run already: choose another --output, or --overwrite it"
        )
    result = run_training(data, label, model, chosen, output, _fetched(weights, model, offline))
    last = result.history[-1]
    best = max(result.history, key=lambda record: record.top1)
    out = console()
    out.print(f"last epoch: top-1 {last.top1:.2%} on {result.metrics.images} held-out images")
    out.print(f"best epoch: {best.epoch}, top-1 {best.top1:.2%}")
    out.print(f"checkpoints: {result.last} and {result.best}", soft_wrap=True)
    out.print(f"next: fleetnet export {result.best}", soft_wrap=True)


def shorthands(epochs: int | None, size: int | None) -> list[str]:
    """Return the recipe settings that ``--epochs`` and ``--size`` stand for."""
    settings = [] if epochs is None else [f"epochs={epochs}"]
    if size is not None:
        settings += [f"input.crop={size}", f"input.resize={round(size * 8 / 7)}"]
    return settings


def load_recipe(name: str, settings: list[str]) -> Recipe:
    """Load a recipe, or say which extra is missing."""
    try:
        from fleetnet.training.recipe import Recipe
    except ModuleNotFoundError as error:
        raise _missing(error) from None
    return Recipe.load(name, settings)


def default_output(model: str) -> Path:
    """Return ``runs/MODEL-TIME``, which does not exist yet."""
    now = datetime.datetime.now().astimezone()
    return Path("runs") / f"{model}-{now:%Y%m%d-%H%M%S}"


def run_training(
    data: str,
    label: str | None,
    model: str,
    recipe: Recipe,
    output: Path,
    weights: str | Path | None = None,
) -> TrainResult:
    """Train with a progress bar; warn of images that could not be read."""
    from fleetnet.data.sources import open_source

    try:
        from fleetnet.training.trainer import Trainer
    except ModuleNotFoundError as error:
        raise _missing(error) from None
    source = open_source(data, label)
    trainer = Trainer(source, model, recipe, output, weights=weights)
    with TrainingProgress() as observer:
        result = trainer.fit(observer)
    warn_unreadable(result.unreadable)
    return result


def _fetched(weights: str | None, model: str, offline: bool) -> Path | None:
    """Return the file of ``--weights``, fetched with a progress bar if it is a published set."""
    if weights is None:
        return None
    from fleetnet.cli.weights import fetch_with_progress
    from fleetnet.weights.hub import is_set_name

    if is_set_name(weights):
        return fetch_with_progress(weights, model, offline=offline)
    return Path(weights)


def _missing(error: ModuleNotFoundError) -> FleetnetError:
    if error.name not in ("torch", "yaml"):
        raise error
    return require("PyTorch", "train", "training")


class TrainingProgress:
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

    def start(self, run: Trainer) -> None:
        """Print the recipe whole and what it is applied to."""
        self._epochs = run.recipe.epochs
        say(
            f"{run.model} on {run.source.description}: {len(run.source.classes)} classes, "
            f"{len(run.split.train)} images to train, {len(run.split.val)} held out, "
            f"on {run.device}"
        )
        for note in run.notes:
            say(note)
        say(run.recipe.to_yaml().rstrip())
        self._console.print(f"{'epoch':>9} {'loss':>8} {'train':>8} {'top-1':>8} {'images/s':>9}")

    def epoch(self, number: int, images: int) -> None:
        """Begin an epoch's bar."""
        self._images = images
        self._seen, self._started = 0, time.perf_counter()
        if self._task is None:
            # One task over the whole run, so that the ETA is the run's.
            self._task = self._progress.add_task("", total=images * self._epochs, figures="")
        self._progress.update(self._task, description=f"epoch {number}/{self._epochs}")

    def step(self, images: int, loss: float, top1: float) -> None:
        """Advance the bar."""
        if self._task is None:
            return
        self._seen += images
        speed = self._seen / (time.perf_counter() - self._started)
        figures = f"loss {loss:.3f}  train {top1:.1%}  {speed:.0f} images/s"
        self._progress.update(self._task, advance=images, figures=figures)

    def done(self, record: EpochRecord) -> None:
        """Print the epoch's line."""
        self._done += self._images
        if self._task is not None:
            self._progress.update(self._task, completed=self._done)
        self._console.print(
            f"{f'{record.epoch}/{self._epochs}':>9} {record.train_loss:>8.4f} "
            f"{record.train_top1:>8.2%} {record.top1:>8.2%} {record.images_per_s:>9.0f}"
        )
