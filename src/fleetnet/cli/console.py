"""What the verbs share in talking to a person."""

from __future__ import annotations

import contextlib
import json
import os
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, NoReturn

from rich.cells import cell_len, set_cell_size
from rich.console import Console
from rich.progress import (
    BarColumn,
    DownloadColumn,
    MofNCompleteColumn,
    Progress,
    SpinnerColumn,
    TextColumn,
    TimeRemainingColumn,
    TransferSpeedColumn,
)

from fleetnet.errors import one_line
from fleetnet.labels import printable
from fleetnet.left_out import LeftOut

PLAIN_WIDTH = 100
"""Columns of output that goes to a file or a pipe."""


def console(*, stderr: bool = False) -> Console:
    """Return a console as wide as the terminal, or of a fixed width where there is none."""
    stream = sys.stderr if stderr else sys.stdout
    known = stream.isatty() or "COLUMNS" in os.environ
    return Console(
        stderr=stderr, highlight=False, soft_wrap=False, width=None if known else PLAIN_WIDTH
    )


def say(line: str) -> None:
    """Tell a person on standard error what is going on; standard output is for results."""
    console(stderr=True).print(line, markup=False, soft_wrap=True)


def warn(line: str) -> None:
    """Warn on standard error."""
    console(stderr=True).print(f"[yellow]warning:[/] {_escape(line)}", soft_wrap=True)


def warn_unreadable(lines: Sequence[str]) -> None:
    """Warn of images that were left out because they could not be read, naming the first three."""
    if lines:
        shown = "; ".join(lines[:3])
        warn(f"{len(lines)} images could not be read and were left out: {shown}")


def warn_left_out(left_out: LeftOut) -> None:
    """Warn of what a walk through folders passed over, if a person would miss any of it."""
    if left_out.line:
        warn(f"left out: {printable(left_out.line)}")


def fail(line: str) -> NoReturn:
    """Say on one line what is wrong and exit with code 2."""
    console(stderr=True).print(f"[bold red]error:[/] {_escape(one_line(line))}", soft_wrap=True)
    sys.exit(2)


def print_json(value: Any, *, lines: bool = False) -> None:
    """Print JSON on standard output, indented, or as one line of a stream."""
    text = json.dumps(value, ensure_ascii=False, indent=None if lines else 2, default=_plain)
    # A file name that is not UTF-8 holds halves of characters: JSON has escapes for those.
    sys.stdout.write(text.encode("utf-8", "backslashreplace").decode() + "\n")
    if lines:
        sys.stdout.flush()


def progress(*, unit: str = "images") -> Progress:
    """Return a progress bar on standard error, silent where that is not a terminal."""
    out = console(stderr=True)
    return Progress(
        SpinnerColumn(),
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn(unit),
        TimeRemainingColumn(),
        console=out,
        transient=True,
        # What is printed beside a bar is moved to the bar's terminal, unless a file is to get it.
        redirect_stdout=sys.stdout.isatty(),
        disable=not out.is_terminal,
    )


@contextlib.contextmanager
def download_bar(name: str) -> Iterator[Callable[[int, int], None]]:
    """Show on standard error how far a download has come, from its first byte on.

    Yields:
        What is told how many bytes are here, and how many there are in all (0 if unknown).
    """
    out = console(stderr=True)
    with Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        DownloadColumn(),
        TransferSpeedColumn(),
        TimeRemainingColumn(),
        console=out,
        transient=True,
        disable=not out.is_terminal,
    ) as bar:

        def advance(have: int, total: int) -> None:
            if not bar.tasks:
                bar.add_task(_escape(name), total=None)
            bar.update(bar.task_ids[0], completed=have, total=total or None)
            if have == total:
                bar.remove_task(bar.task_ids[0])

        yield advance


@contextlib.contextmanager
def status(title: str) -> Iterator[Callable[[str], None]]:
    """Show on standard error what is being done now, in one line that goes away at the end."""
    out = console(stderr=True)
    with out.status(f"{title} …") as line:
        yield lambda doing: line.update(f"{title}: {_escape(doing)}")


def shorten(text: str, columns: int) -> str:
    """Return a text from outside in at most ``columns`` of a terminal, which only shows it."""
    shown = printable(text)
    return shown if cell_len(shown) <= columns else f"{set_cell_size(shown, columns - 1).rstrip()}…"


def percent(fraction: float | None) -> str:
    """Return a fraction as a percentage with two decimals, or a dash."""
    return "–" if fraction is None or fraction != fraction else f"{fraction * 100:.2f}"


def _plain(value: Any) -> Any:
    if isinstance(value, Mapping):
        return dict(value)
    return value.item() if hasattr(value, "item") else str(value)


def _escape(text: str) -> str:
    return text.replace("[", r"\[")
