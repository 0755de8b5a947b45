"""``fleetnet train``: from a folder of images to a checkpoint."""

from __future__ import annotations

import contextlib
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import typer

from fleetnet.amounts import count
from fleetnet.cli.console import (
    print_line,
    progress,
    say,
    warn,
    warn_unreadable,
)
from fleetnet.cli.opening import open_file
from fleetnet.cli.options import EpochsOption, RecipeOption, SettingsOption, SizeOption
from fleetnet.cli.sources import (
    OptionalDataArgument,
    comparing,
    open_told,
    open_watched,
    tell_of,
    warn_of_names,
    with_source_options,
)
from fleetnet.cli.train_asked import (
    MODEL,
    RECIPE,
    Asked,
    AutoJsonOption,
    AutoOption,
    BudgetOption,
    GoOnOption,
    LogOption,
    ModelOption,
    OfflineOption,
    OutputOption,
    OverwriteOption,
    ProcessesOption,
    RestartsOption,
    ResumeOption,
    RunFolder,
    SearchLrOption,
    StrictOption,
    TimeoutOption,
    Wanted,
    WeightsOption,
)
from fleetnet.cli.train_auto import BUDGET, Told, check_undecided, train_auto
from fleetnet.cli.train_together import (
    check_output,
    check_unchanged,
    goes_on,
    joined_with_others,
    start,
)
from fleetnet.data.sources import Source, SourceOptions, open_source
from fleetnet.errors import PYTORCH, FleetnetError, needing
from fleetnet.reporting import Advance
from fleetnet.training.launch import check_processes
from fleetnet.training.launch_environment import Launched
from fleetnet.training.loggers import Logger, open_loggers
from fleetnet.training.new_run import new_run_folder
from fleetnet.training.shorthands import shorthands
from fleetnet.weights.settings_file import NETWORK, model_named
from fleetnet.weights.subject import LAST, find_weights_for

if TYPE_CHECKING:
    from fleetnet.training.ranks import Ranks
    from fleetnet.training.recipe import Recipe
    from fleetnet.training.trainer import Trainer, TrainResult


DEFAULT_LOG = "tensorboard"


def register(app: typer.Typer) -> None:
    """Add the verb."""
    app.command("train", short_help="Train a network on labelled images.")(train)


@with_source_options
def train(
    data: OptionalDataArgument = None,
    model: ModelOption = MODEL,
    recipe: RecipeOption = RECIPE,
    settings: SettingsOption = None,
    epochs: EpochsOption = None,
    size: SizeOption = None,
    strict: StrictOption = False,
    weights: WeightsOption = None,
    offline: OfflineOption = False,
    output: OutputOption = None,
    overwrite: OverwriteOption = False,
    resume: ResumeOption = None,
    search_lr: SearchLrOption = False,
    go_on: GoOnOption = False,
    nproc: ProcessesOption = None,
    restarts: RestartsOption = 3,
    timeout: TimeoutOption = 600.0,
    log: LogOption = None,
    auto: AutoOption = False,
    budget: BudgetOption = None,
    as_json: AutoJsonOption = False,
    *,
    source: SourceOptions,
) -> None:
    """Train a network on labelled images and leave checkpoints.

    A quarter of each class is held out by a seeded split (--set data.val_fraction=0.25) and
    evaluated after each epoch; data with train/ and val/ keeps its own split, and test/ is not
    used. Ctrl-C saves and ends; --resume goes on as if the run had never stopped. In several
    processes (--nproc, or torchrun -m fleetnet train) a batch is shared among them.
    """
    wanted = Wanted(model, recipe, settings, epochs, size, weights, strict=strict, offline=offline)
    folder = RunFolder(output, resume, overwrite=overwrite, go_on=go_on)
    asked = Asked(data, source, wanted, folder, nproc, restarts, timeout, log, search_lr=search_lr)
    if auto:
        check_undecided(asked.decided)
        told = Told(budget or BUDGET, output, go_on=go_on, overwrite=overwrite)
        train_auto(data, source, [*wanted.stopping, *(settings or [])], told, as_json=as_json)
        return
    if budget is not None or as_json:
        raise FleetnetError("--budget and --json are of --auto: give it too")
    check_processes(1 if nproc is None else nproc, restarts, timeout)
    launched = Launched.found()
    if resume is not None:
        _resume(asked, resume, launched)
    else:
        _begin(asked, launched)


