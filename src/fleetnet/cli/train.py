"""``fleetnet train``: from a folder of images to a checkpoint."""

from __future__ import annotations

import contextlib
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

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
from fleetnet.cli.train_auto import BUDGET, Told, check_undecided, train_auto
from fleetnet.cli.train_together import (
    check_output,
    check_unchanged,
    goes_on,
    is_of_a_launch,
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
    model: Annotated[
        str,
        typer.Option(
            "--model", "-m", help="A name from 'fleetnet models', or a network's settings (.yaml)."
        ),
    ] = "MobileNetV2",
    recipe: RecipeOption = "finetune",
    settings: SettingsOption = None,
    epochs: EpochsOption = None,
    size: SizeOption = None,
    strict: Annotated[
        bool, typer.Option("--strict", help="Stop at the first image that cannot be read.")
    ] = False,
    weights: Annotated[
        str | None,
        typer.Option(
            metavar="MODEL",
            help="Weights to start from: a checkpoint, a run's folder, a bundle, a file from "
            "anywhere, ReXNet_1_0, timm:ReXNet_1_0, or just a set, such as paddle.",
        ),
    ] = None,
    offline: Annotated[
        bool, typer.Option("--offline", help="Take published weights only from the cache.")
    ] = False,
    output: Annotated[
        Path | None, typer.Option("--output", "-o", help="Folder for the run.  [runs/MODEL-TIME]")
    ] = None,
    overwrite: Annotated[
        bool, typer.Option("--overwrite", help="Replace a run that is in that folder.")
    ] = False,
    resume: Annotated[
        Path | None,
        typer.Option("--resume", metavar="RUN", help="Go on with the run in this folder."),
    ] = None,
    search_lr: Annotated[
        bool,
        typer.Option("--find-lr", help="Only search for a learning rate, and draw the search."),
    ] = False,
    go_on: Annotated[
        bool,
        typer.Option(
            "--continue", help="Go on with the run in --output if it was begun; else begin it."
        ),
    ] = False,
    nproc: Annotated[
        int | None,
        typer.Option("--nproc", metavar="N", help="Train in N processes on this machine."),
    ] = None,
    restarts: Annotated[
        int, typer.Option(help="With --nproc: start all anew so often if one is killed or hangs.")
    ] = 3,
    timeout: Annotated[
        float, typer.Option(metavar="SECONDS", help="Of several processes: wait so long for one.")
    ] = 600.0,
    log: Annotated[
        str | None,
        typer.Option(
            help="Where figures go besides the run's folder: tensorboard, wandb, mlflow, several "
            "with commas, or none.  [tensorboard; with --resume where they went before]"
        ),
    ] = None,
    auto: Annotated[
        bool,
        typer.Option(
            "--auto", help="Search for network, size, recipe and learning rate; export the best."
        ),
    ] = False,
    budget: Annotated[
        str | None,
        typer.Option(metavar="TIME", help="With --auto: for all of it; 90s, 30min, 1.5h.  [30min]"),
    ] = None,
    as_json: Annotated[
        bool, typer.Option("--json", help="With --auto: print what came out as JSON.")
    ] = False,
    *,
    source: SourceOptions,
) -> None:
    """Train a network on labelled images and leave checkpoints.

    A quarter of each class is held out by a seeded split (--set data.val_fraction=0.25) and
    evaluated after each epoch; data with train/ and val/ keeps its own split, and test/ is not
    used. Ctrl-C saves and ends; --resume goes on as if the run had never stopped. In several
    processes (--nproc, or torchrun -m fleetnet train) a batch is shared among them.
    """
    if auto:
        decided = {
            "--model": model != "MobileNetV2",
            "--recipe": recipe != "finetune",
            "--epochs": epochs is not None,
            "--size": size is not None,
            "--weights": weights is not None,
            "--find-lr": search_lr,
            "--resume": resume is not None,
            "--nproc": nproc is not None,
            "--log": log is not None,
        }
        check_undecided([flag for flag, is_given in decided.items() if is_given])
        options = [*(["data.strict=true"] if strict else []), *(settings or [])]
        told = Told(budget or BUDGET, output, go_on=go_on, overwrite=overwrite)
        train_auto(data, source, options, told, as_json=as_json)
        return
    if budget is not None or as_json:
        raise FleetnetError("--budget and --json are of --auto: give it too")
    check_processes(1 if nproc is None else nproc, restarts, timeout)
    launched = Launched.found()
    starts = nproc is not None and nproc > 1 and not is_of_a_launch()
    if resume is not None:
        changes = (recipe != "finetune", settings, epochs, size, strict, weights, output, search_lr)
        if any(changes) or go_on:
            raise FleetnetError(
                "--resume goes on with a run as it was begun: its model, recipe and settings "
                "cannot change; for a new run from its weights give --weights "
                f"{resume / 'last.ckpt'}"
            )
        if starts:
            raise typer.Exit(start(nproc or 1, restarts, []))
        with joined_with_others(launched, timeout) as ranks:
            named = None if log is None else loggers_of(log)
            report(resume_training(resume, data, source, named, ranks), ranks)
        return
    if data is None:
        raise FleetnetError(
            "nothing to train on: give a folder with one sub-folder of images per class, or "
            "--resume RUN (try 'fleetnet train --help')"
        )
    word, model = model, model_named(model)
    options = [*shorthands(epochs, size), *(["data.strict=true"] if strict else [])]
    chosen = load_recipe(recipe, [*options, *(settings or [])], model)
    several = starts or (launched is not None and launched.place.size > 1)
    if search_lr and (several or go_on):
        raise FleetnetError("--find-lr trains nothing, and in one process")
    if not starts:
        check_output(output, launched, go_on=go_on)
    restarted = launched is not None and launched.restarts > 0
    if output is not None and not go_on and not restarted and not several:
        check_free(output, overwrite=overwrite)
    fetched = fetched_weights(weights, model, offline=offline)
    place = new_run_folder(model) if output is None else contextlib.nullcontext(output)
    with place as folder:
        if search_lr:
            _search_lr(data, source, word, chosen, folder, fetched)
            return
        if starts:
            place_of_all = ["--output", str(folder)] if output is None else []
            raise typer.Exit(start(nproc or 1, restarts, place_of_all))
        with joined_with_others(launched, timeout) as ranks:
            if ranks.from_first(lambda: goes_on(folder, launched, asked=go_on)):
                named = None if log is None else loggers_of(log)
                result = resume_training(folder, data, source, named, ranks, (model, chosen))
            else:
                with ranks.together():
                    if ranks.is_first:
                        check_free(folder, overwrite=overwrite)
                result = run_training(
                    data,
                    source,
                    model,
                    chosen,
                    folder,
                    fetched,
                    loggers_of(log or DEFAULT_LOG),
                    ranks,
                )
            report(result, ranks)


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
