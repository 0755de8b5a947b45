"""Encoding files that no library writes as needed: every kind of PNG, and damaged files."""

from __future__ import annotations

import io
import struct
import zlib
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image

Samples = npt.NDArray[np.uint8] | npt.NDArray[np.uint16]

GREY, RGB, GREY_ALPHA, RGB_ALPHA = 0, 2, 4, 6
"""PNG's numbers for the kinds of pixels."""
_PNG = b"\x89PNG\r\n\x1a\n"
_ADAM7 = ((0, 0, 8, 8), (4, 0, 8, 8), (0, 4, 4, 8), (2, 0, 4, 4), (0, 2, 2, 4), (1, 0, 2, 2))
_LAST_PASS = (0, 1, 1, 2)
"""First column, first row, and steps of each part of an interlaced PNG."""


def encode(image: Image.Image | npt.NDArray[Any], kind: str, **options: object) -> bytes:
    """Encode with Pillow."""
    picture = image if isinstance(image, Image.Image) else Image.fromarray(image)
    buffer = io.BytesIO()
    picture.save(buffer, kind, **options)
    return buffer.getvalue()


def exif(orientation: int) -> bytes:
    """Return an EXIF block that has only the orientation, 1 to 8."""
    block = Image.Exif()
    block[0x0112] = orientation
    return block.tobytes()


def png(
    samples: Samples,
    colour: int,
    *,
    interlaced: bool = False,
    chunks: tuple[tuple[bytes, bytes], ...] = (),
) -> bytes:
    """Encode a PNG file without filters.

    Args:
        samples: ``uint8`` or ``uint16``, ``[H, W, C]``.
        colour: PNG's number for the kind of pixel.
        interlaced: whether the file is interlaced.
        chunks: names and contents of the chunks before the pixels.
    """
    height, width = samples.shape[:2]
    header = struct.pack(
        ">IIBBBBB", width, height, samples.itemsize * 8, colour, 0, 0, int(interlaced)
    )
    parts = (*_ADAM7, _LAST_PASS) if interlaced else ((0, 0, 1, 1),)
    rows = b"".join(
        b"\0" + row.astype(f">u{samples.itemsize}").tobytes()
        for x, y, across, down in parts
        for row in samples[y::down, x::across]
        if row.size
    )
    # Not compressed: zlib and its replacements give different bytes, and the pictures are small.
    body = (*chunks, (b"IDAT", zlib.compress(rows, 0)), (b"IEND", b""))
    return _PNG + b"".join(chunk(name, data) for name, data in ((b"IHDR", header), *body))


def chunk(name: bytes, data: bytes) -> bytes:
    """Return one chunk of a PNG file."""
    checksum = zlib.crc32(name + data)
    return struct.pack(">I", len(data)) + name + data + struct.pack(">I", checksum)


def with_png_size(data: bytes, width: int, height: int) -> bytes:
    """Return a PNG file whose header states another size, with the right checksum."""
    header = struct.pack(">II", width, height) + data[24:29]
    return data[:8] + chunk(b"IHDR", header) + data[33:]


def with_jpeg_size(data: bytes, width: int, height: int) -> bytes:
    """Return a baseline JPEG file whose header states another size."""
    place = data.index(b"\xff\xc0") + 5
    return data[:place] + struct.pack(">HH", height, width) + data[place + 4 :]


def flipped(data: bytes, place: int) -> bytes:
    """Return the bytes with one byte changed."""
    return data[:place] + bytes([data[place] ^ 0x55]) + data[place + 1 :]