def _resume(asked: Asked, run: Path, launched: Launched | None) -> None:
    """Go on with a run, in as many processes as are asked for."""
    if asked.changes_run:
        raise FleetnetError(
            "--resume goes on with a run as it was begun: its model, recipe and settings "
            "cannot change; for a new run from its weights give --weights "
            f"{run / 'last.ckpt'}"
        )
    if asked.starts:
        raise typer.Exit(start(asked.nproc or 1, asked.restarts, []))
    with joined_with_others(launched, asked.timeout) as ranks:
        named = None if asked.log is None else loggers_of(asked.log)
        report(resume_training(run, asked.data, asked.source, named, ranks), ranks)


def _begin(asked: Asked, launched: Launched | None) -> None:
    """Begin a run, or go on with one that ``--continue`` or a restart finds in its folder."""
    if asked.data is None:
        raise FleetnetError(
            "nothing to train on: give a folder with one sub-folder of images per class, or "
            "--resume RUN (try 'fleetnet train --help')"
        )
    wanted, output = asked.wanted, asked.folder.output
    model = model_named(wanted.model)
    options = [*shorthands(wanted.epochs, wanted.size), *wanted.stopping]
    recipe = load_recipe(wanted.recipe, [*options, *(wanted.settings or [])], model)
    _check_place(asked, launched)
    weights = fetched_weights(wanted.weights, model, offline=wanted.offline)
    place = new_run_folder(model) if output is None else contextlib.nullcontext(output)
    with place as folder:
        if asked.search_lr:
            _search_lr(asked.data, asked.source, wanted.model, recipe, folder, weights)
            return
        if asked.starts:
            place_of_all = ["--output", str(folder)] if output is None else []
            raise typer.Exit(start(asked.nproc or 1, asked.restarts, place_of_all))
        with joined_with_others(launched, asked.timeout) as ranks:
            if ranks.from_first(lambda: goes_on(folder, launched, asked=asked.folder.go_on)):
                named = None if asked.log is None else loggers_of(asked.log)
                result = resume_training(
                    folder, asked.data, asked.source, named, ranks, (model, recipe)
                )
            else:
                with ranks.together():
                    if ranks.is_first:
                        check_free(folder, overwrite=asked.folder.overwrite)
                loggers = loggers_of(asked.log or DEFAULT_LOG)
                result = run_training(
                    asked.data, asked.source, model, recipe, folder, weights, loggers, ranks
                )
            report(result, ranks)


def _check_place(asked: Asked, launched: Launched | None) -> None:
    """Refuse, before anything is fetched, a run for which there is no place."""
    output, go_on = asked.folder.output, asked.folder.go_on
    several = asked.starts or (launched is not None and launched.place.size > 1)
    if asked.search_lr and (several or go_on):
        raise FleetnetError("--find-lr trains nothing, and in one process")
    if not asked.starts:
        check_output(output, launched, go_on=go_on)
    restarted = launched is not None and launched.restarts > 0
    if output is not None and not go_on and not restarted and not several:
        check_free(output, overwrite=asked.folder.overwrite)


def report(result: TrainResult, ranks: Ranks | None = None) -> None:
    """Print what a run reached, and what to do next; of several processes, in the first one."""
    if ranks is not None and not ranks.is_first:
        return
    from fleetnet.training.progress import best_epoch

    best = best_epoch(result.history)
    if best:
        last = result.history[-1]
        images = count(result.metrics.images, "held-out image")
        print_line(f"last epoch: top-1 {last.top1:.2%} on {images}")
        print_line(f"best epoch: {best.epoch}, top-1 {best.top1:.2%}")
    print_line(f"checkpoints: {result.last} and {result.best}")
    print_line(f"next: fleetnet export {result.best}")


def load_recipe(name: str, settings: list[str], model: str | None = None) -> Recipe:
    """Load a recipe for a model, or say which extra is missing."""
    with needing(PYTORCH, "train", "training"):
        from fleetnet.training.recipe import Recipe
    return Recipe.load(name, settings, model)


def check_free(output: Path, *, overwrite: bool) -> None:
    """Refuse a folder that another run writes, or has written if that is to be kept."""
    with needing(PYTORCH, "train", "training"):
        from fleetnet.training.run_lock import check_unlocked
    check_unlocked(output)
    if (output / "last.ckpt").exists() and not overwrite:
        raise FleetnetError(
            f"{output} holds a run already: --resume {output} to go on with it, or choose another "
            "--output, or --overwrite it"
        )


