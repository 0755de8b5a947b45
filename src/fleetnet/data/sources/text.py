"""Text files that list images: read line by line, however large, with clear errors."""

from __future__ import annotations

import codecs
import contextlib
from collections.abc import Iterator
from pathlib import Path
from typing import TextIO

from fleetnet.data.sources.pointers import refuse_pointer
from fleetnet.errors import DataError
from fleetnet.labels import printable

MAX_BYTES = 4 * 2**30
"""About fifty million images."""
MAX_LINE = 2**20
_UTF_16 = (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)
_EXCELS = "cp1252"


@contextlib.contextmanager
def open_text(path: Path) -> Iterator[TextIO]:
    """Open a text file: UTF-8, with or without a byte order mark, or UTF-16 with one.

    The latter is what Excel calls "Unicode text".

    Raises:
        DataError: missing, not readable, too large, a Git LFS pointer, or, in the block, not text;
            then the message says where.
    """
    encoding = "utf-8-sig"
    try:
        if not path.is_file():
            what = "is not a file" if path.exists() else "does not exist"
            raise DataError(f"{path} {what}", file=str(path))
        if path.stat().st_size > MAX_BYTES:
            raise DataError(
                f"{path} is larger than {MAX_BYTES // 2**30} GiB: no list of images",
                code="too-large",
                file=str(path),
            )
        refuse_pointer(path)
        with path.open("rb") as beginning:
            if beginning.read(2) in _UTF_16:
                encoding = "utf-16"
        with path.open(encoding=encoding, newline="") as file:
            yield file
    except OSError as error:
        raise DataError(
            f"cannot read {path}: {error.strerror or error}", code="unreadable", file=str(path)
        ) from None
    except UnicodeError:
        if encoding == "utf-16":
            raise DataError(
                f"{path} begins as UTF-16 text but is damaged: save it again", file=str(path)
            ) from None
        raise DataError(
            f"{path} is not UTF-8 text{_first_wrong_byte(path)}", file=str(path)
        ) from None


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
                raise DataError(
                    f"{path}, line {number}: not text of one path a line",
                    file=str(path),
                    line=number,
                )
            if line.strip() and not line.lstrip().startswith("#"):
                yield number, line.rstrip("\r\n")


def _first_wrong_byte(path: Path) -> str:
    """Return where a file is not UTF-8, and what to do about it."""
    decoder = codecs.getincrementaldecoder("utf-8")()
    number = 1
    with contextlib.suppress(OSError), path.open("rb") as file:
        while line := file.readline(MAX_LINE):
            try:
                decoder.decode(line)
            except UnicodeDecodeError as error:
                byte = error.object[error.start : error.start + 1]
                sign = printable(byte.decode(_EXCELS, "replace"))
                return (
                    f": line {number} has the byte 0x{byte[0]:02X} ('{sign}' as Excel saves a "
                    "plain CSV on Windows); save it as 'CSV UTF-8', or run iconv -f WINDOWS-1252 "
                    "-t UTF-8"
                )
            number += line.endswith(b"\n")
    return ""
