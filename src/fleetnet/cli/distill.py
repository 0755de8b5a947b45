"""``fleetnet distill``: a small network that answers as larger ones do."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from fleetnet.cli.console import Steps, print_line, progress, say, warn_left_out
from fleetnet.cli.options import MODEL_HELP, EpochsOption, RecipeOption, SettingsOption, SizeOption
from fleetnet.cli.sources import DataArgument, comparing, open_told, with_source_options
from fleetnet.cli.train import (
    DEFAULT_LOG,
    fetched_weights,
    load_recipe,
    loggers_of,
    report,
    resume_training,
    run_training,
)
from fleetnet.data.near_duplicates import MAX_DISTANCE, USUAL_DISTANCE
from fleetnet.data.sources import Source, SourceOptions
from fleetnet.errors import PYTORCH, needing
from fleetnet.left_out import LeftOut
from fleetnet.training.distillation import Step
from fleetnet.training.new_run import new_run_folder
from fleetnet.training.shorthands import shorthands
from fleetnet.weights.settings_file import model_named
from fleetnet.weights.subject import LAST

if TYPE_CHECKING:
    from fleetnet.reporting import Advance, Begin
    from fleetnet.training.recipe import Recipe
    from fleetnet.training.trainer import TrainResult


def register(app: typer.Typer) -> None:
    """Add the verb."""
    app.command("distill", short_help="Train a network to answer as larger ones do.")(distill)


@with_source_options
def distill(
    data: DataArgument,
    teacher: Annotated[
        list[str],
        typer.Option(
            "--teacher",
            "-t",
            metavar="MODEL",
            help=f"{MODEL_HELP}  Or timm:NAME, timm:NAME:FILE, or 'self'; several are averaged.",
        ),
    ],
    student: Annotated[
        str, typer.Option("--student", "-m", metavar="NAME", help="As train --model.")
    ],
    unlabelled: Annotated[
        list[str] | None,
        typer.Option("--unlabelled", metavar="DIR", help="More images; may be repeated."),
    ] = None,
    loss: Annotated[
        str | None,
        typer.Option(metavar="LOSS", help="js, kl, skl or dkd: short for --set distill.loss=LOSS."),
    ] = None,
    top_k: Annotated[
        int | None,
        typer.Option(
            "--top-k", min=1, help="Unlabelled images for each class the teacher sees.  [all]"
        ),
    ] = None,
    distance: Annotated[
        int,
        typer.Option(min=0, max=MAX_DISTANCE, help="Bits of 64 that two images alike may differ."),
    ] = USUAL_DISTANCE,
    look_up: Annotated[
        bool, typer.Option("--look-up", help="Ask the teacher once an image, not each time.")
    ] = False,
    recipe: RecipeOption = "finetune",
    settings: SettingsOption = None,
    epochs: EpochsOption = None,
    size: SizeOption = None,
    finetune_epochs: Annotated[
        int | None,
        typer.Option(
            "--finetune-epochs",
            min=0,
            help="On the labelled images, in the end.  [a twelfth with --unlabelled, else 0]",
        ),
    ] = None,
    finetune_set: Annotated[
        list[str] | None,
        typer.Option("--finetune-set", metavar="KEY=VALUE", help="As --set, for that part alone."),
    ] = None,
    weights: Annotated[
        str | None, typer.Option(metavar="MODEL", help="Weights that the student starts from.")
    ] = None,
    output: Annotated[
        Path | None,
        typer.Option(
            "--output", "-o", help="Folder; what was begun there goes on.  [runs/STUDENT-TIME]"
        ),
    ] = None,
    step: Annotated[
        Step | None,
        typer.Option("--step", help="End after this step; those before it that are done stay."),
    ] = None,
    log: Annotated[str, typer.Option(help="As train --log.")] = DEFAULT_LOG,
    *,
    source: SourceOptions,
) -> None:
    """Train a network to answer as teachers do, on labelled and on unlabelled images.

    Unlabelled images that are held out under another name are removed, the teachers' answers to the
    others computed once, and the surest of each class chosen. The same command goes on where it was
    stopped.
    """
    with needing(PYTORCH, "train", "training"):
        from fleetnet.training.distillation.steps import Distillation
        from fleetnet.training.distillation.work import Work, finetuning_of, whole_word
    network = model_named(student)
    told = [*shorthands(epochs, size), *([] if loss is None else [f"distill.loss={loss}"])]
    chosen = load_recipe(recipe, [*told, *(settings or [])], network)
    finetuning = finetuning_of(chosen, finetune_epochs, finetune_set or [], wanted=bool(unlabelled))
    place = new_run_folder(network) if output is None else contextlib.nullcontext(output)
    with place as folder:
        work = Work(
            folder=folder,
            data=data,
            options=source,
            student=network,
            teachers=tuple(map(whole_word, teacher)),
            unlabelled=tuple(unlabelled or ()),
            distance=distance,
            most=top_k,
            looked_up=look_up,
            recipe=chosen,
            finetuning=finetuning,
            weights=None if weights is None else whole_word(weights),
        )
        with work.begun():
            result = Distillation(work, _Shown(network, loggers_of(log))).run(step)
    if result is not None:
        report(result)


class _Shown:
    """Opens and trains for the steps, and shows them; the steps' watcher.

    Args:
        student: name of the network to train.
        log: loggers of its trainings.
    """

    def __init__(self, student: str, log: Sequence[str]) -> None:
        self.student = student
        self.log = log

    def say(self, text: str) -> None:
        say(text)

    def left_out(self, files: LeftOut) -> None:
        warn_left_out(files)

    def open(self, data: str, options: SourceOptions) -> Source:
        return open_told(data, options)

    def comparing(self, source: Source) -> contextlib.AbstractContextManager[Advance]:
        return comparing(source)

    @contextlib.contextmanager
    def steps(self) -> Iterator[Begin]:
        with progress() as bar:
            yield Steps(bar)

    def train(
        self,
        data: str,
        options: SourceOptions,
        recipe: Recipe,
        folder: Path,
        weights: str | Path | None,
    ) -> TrainResult:
        if (folder / LAST).exists():
            return resume_training(folder, data, options, None)
        if isinstance(weights, str):
            weights = fetched_weights(weights, self.student, offline=False)
        return run_training(data, options, self.student, recipe, folder, weights, self.log)

    def distilled(self, result: TrainResult) -> None:
        print_line(f"distilled: top-1 {result.history[-1].top1:.2%}, to be fine-tuned")
