"""The standard streams, set up in one place.

What people read keeps the terminal's encoding: what that cannot show is written in signs that it
can, and no name ends a command. What programs read (``--json``, ``--csv``) is UTF-8 everywhere.
"""

from __future__ import annotations

import codecs
import contextlib
import io
import os
import sys
from collections.abc import Iterable
from typing import Any, TextIO

from fleetnet.labels import printable

READABLE = "fleetnet-readable"
"""Name of the way in which codecs write what they cannot encode; see :func:`shown_in`."""

_PLAIN = {
    "→": "->",
    "←": "<-",
    "–": "-",
    "—": "-",
    "…": "...",
    "×": "x",
    "·": ".",
    "Δ": "d",
    "³": "3",
    "✗": "x",
    "‘": "'",  # noqa: RUF001
    "’": "'",  # noqa: RUF001
    "“": '"',
    "”": '"',
}
"""Signs of our own messages; whatever is in a name becomes its escape instead."""


def set_up() -> None:
    """Make standard output and error show anything, and every standard stream be there.

    Streams that are no plain text files, such as a notebook's, take any text and stay as they are.
    """
    _open_closed()
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors=READABLE)


def for_programs() -> TextIO:
    r"""Return standard output for a program to read: UTF-8 with line feeds, wherever this runs.

    A byte of a file name that is not UTF-8 is written as ``\udcXX``, XX being the byte.
    """
    stream = sys.stdout
    if isinstance(stream, io.TextIOWrapper):
        stream.reconfigure(encoding="utf-8", errors=READABLE, newline="\n")
    return stream


def shown_in(text: str, encoding: str) -> str:
    """Return a text as a stream in ``encoding`` shows it.

    Our own arrows and dashes become their like in ASCII, other characters that the encoding lacks
    their escape in Python's notation, by which a name stays recognisable.
    """
    return text.encode(encoding, READABLE).decode(encoding, "replace")


def drop_output() -> None:
    """Discard what standard output did not accept; otherwise Python would try again and fail."""
    try:
        sys.stdout.flush()
    except OSError:
        with open(os.devnull, "w", encoding="utf-8") as nowhere:  # noqa: PTH123
            os.dup2(nowhere.fileno(), sys.stdout.fileno())


def is_terminal(stream: TextIO) -> bool:
    """Tell whether a stream is a terminal; it may be any object."""
    asked = getattr(stream, "isatty", None)
    return bool(asked and asked())


class Rows:
    """Takes a CSV writer's rows, ended by both line ends, and ends them by a line feed.

    A writer quotes only cells that hold what its rows end with, and a name may hold either. On a
    terminal, what that would act on is its escape.
    """

    ends = "\r\n"

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream

    def write(self, row: str) -> None:
        """Write one row."""
        text = row.removesuffix(self.ends)
        text = printable(text) if is_terminal(self._stream) else shown_in(text, "utf-8")
        self._stream.write(text + "\n")


def _open_closed() -> None:
    """Open the null device in place of standard streams that are closed.

    A file opened later would get a closed stream's number, and the warnings of some library.
    """
    for number in range(3):
        try:
            os.fstat(number)
        except OSError:
            with contextlib.suppress(OSError):
                os.open(os.devnull, os.O_RDWR)  # takes the lowest number that is free
    for name, mode in (("stdin", "r"), ("stdout", "w"), ("stderr", "w")):
        stream: Any = getattr(sys, name)
        if stream is None or getattr(stream, "closed", False):
            nowhere = open(os.devnull, mode, encoding="utf-8")  # noqa: SIM115, PTH123
            setattr(sys, name, nowhere)


def _readable(error: UnicodeError) -> tuple[str, int]:
    """Return the replacement of characters that a codec cannot encode; see :func:`shown_in`."""
    if not isinstance(error, UnicodeEncodeError):
        raise error
    signs: Iterable[str] = error.object[error.start : error.end]
    return "".join(_PLAIN.get(sign) or _escape(sign) for sign in signs), error.end


def _escape(sign: str) -> str:
    number = ord(sign)
    # Not all encodings have all of ASCII: cp864 lacks the percent sign.
    wide, letter = (2, "x") if number < 2**8 else (4, "u") if number < 2**16 else (8, "U")
    return f"\\{letter}{number:0{wide}x}"


codecs.register_error(READABLE, _readable)
