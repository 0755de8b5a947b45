"""``fleetnet train --auto``: a search within a budget, to a verified bundle."""

from __future__ import annotations

import contextlib
import shutil
import time
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from rich.table import Table

from fleetnet.amounts import count, share
from fleetnet.cli.console import (
    console,
    print_json,
    print_line,
    say,
    typed_command,
    warn,
    warn_unreadable,
)
from fleetnet.cli.export import print_bundle, run_export
from fleetnet.cli.sources import comparing, open_told, warn_of_names
from fleetnet.data.sources import Source, SourceOptions
from fleetnet.errors import PYTORCH, FleetnetError, needing
from fleetnet.evaluation.report_file import check_report
from fleetnet.export.cached import check_installed
from fleetnet.inference.verify import TOLERANCE
from fleetnet.training.new_run import new_run_folder

if TYPE_CHECKING:
    from fleetnet.training.search.halving import Search
    from fleetnet.training.search.state import SearchState

BUDGET = "30min"
CLOCK = time.monotonic
"""Seconds by the clock, because that is what a person waits."""


class Told(NamedTuple):
    """What the command line says of a search.

    Attributes:
        budget: the time, in words.
        output: folder of the search, or None.
        go_on: whether to go on with what is there.
        overwrite: whether to replace it.
    """

    budget: str
    output: Path | None
    go_on: bool
    overwrite: bool


def check_undecided(flags: Sequence[str]) -> None:
    """Refuse flags of what a search decides itself.

    Raises:
        FleetnetError: there are some.
    """
    if flags:
        raise FleetnetError(
            f"--auto decides that itself: leave {' and '.join(flags)} out, or --auto; --set "
            "changes a value for every candidate"
        )


def train_auto(
    data: str | None,
    options: SourceOptions,
    settings: Sequence[str],
    told: Told,
    *,
    as_json: bool,
) -> None:
    """Search, train the best candidate, export it, write the page and print what came out."""
    if data is None:
        raise FleetnetError(
            "nothing to train on: give a folder with one sub-folder of images per class (try "
            "'fleetnet train --help')"
        )
    with needing(PYTORCH, "train", "training"):
        from fleetnet.training.run_lock import run_lock
        from fleetnet.training.search.outcome import PAGE, outcome
        from fleetnet.training.search.plan import seconds_of
    budget_s = seconds_of(told.budget)
    check_installed("export")
    check_report(Path(PAGE))
    if told.output is None and told.go_on:
        raise FleetnetError("--continue goes on with the search in --output: give --output")
    place = new_run_folder("auto") if told.output is None else contextlib.nullcontext(told.output)
    with place as folder:
        if told.output is not None and not told.go_on:
            _check_free(folder, overwrite=told.overwrite)
        source = open_told(data, options)
        warn_of_names(source)
        with run_lock(folder):
            state = _searched(source, folder, budget_s, settings, told)
    if as_json:
        print_json(outcome(state, folder))
    else:
        _report(state, folder)


def _check_free(folder: Path, *, overwrite: bool) -> None:
    """Refuse a folder that holds something, unless it is to be replaced."""
    from fleetnet.training.search.state import STATE
    from fleetnet.weights.subject import LAST

    held = next((name for name in (STATE, LAST) if (folder / name).exists()), None)
    if held and not overwrite:
        raise FleetnetError(
            f"{folder} holds a {'search' if held == STATE else 'run'} already: --continue to go "
            "on with a search, or choose another --output, or --overwrite it"
        )


def _clear(folder: Path) -> None:
    """Remove what an older search has left; nothing else."""
    from fleetnet.training.search.halving import WINNER
    from fleetnet.training.search.outcome import PAGE
    from fleetnet.training.search.state import STATE, TRIED

    for name in (STATE, PAGE):
        (folder / name).unlink(missing_ok=True)
    for name in (TRIED, WINNER):
        shutil.rmtree(folder / name, ignore_errors=True)


def _searched(
    source: Source, folder: Path, budget_s: float, settings: Sequence[str], told: Told
) -> SearchState:
    """Search, or go on, until there are a bundle and a page."""
    from fleetnet.cli.auto_progress import AutoProgress
    from fleetnet.training.search.opening import open_search

    bar = AutoProgress()
    with comparing(source) as advance:
        search = open_search(
            source,
            folder,
            budget_s,
            settings,
            clock=CLOCK,
            advance=advance,
            say=say,
            callback=bar,
            unreadable=warn_unreadable,
            anew=not told.go_on,
        )
    bar.of(search)
    if search.state.finished:
        say(f"the search in {folder} is complete, and stays as it is")
        return search.state
    with bar:
        search.admit()
        if not told.go_on:
            _clear(folder)  # now that nothing that was asked for is refused any more
        last = search.run()
    if last.ending != "done":
        warn(
            f"the last training ended after {len(last.points)} of {count(last.epochs, 'epoch')}, "
            "because the time was over: the machine was slower than it had been"
        )
    _finish(search, folder)
    return search.state


def _finish(search: Search, folder: Path) -> None:
    """Export the last checkpoint, which no held-out image has chosen, and write the page."""
    from fleetnet.training.search.halving import WINNER
    from fleetnet.training.search.outcome import BUNDLE, PAGE
    from fleetnet.training.search.tried_page import write_page
    from fleetnet.weights.subject import LAST

    bundle = run_export(folder / WINNER / LAST, folder / BUNDLE, [], None, TOLERANCE)
    search.save()  # the page says how much time is spent
    write_page(folder / PAGE, search.state, str(bundle.path), typed_command())
    search.state.finished = True
    search.save()


def _report(state: SearchState, folder: Path) -> None:
    """Print what was tried and what came out."""
    from fleetnet.bundle import Bundle
    from fleetnet.training.search.outcome import BUNDLE, PAGE, described
    from fleetnet.training.search.plan import spoken, timed

    table = Table(box=None, pad_edge=False, header_style="bold")
    table.add_column("candidate")
    for heading in ("round", "epochs", "time", "inner top-1"):
        table.add_column(heading, justify="right")
    for trial in state.trials:
        values = described(state, trial)
        shown = share(values["top1"]) if trial.ending != "diverged" else trial.ending
        epochs, taken = str(values["epochs"]), timed(trial.seconds)
        table.add_row(values["candidate"], str(trial.rung), epochs, taken, shown)
    out = console()
    out.print(table)
    last = state.last
    assert last is not None  # noqa: S101 - of a finished search
    print_bundle(Bundle.load(folder / BUNDLE))
    for line in (
        f"best: {state.candidates[last.candidate].title}, learning rate {last.lr:.2g}",
        f"held out: top-1 {share(last.score)} on {count(state.held_out_images, 'image')} that "
        "chose nothing",
        f"time: {timed(state.spent_s)} of {spoken(state.budget_s)}, {timed(last.seconds)} of it "
        f"for the last {count(len(last.points), 'epoch')}",
        f"page: {folder / PAGE}",
        f"next: fleetnet predict {folder / BUNDLE} IMAGES…",
    ):
        print_line(line)
