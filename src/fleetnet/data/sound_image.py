"""JPEG files that were decoded before: the few facts that a crop needs, without reading all tables.

Opening a file takes Pillow a tenth of the time that a random crop of it takes in all. Of a file
that is known not to be damaged, and that has nothing in its header that turns the picture or
changes what its numbers mean, the size is enough. The pixels are those of
:class:`fleetnet.images.OpenImage`.
"""

from __future__ import annotations

import numpy as np

from fleetnet import native
from fleetnet.images import MAX_PIXELS, OpenImage, Pixels

_BEGIN, _END = b"\xff\xd8", b"\xff\xd9"
_FRAMES = (0xC0, 0xC1, 0xC2)
"""Baseline, extended and progressive, with Huffman codes."""
_PASSED_OVER = (0xC4, 0xDB, 0xDD, 0xE0, 0xFE)
"""Huffman and quantisation tables, restart intervals, JFIF and comments."""
_LONGEST = 64
"""Segments before the frame."""


class SoundJpeg:
    """A JPEG file of an upright picture in grey or colour, known not to be damaged.

    Args:
        data: the file's bytes.
        width: of the picture.
        height: likewise.
    """

    def __init__(self, data: bytes, width: int, height: int) -> None:
        self._data = data
        self.width = width
        self.height = height

    def size(self, shrink: int) -> tuple[int, int]:
        """Return width and height of what decoding by ``shrink`` gives."""
        return -(-self.width // shrink), -(-self.height // shrink)

    def decode_part(self, box: tuple[int, int, int, int], shrink: int = 1) -> Pixels:
        """Return a part of the picture, as :meth:`fleetnet.images.OpenImage.decode_part`.

        Raises:
            ImageError: damaged or truncated, as far as that is found.
        """
        left, top, right, bottom = box
        pixels = np.empty((bottom - top, right - left, 3), np.uint8)
        size = (self.width, self.height)
        if native.jpeg is not None and native.jpeg.decode_part(
            self._data, pixels, size, shrink, box
        ):
            return pixels
        return OpenImage(self._data).decode(shrink)[top:bottom, left:right]


def open_sound(data: bytes, sample_bits: int | None = None) -> OpenImage | SoundJpeg:
    """Open an image that was decoded before.

    Args:
        data: the file's bytes.
        sample_bits: as for :class:`fleetnet.images.OpenImage`.

    Raises:
        ImageError: as :class:`fleetnet.images.OpenImage`.
    """
    size = _plain_size(data) if native.jpeg is not None else None
    return OpenImage(data, sample_bits) if size is None else SoundJpeg(data, *size)


def _plain_size(data: bytes) -> tuple[int, int] | None:
    """Return width and height of a JPEG file, or None if its header has more to say.

    EXIF and XMP may turn a picture, Adobe's segment says what the numbers of its colours mean, and
    an index of several pictures makes it another format: all are left to Pillow.
    """
    if not (data.startswith(_BEGIN) and data.endswith(_END)):
        return None
    place = len(_BEGIN)
    for _ in range(_LONGEST):
        head = data[place : place + 10]
        if len(head) < 10 or head[0] != 0xFF:
            return None
        if head[1] in _FRAMES:
            # Then the length, the bits of a sample, both sides, and the number of components.
            height, width = int.from_bytes(head[5:7], "big"), int.from_bytes(head[7:9], "big")
            plain = head[4] == 8 and head[9] in (1, 3) and 0 < width * height <= MAX_PIXELS
            return (width, height) if plain else None
        if head[1] not in _PASSED_OVER:
            return None
        place += 2 + int.from_bytes(head[2:4], "big")
    return None
