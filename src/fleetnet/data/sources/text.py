"""Text files from outside, a line at a time."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path
from typing import TextIO

from fleetnet.errors import DataError

MAX_BYTES = 4 * 2**30
"""Some fifty million images."""
MAX_LINE = 2**20


@contextlib.contextmanager
def open_text(path: Path) -> Iterator[TextIO]:
    """Open a UTF-8 text file, with or without a byte order mark.

    Raises:
        DataError: missing, not readable, too large, or, in the block, not text.
    """
    try:
        if not path.is_file():
            what = "is not a file" if path.exists() else "does not exist"
            raise DataError(f"{path} {what}")
        if path.stat().st_size > MAX_BYTES:
            raise DataError(f"{path} is larger than {MAX_BYTES // 2**30} GiB: no list of images")
        with path.open(encoding="utf-8-sig", newline="") as file:
            yield file
    except OSError as error:
        raise DataError(f"cannot read {path}: {error.strerror or error}") from None
    except UnicodeDecodeError:
        raise DataError(f"{path} is not UTF-8 text") from None


def lines_of(path: Path) -> Iterator[tuple[int, str]]:
    """Yield the number and the text of each line that is neither empty nor a comment.

    Raises:
        DataError: as :func:`open_text`, or a line is longer than any path.
    """
    with open_text(path) as file:
        number = 0
        while line := file.readline(MAX_LINE):
            number += 1
            if "\0" in line or len(line) == MAX_LINE:
                raise DataError(f"{path}, line {number}: not text of one path a line")
            if line.strip() and not line.lstrip().startswith("#"):
                yield number, line.rstrip("\r\n")