def run_training(
    data: str,
    options: SourceOptions,
    model: str,
    recipe: Recipe,
    output: Path,
    weights: str | Path | None = None,
    log: Sequence[str] = (),
    ranks: Ranks | None = None,
) -> TrainResult:
    """Train with a progress bar; warn of images that could not be read.

    Of several processes only the first shows anything.
    """
    with needing(PYTORCH, "train", "training"):
        from fleetnet.training.ranks import ONLY
        from fleetnet.training.trainer import Trainer
    ranks = ranks or ONLY
    with ranks.together():
        loggers = open_loggers(log, output, warn=warn)
        source = (
            open_watched(data, options) if ranks.is_first else open_source(data, options=options)
        )
        if ranks.is_first:
            tell_of(source)
            warn_of_names(source)
        with _comparing(source, ranks) as advance:
            trainer = Trainer(
                source, model, recipe, output, weights=weights, advance=advance, ranks=ranks
            )
    return _fit(trainer, loggers)


def resume_training(
    folder: Path,
    data: str | None,
    options: SourceOptions,
    log: Sequence[str] | None,
    ranks: Ranks | None = None,
    wanted: tuple[str, Recipe] | None = None,
) -> TrainResult:
    """Go on with the run in a folder; one that is complete stays as it is.

    ``wanted`` is what a command line that may have begun it asks for.
    """
    with needing(PYTORCH, "train", "training"):
        from fleetnet.training.ranks import ONLY
        from fleetnet.training.resumption import StoppedRun
    ranks = ranks or ONLY
    with ranks.together():
        run = StoppedRun.find(folder, data, options, log, warn=warn)
        if wanted is not None:
            check_unchanged(run.checkpoint, folder, *wanted)
        if ranks.is_first:
            tell_of(run.source)
        with _comparing(run.source, ranks) as advance:
            trainer = run.trainer(advance=advance, ranks=ranks)
    if trainer.finished:
        return _complete(trainer)
    return _fit(trainer, run.loggers)


def _comparing(source: Source, ranks: Ranks) -> contextlib.AbstractContextManager[Advance]:
    return comparing(source) if ranks.is_first else contextlib.nullcontext(lambda _: None)


def _complete(trainer: Trainer) -> TrainResult:
    """Say that a run has nothing left to train, and return its results once more."""
    done, epochs = len(trainer.progress.history), trainer.recipe.epochs
    settings = trainer.output / NETWORK
    model = settings if settings.exists() else trainer.model
    how = "as planned" if done == epochs else f"of {epochs}: it had stopped getting better"
    if trainer.ranks.is_first:
        say(
            f"the run in {trainer.output} is complete, {count(done, 'epoch')} {how}, and stays as "
            "it is; to train on from its weights begin a new one: fleetnet train DATA --model "
            f"{model} --weights {trainer.output / LAST}"
        )
    return trainer.fit()


def _fit(trainer: Trainer, loggers: Sequence[Logger]) -> TrainResult:
    if not trainer.ranks.is_first:
        return trainer.fit()
    from fleetnet.cli.training_progress import TrainingProgress
    from fleetnet.training.logging_callback import LoggingCallback

    with TrainingProgress() as bar, LoggingCallback(loggers) as logging:
        result = trainer.fit([bar, logging])
    warn_unreadable(result.unreadable)
    return result


def loggers_of(names: str) -> list[str]:
    """Return the loggers that ``--log`` names."""
    return [] if names == "none" else [name.strip() for name in names.split(",") if name.strip()]


def _search_lr(
    data: str,
    options: SourceOptions,
    model: str,
    recipe: Recipe,
    output: Path,
    weights: Path | None,
) -> None:
    """Search for a learning rate, draw the search, and say what to do with it."""
    with needing(PYTORCH, "train", "training"):
        from fleetnet.training.lr_finder import STEPS, find_lr, plot
        from fleetnet.training.trainer import Trainer
    source = open_told(data, options)
    trainer = Trainer(source, model, recipe, output, weights=weights)
    with progress(unit="steps") as bar:
        task = bar.add_task("searching", total=STEPS)
        found = find_lr(trainer, advance=lambda count: bar.advance(task, count))
    picture = output / "learning-rate.png"
    plot(found, picture)
    print_line(f"learning rate: {found.suggestion:.2g}, where the loss falls fastest")
    print_line(f"picture: {picture}")
    scaled = "" if recipe.optimizer.lr_scaling == "none" else " --set optimizer.lr_scaling=none"
    print_line(
        f"next: fleetnet train {data} -m {model} --set optimizer.lr={found.suggestion:.2g}{scaled}"
    )


def fetched_weights(weights: str | None, model: str, *, offline: bool) -> Path | None:
    """Return the file of ``--weights``, fetched if it is a published set that is not here."""
    if weights is None:
        return None
    return open_file(find_weights_for(model, weights), offline=offline)
