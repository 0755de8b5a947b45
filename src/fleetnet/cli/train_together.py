"""``fleetnet train`` in several processes: starting and joining them, going on afterwards."""

from __future__ import annotations

import contextlib
import os
import sys
import threading
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import typer

from fleetnet.cli.console import say
from fleetnet.errors import PYTORCH, FleetnetError, Interrupted, needing
from fleetnet.reporting import Note
from fleetnet.training.launch import Launch, end_with_the_launch
from fleetnet.training.launch_environment import LOST, MEETING_FILE, Launched
from fleetnet.training.loggers import flat
from fleetnet.training.runs import launch_of
from fleetnet.weights.subject import LAST

if TYPE_CHECKING:
    from fleetnet.training.checkpoint import Checkpoint
    from fleetnet.training.ranks import Ranks
    from fleetnet.training.recipe import Recipe


def is_of_a_launch() -> bool:
    """Tell whether :func:`start` has started this process."""
    return MEETING_FILE in os.environ


def start(processes: int, restarts: int, more: Sequence[str]) -> int:
    """Run the command line as it was typed in so many processes, and return its exit code.

    Args:
        processes: how many.
        restarts: how often they may be started anew.
        more: arguments to add.

    Raises:
        FleetnetError: this is one of several processes already.
    """
    if Launched.found() is not None:
        raise FleetnetError(
            "torchrun, or the variables RANK and WORLD_SIZE, make this one of several processes "
            "already: leave nproc= out",
            arguments=["nproc"],
        )
    command = [sys.executable, "-m", "fleetnet", *sys.argv[1:], *more]
    return Launch(command, processes, restarts=restarts, say=say).run()


@contextlib.contextmanager
def joined_with_others(launched: Launched | None, timeout_s: float) -> Iterator[Ranks]:
    """Join the processes that train together for the block, in which only the first one speaks.

    What is wrong is said by one of them; the others end without a word.
    """
    with needing(PYTORCH, "train", "training"):
        from fleetnet.training.ranks import RankError, joined
    if is_of_a_launch():
        threading.Thread(target=end_with_the_launch, daemon=True).start()
    try:
        with joined(launched, timeout_s) as ranks:
            yield ranks
    except RankError as error:
        if str(error):
            say(Note.of(error))
        raise typer.Exit(LOST) from None
    except Interrupted as error:
        if launched is None or launched.place.rank == 0:
            raise
        raise typer.Exit(error.exit_code) from None


def check_output(output: Path | None, launched: Launched | None, *, go_on: bool) -> None:
    """Refuse to begin a run that could not be found again.

    Raises:
        FleetnetError: its folder has to be named.
    """
    if output is not None:
        return
    if go_on:
        raise FleetnetError(
            "--continue begins the run in --output, or goes on with it: give --output"
        )
    if launched is not None and launched.place.size > 1:
        raise FleetnetError(
            "several processes need one folder that all of them know: give --output"
        )


def goes_on(output: Path, launched: Launched | None, *, asked: bool) -> bool:
    """Tell whether there is a run to go on with, because of ``--continue`` or after a restart.

    A restart of the processes goes on with what they themselves have saved, but not with an older
    run in the same folder.
    """
    if not (output / LAST).exists():
        return False
    if asked:
        return True
    if launched is None or not launched.restarts:
        return False
    return bool(launched.name) and launch_of(output) == launched.name


def check_unchanged(checkpoint: Checkpoint, output: Path, model: str, recipe: Recipe) -> None:
    """Refuse to go on with a run by a command line that asks for another one.

    Raises:
        FleetnetError: names the first setting that differs.
    """
    before = {"model": checkpoint.model, **flat(checkpoint.recipe)}
    now = {"model": model, **flat(recipe.model_dump(mode="json"))}
    for key, value in now.items():
        # What the machine at hand decides may change from one to the next.
        if key in ("precision", "device") or before.get(key, value) == value:
            continue
        raise FleetnetError(
            f"{output} holds a run with {key}={before[key]}, not {value}: give another --output, "
            f"or go on with it as it was begun: --resume {output}"
        )
