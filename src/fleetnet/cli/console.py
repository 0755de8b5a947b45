"""Console output and messages that all verbs share."""

from __future__ import annotations

import contextlib
import os
import shlex
import sys
from collections.abc import Callable, Iterator, Sequence
from typing import Any, NoReturn

from rich.cells import cell_len, set_cell_size
from rich.console import Console
from rich.progress import (
    BarColumn,
    DownloadColumn,
    MofNCompleteColumn,
    Progress,
    SpinnerColumn,
    TaskID,
    TextColumn,
    TimeRemainingColumn,
    TransferSpeedColumn,
)
from rich.text import Text

from fleetnet.amounts import count
from fleetnet.cli.flags import with_flags
from fleetnet.cli.streams import for_programs, is_terminal, shown_in
from fleetnet.json_text import json_text
from fleetnet.labels import printable
from fleetnet.left_out import LeftOut
from fleetnet.reporting import Advance

PLAIN_WIDTH = 100
"""Columns of output that goes to a file or a pipe."""


class _Console(Console):
    """A console that shows text as it is: brackets and colons in a name mean nothing to it.

    Characters that a terminal would act on or cannot show are escaped before the layout.
    """

    def __init__(self, *, stderr: bool, width: int | None) -> None:
        super().__init__(stderr=stderr, width=width, highlight=False, markup=False, emoji=False)

    def render_str(self, text: str, **options: Any) -> Text:
        lines = (shown_in(printable(line), self.encoding) for line in text.split("\n"))
        return super().render_str("\n".join(lines), **options)


def typed_command() -> str:
    """Return the command line as it was typed, for a record that says how to repeat it."""
    return shlex.join(["fleetnet", *sys.argv[1:]])


def console(*, stderr: bool = False) -> Console:
    """Return a console as wide as the terminal, or of a fixed width where there is none.

    It shows every text as it is, without markup; see :func:`print_line` for a line with names.
    """
    known = is_terminal(sys.stderr if stderr else sys.stdout) or "COLUMNS" in os.environ
    return _Console(stderr=stderr, width=None if known else PLAIN_WIDTH)


def print_line(line: str) -> None:
    """Print a line of results on standard output, whole, however long it is."""
    console().print(printable(line), soft_wrap=True)


def say(line: str) -> None:
    """Tell a person on standard error what is going on; standard output is for results."""
    console(stderr=True).print(printable(with_flags(line)), soft_wrap=True)


def warn(line: str) -> None:
    """Warn on standard error."""
    _print_marked("warning:", "yellow", line)


def warn_unreadable(lines: Sequence[str]) -> None:
    """Warn of images that were left out because they could not be read, naming the first three."""
    if lines:
        shown = "; ".join(lines[:3])
        were = "was" if len(lines) == 1 else "were"
        warn(f"{count(len(lines), 'image')} could not be read and {were} left out: {shown}")


def warn_left_out(left_out: LeftOut) -> None:
    """Warn of what a walk through folders passed over, if a person would miss any of it."""
    if left_out.line:
        warn(f"left out: {printable(left_out.line)}")


def fail(line: str) -> NoReturn:
    """Say on one line what is wrong and exit with code 2."""
    _print_marked("error:", "bold red", line)
    sys.exit(2)


def _print_marked(mark: str, style: str, line: str) -> None:
    text = Text.assemble((mark, style), " ", printable(with_flags(line)))
    console(stderr=True).print(text, soft_wrap=True)


def print_json(value: Any, *, lines: bool = False) -> None:
    """Print JSON on standard output, indented, or as one line of a stream."""
    text = json_text(value, indent=None if lines else 2)
    out = for_programs()
    out.write(text + "\n")
    if lines:
        out.flush()


def progress(*, unit: str = "images") -> Progress:
    """Return a progress bar on standard error, silent where that is not a terminal."""
    out = console(stderr=True)
    return Progress(
        SpinnerColumn(_spinner(out)),
        TextColumn("{task.description}", markup=False),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn(unit),
        TimeRemainingColumn(),
        console=out,
        transient=True,
        # What is printed beside a bar is moved to the bar's terminal, unless a file is to get it.
        redirect_stdout=is_terminal(sys.stdout),
        disable=not out.is_terminal,
    )


class Steps:
    """A progress bar of one piece of work after another; it is a :data:`~fleetnet.reporting.Begin`.

    Args:
        bar: on which it is shown.
    """

    def __init__(self, bar: Progress) -> None:
        self._bar = bar
        self._task: TaskID | None = None

    def __call__(self, what: str, steps: int) -> Advance:
        """Begin a piece of work."""
        if self._task is None:
            self._task = self._bar.add_task(what, total=steps)
        task = self._task
        self._bar.reset(task, description=what, total=steps)
        return lambda done: self._bar.advance(task, done)


@contextlib.contextmanager
def download_bar(name: str) -> Iterator[Callable[[int, int], None]]:
    """Show on standard error how far a download has come, from its first byte on.

    Yields:
        A function to call with how many bytes are here, and how many in all (0 if unknown).
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
                bar.add_task(printable(name), total=None)
            bar.update(bar.task_ids[0], completed=have, total=total or None)
            if have == total:
                bar.remove_task(bar.task_ids[0])

        yield advance


@contextlib.contextmanager
def status(title: str, *, shown: bool = True) -> Iterator[Callable[[str], None]]:
    """Show on standard error what is being done now, in one line that goes away at the end."""
    out = console(stderr=True)
    if not shown:
        yield lambda _: None
        return
    with out.status(Text(f"{title} …"), spinner=_spinner(out)) as line:
        yield lambda doing: line.update(Text(f"{title}: {printable(doing)}"))


def _spinner(out: Console) -> str:
    """Return the name of a spinner whose signs the console's encoding has."""
    return "line" if out.options.ascii_only else "dots"


def visible(text: str) -> str:
    """Return a text from outside as standard output shows it, so that its width is known."""
    return shown_in(printable(text), getattr(sys.stdout, "encoding", None) or "utf-8")


def shorten(text: str, columns: int) -> str:
    """Return a text from outside in at most ``columns`` of a terminal, which only shows it."""
    text = visible(text)
    return text if cell_len(text) <= columns else f"{set_cell_size(text, columns - 1).rstrip()}…"
