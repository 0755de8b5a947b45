"""Images in files of their own."""

from __future__ import annotations

import os
from pathlib import Path

from fleetnet.data.sources.samples import Indices, SampleTable
from fleetnet.errors import ImageError
from fleetnet.image_bytes import read_bytes


class ImageFiles:
    """The reading half of a source whose samples' names are paths below ``root``."""

    root: Path
    samples: SampleTable
    shards: Indices | None = None

    def path(self, index: int) -> Path:
        """Return the path of sample ``index``."""
        return self.root / self.samples.name(index)

    def read(self, index: int) -> bytes:
        """Return the encoded bytes of sample ``index``."""
        # Opening a pipe would wait for ever for a writer.
        if os.path.exists(path := self._place(index)) and not os.path.isfile(path):  # noqa: PTH110, PTH113
            raise ImageError("not a plain file")
        return read_bytes(path)

    def size(self, index: int) -> int | None:
        """Return the file's size, or None if it is not known."""
        try:
            return os.stat(self._place(index)).st_size  # noqa: PTH116 - asked of every image
        except OSError:
            return None

    def read_end(self, index: int, count: int) -> bytes:
        """Return the last ``count`` bytes of the file."""
        try:
            # So that a pipe, which has no end to read, does not block.
            flags = os.O_RDONLY | getattr(os, "O_BINARY", 0) | getattr(os, "O_NONBLOCK", 0)
            handle = os.open(self._place(index), flags)
            try:
                os.lseek(handle, max(os.fstat(handle).st_size - count, 0), os.SEEK_SET)
                return os.read(handle, count)
            finally:
                os.close(handle)
        except OSError as error:
            raise ImageError(error.strerror or str(error)) from None

    def _place(self, index: int) -> str:
        """Return the path of sample ``index`` as text, which is much faster than a Path."""
        return os.path.join(self.root, self.samples.name(index))  # noqa: PTH118
