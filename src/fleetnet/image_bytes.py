"""The content of an image file, or of standard input, limited in size."""

from __future__ import annotations

import os
import sys
from pathlib import Path

from fleetnet.errors import ImageError

MAX_BYTES = 256 * 2**20
STDIN = "-"


def read_bytes(path: str | os.PathLike[str]) -> bytes:
    """Return the content of an image file, ``-`` being standard input.

    Raises:
        ImageError: no such file, not a file, not readable, empty, or over :data:`MAX_BYTES`.
    """
    try:
        if os.fspath(path) == STDIN:
            stream = getattr(sys.stdin, "buffer", None)
            if stream is None:
                raise ImageError("standard input is no stream of bytes")
            data: bytes = stream.read(MAX_BYTES + 1)
        else:
            with Path(path).open("rb") as file:
                # Python allocates what it is asked for, so ask for no more than the file has;
                # a pipe has no size and is asked for all that is allowed.
                size = os.fstat(file.fileno()).st_size
                data = file.read(min(size or MAX_BYTES, MAX_BYTES) + 1)
    except OSError as error:
        raise ImageError(error.strerror or str(error)) from None
    except ValueError as error:  # no file system can hold such a name
        raise ImageError(str(error)) from None
    if not data:
        raise ImageError("the file is empty", code="empty")
    if len(data) > MAX_BYTES:
        raise ImageError(f"the file is larger than {MAX_BYTES // 2**20} MiB", code="too-large")
    return data


class StoredImage:
    """An image that lies in a larger file, such as a shard; it can be read as an open file.

    Args:
        name: for people.
        content: its encoded bytes, or why there are none.
    """

    def __init__(self, name: str, content: bytes | ImageError) -> None:
        self.name = name
        self._content = content
        self._position = 0

    @property
    def content(self) -> bytes:
        """Its encoded bytes.

        Raises:
            ImageError: they cannot be had.
        """
        if isinstance(self._content, ImageError):
            raise self._content
        return self._content

    def read(self, size: int, /) -> bytes:
        """Return the next bytes, at most ``size``; none at the end.

        Raises:
            ImageError: they cannot be had.
        """
        piece = self.content[self._position : self._position + size]
        self._position += len(piece)
        return piece
