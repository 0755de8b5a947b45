"""``fleetnet distill``: a small network that answers as larger ones do."""

from __future__ import annotations

import contextlib
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

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
from fleetnet.training.new_run import new_run_folder
from fleetnet.training.shorthands import shorthands
from fleetnet.weights.settings_file import model_named
from fleetnet.weights.subject import LAST

if TYPE_CHECKING:
    from fleetnet.data.splits import Split
    from fleetnet.training.distillation.pool import Pool
    from fleetnet.training.distillation.selection import Loading, Scores
    from fleetnet.training.distillation.teachers import Teacher
    from fleetnet.training.distillation.work import Work
    from fleetnet.training.recipe import Recipe
    from fleetnet.training.trainer import TrainResult

Step = Literal["teacher", "clean", "score", "merge", "train", "finetune"]


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
            result = _Distilling(work, loggers_of(log)).run(step)
    if result is not None:
        report(result)


class _Distilling:
    """The steps of the work, each of which ends at once if it is done."""

    def __init__(self, work: Work, log: Sequence[str]) -> None:
        self.work = work
        self.log = log
        self.words: tuple[str, ...] = work.teachers

    def run(self, last: Step | None) -> TrainResult | None:
        """Do all steps, or those up to one; return what the last training reached, if any did."""
        from fleetnet.training.distillation.work import (
            DISTILLED,
            FINETUNED,
            check_teachers,
            taught_by,
        )

        work = self.work
        source = self._source()
        self._train_self()
        if last == "teacher":
            return None
        parts = self._split(source)
        teachers = self._open_teachers(source)
        check_teachers(source, parts.val, teachers, say)
        pool = self._pool(source, parts) if work.unlabelled else None
        work.record()
        data, scores = self._prepare(source, parts, teachers, pool, last)
        if last in ("clean", "score", "merge"):
            return None
        options = work.options if data == work.data else SourceOptions()
        weights = fetched_weights(work.weights, work.student, offline=False)
        recipe = taught_by(work.recipe, self.words, teachers, scores)
        result = self._train(data, options, recipe, DISTILLED, weights)
        if work.finetuning is None or last == "train":
            return result
        print_line(f"distilled: top-1 {result.history[-1].top1:.2%}, to be fine-tuned")
        own = self._own_answers(source, parts, teachers)
        recipe = taught_by(work.finetuning, self.words, teachers, own)
        start = work.folder / DISTILLED / LAST
        return self._train(work.data, work.options, recipe, FINETUNED, start)

    def _source(self) -> Source:
        from fleetnet.training.distillation.work import check_source

        source = open_told(self.work.data, self.work.options)
        check_source(source)
        return source

    def _split(self, source: Source) -> Split:
        from fleetnet.training.run_setup import split_data

        with comparing(source) as advance:
            return split_data(source, self.work.recipe, advance, lambda _: None)

    def _train_self(self) -> None:
        """Train the student's network on the labels, if it is to be its own teacher."""
        from fleetnet.training.distillation.work import SELF, TEACHER

        if SELF not in self.words:
            return
        work = self.work
        work.record()
        self._train(work.data, work.options, work.plain_recipe, TEACHER, None)
        trained = str((work.folder / TEACHER).resolve())
        self.words = tuple(trained if word == SELF else word for word in self.words)

    def _open_teachers(self, source: Source) -> tuple[Teacher, ...]:
        from fleetnet.training.distillation.opening import open_teachers

        return open_teachers(self.words, source.classes, self._loading.device, say=say)

    def _prepare(
        self,
        source: Source,
        parts: Split,
        teachers: Sequence[Teacher],
        pool: Pool | None,
        last: Step | None,
    ) -> tuple[str, Path | None]:
        """Return the data to train on, and the file of answers to look up, if they are to be."""
        work = self.work
        if pool is None:
            return work.data, self._own_answers(source, parts, teachers)
        with progress() as bar:
            begin = Steps(bar)
            found = pool.clean(begin, say)
            if last == "clean":
                return work.data, None
            scores = pool.score(found, teachers, begin, loading=self._loading)
        if last == "score":
            return work.data, None
        chosen = pool.merge(found, scores, say)
        answers = self._own_answers(source, parts, teachers, scores[chosen])
        return str(pool.folder), answers

    def _pool(self, source: Source, parts: Split) -> Pool:
        from fleetnet.data.sources.pool import LooseImages
        from fleetnet.data.unlabelled import find_unlabelled
        from fleetnet.training.distillation.pool import Pool
        from fleetnet.training.distillation.work import POOL

        work = self.work
        left_out = LeftOut()
        loose = LooseImages(find_unlabelled(work.unlabelled, left_out), source.classes)
        warn_left_out(left_out)
        return Pool(work.folder / POOL, source, parts, loose, work.distance, work.most)

    def _own_answers(
        self,
        source: Source,
        parts: Split,
        teachers: Sequence[Teacher],
        more: Scores | None = None,
    ) -> Path | None:
        """Write the answers to the labelled images and some more, if they are to be looked up."""
        from fleetnet.training.distillation.pool import labelled_scores, write_scores

        if not self.work.looked_up:
            return None
        folder = self.work.folder / ("answers" if more is None else "answers-pool")
        with progress() as bar:
            found = labelled_scores(
                source,
                parts.train,
                teachers,
                self.work.folder / "answers",
                Steps(bar),
                loading=self._loading,
            )
        return write_scores(folder, found, more)

    @property
    def _loading(self) -> Loading:
        from fleetnet.training.distillation.selection import Loading
        from fleetnet.training.run_setup import find_device

        recipe = self.work.recipe
        return Loading(recipe.batch_size, recipe.data.workers, find_device(recipe.device))

    def _train(
        self,
        data: str,
        options: SourceOptions,
        recipe: Recipe,
        name: str,
        weights: str | Path | None,
    ) -> TrainResult:
        """Train, or go on with the training, in the folder of that name."""
        folder = self.work.folder / name
        if (folder / LAST).exists():
            return resume_training(folder, data, options, None)
        return run_training(data, options, self.work.student, recipe, folder, weights, self.log)
