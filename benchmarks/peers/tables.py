"""Outcomes as tables, for a terminal and as Markdown."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from rich import box
from rich.markup import escape
from rich.table import Table as RichTable

from benchmarks.peers.comparison import Outcome
from benchmarks.peers.contenders import Contender
from benchmarks.peers.rounds import ratio_spread
from fleetnet.measuring import Spread, spread

NONE = "–"
NARROW = 120
"""Columns of a terminal below which spreads and details are only in the files."""


@dataclass(frozen=True)
class Table:
    """Rows of text; the first column is aligned left, the others right."""

    title: str
    columns: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    note: str = ""
    ours: frozenset[int] = frozenset()
    """Indices of the rows to highlight."""
    details: frozenset[int] = frozenset()
    """Indices of the columns that a narrow terminal has no room for."""

    def markdown(self) -> str:
        """Return the table with its title as a heading."""
        lines = [f"## {self.title}", ""]
        if self.note:
            lines += [self.note, ""]
        lines.append(_line(self.columns))
        lines.append(_line(("---", *["---:"] * (len(self.columns) - 1))))
        for number, row in enumerate(self.rows):
            lines.append(_line((f"**{row[0]}**", *row[1:]) if number in self.ours else row))
        return "\n".join(lines) + "\n"

    def rich(self, width: int) -> RichTable:
        """Return the table for a terminal of so many columns; a narrow one gets no details."""
        narrow = width < NARROW
        shown = [n for n in range(len(self.columns)) if not (narrow and n in self.details)]
        longest = max((len(row[0]) for row in self.rows), default=0)
        table = RichTable(title=self.title, title_justify="left", box=box.SIMPLE_HEAD)
        for number in shown:
            table.add_column(
                self.columns[number],
                justify="right" if number else "left",
                overflow="fold",
                no_wrap=not number and longest < width / 2,
            )
        for number, row in enumerate(self.rows):
            cells = [_without_spread(row[n]) if narrow and n else row[n] for n in shown]
            table.add_row(*map(escape, cells), style="bold" if number in self.ours else None)
        return table


def _without_spread(cell: str) -> str:
    return re.sub(r"^([\d.]+) \([\d.]+–[\d.]+\)", r"\1", cell)


def _line(cells: Sequence[str]) -> str:
    return "| " + " | ".join(cell.replace("|", "\\|").replace("\n", " ") for cell in cells) + " |"


def speed_tables(outcome: Outcome, title: str, agreement: str, note: str = "") -> Iterator[Table]:
    """Yield a table for each network: times, and their ratios to ours.

    Args:
        outcome: with times in seconds, shown in ms.
        title: what was timed.
        agreement: heading of the column that says how close the answers are.
        note: under the title.
    """
    for subject in dict.fromkeys(contender.subject for contender in outcome.contenders):
        members = [one for one in outcome.contenders if one.subject == subject]
        bases = next((one.against for one in members if not one.ours), ())
        busy = ("processor",) if outcome.processor else ()
        rows = tuple(_speed_row(one, bases, outcome) for one in members)
        headings = tuple(f"÷ {_short(base)}" for base in bases)
        columns = ("", "ms", "quartiles", *busy, *headings, agreement)
        ours = frozenset(number for number, one in enumerate(members) if one.ours)
        details = frozenset(range(2, 3 + len(busy)))
        yield Table(f"{title}: {subject}", columns, rows, note, ours, details)


def _speed_row(one: Contender, bases: Sequence[str], outcome: Outcome) -> tuple[str, ...]:
    name = _short(one.name)
    if one.name not in outcome.times:
        blanks = 3 + len(bases) + bool(outcome.processor)
        return (f"{name} ({why_not(one, outcome)})", *[NONE] * blanks)
    own = spread([1e3 * seconds for seconds in outcome.times[one.name]])
    compared = (ratio_spread(outcome.times, one.name, base) for base in bases)
    busy = (f"{1e3 * spread(outcome.processor[one.name]).median:.2f}",) if outcome.processor else ()
    return (
        name,
        f"{own.median:.2f}",
        f"{own.low:.2f}–{own.high:.2f}",
        *busy,
        *(_ratio(ratio) for ratio in compared),
        outcome.agreement.get(one.name, NONE),
    )


def _ratio(ratio: Spread | None) -> str:
    return NONE if ratio is None else ratio.with_quartiles(".2f")


def _short(name: str) -> str:
    return name.partition(": ")[2] or name


def why_not(contender: Contender, outcome: Outcome) -> str:
    """Return the reason why a contender has no times."""
    return f"left out: {outcome.left_out.get(contender.name, 'no round was finished')}"


def start_table(
    outcome: Outcome, sizes: dict[str, dict[str, int]], failed: dict[str, str]
) -> Table:
    """Return start, memory and size of each way from files to answers."""
    rows = []
    for one in outcome.contenders:
        size = sizes.get(one.environment)
        disk = f"{sum(size.values()) / 1e6:.0f}" if size else NONE
        if one.name not in outcome.times:
            rows.append((f"{one.name} ({why_not(one, outcome)})", *[NONE] * 4, disk))
            continue
        own = spread(outcome.times[one.name])
        memory, busy = outcome.peak_bytes.get(one.name), outcome.processor.get(one.name)
        rows.append(
            (
                one.name,
                f"{own.median:.2f}",
                f"{own.least:.2f}–{own.most:.2f}",
                f"{spread(busy).median:.2f}" if busy else NONE,
                f"{memory / 1e6:.0f}" if memory else NONE,
                disk,
            )
        )
    note = (
        "From the start of a process to its answer for one photograph (median, fastest–slowest), "
        "the time of all processors for that, the most memory it had resident by the end of all "
        "photographs, and the packages that it imports with all that these require, on disk."
    )
    for name, reason in failed.items():
        note += f" The size of {name} is left out: {reason}."
    columns = ("", "start, s", "range", "processor, s", "memory, MB", "disk, MB")
    ours = frozenset(number for number, one in enumerate(outcome.contenders) if one.ours)
    return Table("Start, memory, size", columns, tuple(rows), note, ours)
