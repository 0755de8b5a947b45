"""``fleetnet prune``: a trained network with fewer channels."""

from __future__ import annotations

import contextlib
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from fleetnet.amounts import count
from fleetnet.cli.console import Steps, print_json, print_line, progress, say
from fleetnet.cli.opening import open_file
from fleetnet.cli.options import SettingsOption, WeightsArgument
from fleetnet.cli.sources import DataArgument, open_told, with_source_options
from fleetnet.cli.train import DEFAULT_LOG, check_free, loggers_of, report, run_training
from fleetnet.data.sources import SourceOptions
from fleetnet.errors import PYTORCH, FleetnetError, needing
from fleetnet.training.new_run import new_run_folder
from fleetnet.training.pruning import Importance
from fleetnet.training.shorthands import shorthands
from fleetnet.weights.settings_file import NETWORK, write_description
from fleetnet.weights.subject import find_subject

if TYPE_CHECKING:
    from fleetnet.training.pruning.run import Narrower
    from fleetnet.training.recipe import Recipe
    from fleetnet.training.trainer import TrainResult


def register(app: typer.Typer) -> None:
    """Add the verb."""
    app.command("prune", short_help="Take channels out of a trained network.")(prune)


@with_source_options
def prune(
    model: WeightsArgument,
    data: DataArgument,
    macs: Annotated[
        float, typer.Option("--macs", metavar="SHARE", help="Of the multiply-adds to keep.")
    ] = 0.5,
    importance: Annotated[
        Importance,
        typer.Option(help="What ranks the channels: taylor (by what the loss loses), magnitude."),
    ] = "taylor",
    teach: Annotated[
        bool, typer.Option("--teach", help="Train on towards the answers of the whole network.")
    ] = False,
    epochs: Annotated[
        int | None,
        typer.Option(min=0, help="To train on for; 0 for not at all.  [a third of its training's]"),
    ] = None,
    settings: SettingsOption = None,
    output: Annotated[
        Path | None,
        typer.Option("--output", "-o", help="Folder for the run.  [runs/NETWORK-TIME]"),
    ] = None,
    overwrite: Annotated[
        bool, typer.Option("--overwrite", help="Replace a run that is in that folder.")
    ] = False,
    log: Annotated[str, typer.Option(help="As train --log.")] = DEFAULT_LOG,
    as_json: Annotated[bool, typer.Option("--json", help="Print what came out as JSON.")] = False,
    *,
    source: SourceOptions,
) -> None:
    """Take the least important channels out of a trained network, and train on.

    Those inside of the blocks compete with each other, and so do those of the head, until a share
    of the multiply-adds is left. The narrower network is a network like any other: it is evaluated,
    exported and quantised as usual. Data is that which the network was trained on, with the same
    images held out.
    """
    if not 0 < macs < 1:
        raise FleetnetError(f"--macs is {macs:g}: the share to keep lies between 0 and 1")
    # First, because a run that went on for minutes and then failed would be a nuisance.
    with needing((*PYTORCH, "torch_pruning"), "train", "pruning"):
        from fleetnet.training.adopt import checkpoint_of
        from fleetnet.training.pruning.run import PRUNED, narrower, recipe_of
    subject = find_subject(model)
    wide = checkpoint_of(subject, open_file(subject), say=say)
    told = [*shorthands(epochs or None), *(settings or [])]
    recipe = recipe_of(wide, told)
    if output is not None:
        check_free(output, overwrite=overwrite)
    images = open_told(data, source)
    place = new_run_folder(wide.model) if output is None else contextlib.nullcontext(output)
    with place as folder:
        with progress() as bar:
            found = narrower(wide, images, recipe, macs, importance, Steps(bar))
        folder.mkdir(parents=True, exist_ok=True)
        file = folder / PRUNED
        found.checkpoint.save(file)
        write_description(found.network, folder / NETWORK)
        result = None
        if epochs != 0:
            say(_line(found))
            if teach:
                recipe = _taught(recipe, model, images.classes)
            network, names = found.checkpoint.model, loggers_of(log)
            result = run_training(data, source, network, recipe, folder, file, names)
    _report(found, data, file, result, as_json=as_json)


def _taught(recipe: Recipe, model: str, classes: Sequence[str]) -> Recipe:
    """Return the recipe with the whole network as the teacher."""
    from fleetnet.training.distillation.opening import open_teachers
    from fleetnet.training.distillation.work import taught_by, whole_word
    from fleetnet.training.run_setup import find_device

    words = (whole_word(model),)
    return taught_by(recipe, words, open_teachers(words, classes, find_device(recipe.device)), None)


def _line(found: Narrower) -> str:
    before, after = found.before, found.after
    return (
        f"{after.macs / 1e6:,.0f} of {before.macs / 1e6:,.0f} million multiply-adds are left, and "
        f"{after.total / 1e6:,.2f} of {before.total / 1e6:,.2f} million parameters: top-1 "
        f"{found.top1_after:.2%} of {count(found.images, 'held-out image')}, before "
        f"{found.top1_before:.2%}"
    )


def _report(
    found: Narrower, data: str, file: Path, result: TrainResult | None, *, as_json: bool
) -> None:
    if as_json:
        print_json(
            {
                "model": found.checkpoint.model,
                "macs": {"before": found.before.macs, "after": found.after.macs},
                "parameters": {"before": found.before.total, "after": found.after.total},
                "held_out_images": found.images,
                "top1": {
                    "before": found.top1_before,
                    "pruned": found.top1_after,
                    "trained": None if result is None else result.history[-1].top1,
                },
                "checkpoint": str(file if result is None else result.last),
            }
        )
        return
    if result is None:
        print_line(_line(found))
        print_line(f"checkpoint: {file}")
        print_line(f"next: fleetnet train {data} -m {file.parent / NETWORK} --weights {file}")
        return
    report(result)
