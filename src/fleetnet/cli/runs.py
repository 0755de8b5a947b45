"""``fleetnet runs``: training runs side by side."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any, Literal, NamedTuple

import typer
from rich.cells import cell_len, set_cell_size
from rich.console import Console
from rich.table import Table

from fleetnet.amounts import count, percent
from fleetnet.cli.console import console, print_json, say, shorten, visible, warn
from fleetnet.plotting import check_plot
from fleetnet.training.curves import SHOWN, plot_runs
from fleetnet.training.runs import Run, differing, find_runs

_NAME = 28
"""Columns of a network's, a recipe's or a setting's name or value."""
_LEAST_NAME = 12
"""Columns of a run's name on a terminal that has no room for any."""
_GAP = 2


class _Column(NamedTuple):
    heading: str
    cells: list[str]
    is_number: bool = True

    @property
    def width(self) -> int:
        return max(map(cell_len, [self.heading, *self.cells]))


def register(app: typer.Typer) -> None:
    """Add the verb."""
    app.command("runs", short_help="Compare training runs.")(runs)


def runs(
    folders: Annotated[
        list[Path] | None,
        typer.Argument(metavar="FOLDER", help="Runs, or folders of runs.  [runs]"),
    ] = None,
    plot: Annotated[
        Path | None,
        typer.Option(help=f"Draw curves of the best {SHOWN} into a .png, .svg or .pdf file."),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print a JSON array instead.")] = False,
) -> None:
    """Compare training runs: the best top-1 first, and the settings in which they differ."""
    if plot is not None:
        check_plot(plot)
    found = find_runs(folders or [Path("runs")], warn)
    names = _names(found)
    if as_json:
        print_json([run.to_json() for run in found])
    else:
        _print(console(), found, names)
    if plot is not None:
        plot_runs(found, names, plot)
        say(f"curves of {min(len(found), SHOWN)} of {count(len(found), 'run')}: {plot}")


def _names(found: Sequence[Run]) -> list[str]:
    """Return the runs' paths without the folders that all have in common."""
    paths = [str(run.path) for run in found]
    try:
        common = os.path.commonpath([run.path.parent for run in found])
    except ValueError:  # some absolute and some not
        return paths
    return [os.path.relpath(path, common or ".") for path in paths]


def _print(out: Console, found: Sequence[Run], names: Sequence[str]) -> None:
    """Print one table if all fits, else the figures and below them what differs."""
    same, identity = _identity(found)
    if same:
        out.print(", ".join(same))
        out.print()
    numbers = _Column("#", [str(number) for number in range(1, len(found) + 1)])
    figures = _figures(found)
    varied = [*identity, *_settings(found)]
    room = out.width - _width([numbers, *figures]) - _GAP
    longest = max(map(cell_len, map(visible, names)))
    together = bool(varied) and _width(varied) + _GAP + longest <= room
    if together:
        figures = [*varied, *figures]
    run = _Column("run", [_middle(name, max(room, _LEAST_NAME)) for name in names], False)
    out.print(_table([numbers, run, *figures]))
    if varied and not together:
        out.print()
        _print_differing(out, numbers, varied)


def _print_differing(out: Console, numbers: _Column, varied: Sequence[_Column]) -> None:
    if _width([numbers, *varied]) <= out.width:
        out.print(_table([numbers, *varied]))
        return
    for row, number in enumerate(numbers.cells):
        values = (f"{column.heading} {column.cells[row]}" for column in varied)
        out.print(f"{number}  {', '.join(values)}")


def _identity(found: Sequence[Run]) -> tuple[list[str], list[_Column]]:
    """Return what network, recipe and data all runs share, and columns for what they do not."""
    same, columns = [], []
    for heading, values in (
        ("model", [run.model for run in found]),
        ("recipe", [run.recipe for run in found]),
        ("data", [run.data for run in found]),
    ):
        cells = [shorten(value or "–", _NAME) for value in values]
        if len(set(cells)) > 1:
            columns.append(_Column(heading, cells, is_number=False))
        elif values[0]:
            same.append(f"{heading} {cells[0]}")
    return same, columns


def _figures(found: Sequence[Run]) -> list[_Column]:
    return [
        _Column("epochs", [_epochs(run) for run in found]),
        _Column("best top-1", [_best(run) for run in found]),
        _Column("last", [percent(run.last("top1")) for run in found]),
        _Column("loss", [_number(run.last("train_loss"), ".3f") for run in found]),
        _Column("images/s", [_number(run.images_per_s, ",.0f") for run in found]),
        _Column("time", [_duration(run.seconds) for run in found]),
    ]


def _settings(found: Sequence[Run]) -> list[_Column]:
    """Return a column for each setting that differs, but those that are shown already."""
    keys = [key for key in differing(found) if key not in ("name", "epochs")]
    ends = Counter(key.rpartition(".")[2] for key in keys)
    columns = []
    for key in keys:
        end = key.rpartition(".")[2]
        # "lr" says enough, where only one section's differs.
        heading = end if ends[end] == 1 and end != "name" else key
        cells = [_value(run.settings.get(key)) for run in found]
        columns.append(_Column(shorten(heading, _NAME), cells))
    return columns


def _table(columns: Sequence[_Column]) -> Table:
    table = Table(box=None, pad_edge=False, header_style="bold", padding=(0, _GAP, 0, 0))
    for column in columns:
        justify: Literal["left", "right"] = "right" if column.is_number else "left"
        table.add_column(column.heading, justify=justify, no_wrap=True)
    for cells in zip(*(column.cells for column in columns), strict=True):
        table.add_row(*cells)
    return table


def _width(columns: Sequence[_Column]) -> int:
    return sum(column.width + _GAP for column in columns) - _GAP


def _epochs(run: Run) -> str:
    done = int(run.history[-1]["epoch"]) if run.history else 0
    planned = run.epochs_planned
    return f"{done}" if planned is None else f"{done}/{planned}"


def _best(run: Run) -> str:
    best = run.best
    return "–" if best is None else f"{percent(best['top1'])} ({int(best['epoch'])})"


def _number(value: float | None, form: str) -> str:
    return "–" if value is None else f"{value:{form}}"


def _duration(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02d}:{rest:02d}"


def _middle(text: str, columns: int) -> str:
    """Return a name in at most ``columns``: runs differ at their names' ends, dates and all."""
    shown = visible(text)
    if cell_len(shown) <= columns:
        return shown
    end = shown
    while cell_len(end) > (columns - 1) * 2 // 3:
        end = end[1:]
    return f"{set_cell_size(shown, columns - 1 - cell_len(end))}…{end}"


def _value(value: Any) -> str:
    if value is None:
        return "–"
    text = f"{value:g}" if isinstance(value, float) else str(value)
    return shorten(text, _NAME)
