"""The image formats that are read, how each is recognised by its first bytes, and its decoder.

A format is here if its decoder is well maintained, keeps to the size in the file's header and runs
no other program, and if its first bytes identify it (docs/images.md has the reasons for each, and
for those that are not here). Only the decoder of the recognised format gets a file's bytes: so the
error on a damaged JPEG says that it is one, and hostile bytes reach only one parser.
"""

from __future__ import annotations

import functools
import io
import re
import struct
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import PIL
from PIL import Image, ImageFile, UnidentifiedImageError, features

from fleetnet.damage import check_jpeg2000, check_png, check_tiff
from fleetnet.errors import INSTALL, ImageError


class Format(NamedTuple):
    """A format of images.

    Attributes:
        name: Pillow's name for it.
        endings: of its files' names, in lower case.
        begins: tells whether a file's bytes are in this format.
        codec: the optional feature that Pillow must be built with, if any.
        inside: gives the file that is within one of this format, and that one's format by name.
        check: raises :class:`fleetnet.errors.ImageError` for damage that Pillow does not see.
        check_opened: the same, for what Pillow has to open first.
        decoder: opens a file in place of Pillow's own decoders.
    """

    name: str
    endings: tuple[str, ...]
    begins: Callable[[bytes], bool]
    codec: str | None = None
    inside: Callable[[bytes], tuple[str, bytes]] | None = None
    check: Callable[[bytes], None] | None = None
    check_opened: Callable[[ImageFile.ImageFile], None] | None = None
    decoder: Callable[[bytes], ImageFile.ImageFile] | None = None


def format_of(data: bytes) -> Format:
    """Return the format of a file's bytes.

    Raises:
        ImageError: it is no format that is read here.
    """
    found = next((known for known in FORMATS if known.begins(data)), None)
    if found is None:
        raise ImageError("not an image in a known format", code="not-an-image")
    return found


def open_image(data: bytes, kind: Format) -> ImageFile.ImageFile:
    """Open an image whose pixels are decoded on demand; the main one if there are several.

    Raises:
        ImageError: the decoder of this format is not installed.
        Exception: any error of the decoder on a damaged header.
    """
    if kind.decoder:
        return kind.decoder(data)
    decoded = kind
    if kind.inside:
        name, data = kind.inside(data)
        decoded = next(known for known in FORMATS if known.name == name)
    if kind.codec and not _has(kind.codec):
        raise ImageError(
            f"{kind.name} is not in this Pillow ({PIL.__version__}): {INSTALL} --upgrade pillow",
            code="not-installed",
            package="pillow",
        )
    if decoded.check:
        decoded.check(data)
    try:
        image = Image.open(io.BytesIO(data), formats=(decoded.name,))
    except UnidentifiedImageError:
        raise ImageError(
            f"damaged image: the header of this {kind.name} file", code="damaged"
        ) from None
    if decoded.check_opened:
        decoded.check_opened(image)
    return image


@functools.cache
def _has(codec: str) -> bool:
    return bool(features.check(codec))


def _open_heif(data: bytes) -> ImageFile.ImageFile:
    # Imported only for such a file, and called directly: Pillow's register of formats belongs to
    # the whole process and stays unchanged.
    try:
        from pillow_heif import HeifImageFile
    except ImportError:
        raise ImageError(
            f"HEIC needs pillow-heif: {INSTALL} 'fleetnet[heif]'",
            code="not-installed",
            package="pillow-heif",
            extra="heif",
        ) from None
    opener: Callable[[io.BytesIO], ImageFile.ImageFile] = HeifImageFile
    return opener(io.BytesIO(data))


def _largest_of_icon(data: bytes) -> tuple[str, bytes]:
    """Return the largest picture of an icon (of equal ones, the deepest) as a PNG or DIB file.

    Pillow's own reader of icons decodes them before their size can be checked.

    Raises:
        ImageError: there is no picture.
        struct.error: the file is cut off.
    """
    count = int.from_bytes(data[4:6], "little")
    pictures = [struct.unpack_from("<BBxxxxHII", data, 6 + 16 * n) for n in range(count)]
    if not pictures:
        raise ImageError("damaged image: an icon without a picture", code="damaged")
    # A side of 256 is written as 0.
    *_, size, start = max(pictures, key=lambda p: ((p[0] or 256) * (p[1] or 256), p[2]))
    picture = data[start : start + size]
    if _PNG(picture):
        return "PNG", picture
    # Its mask follows the picture and is part of the height; alpha is dropped, as everywhere.
    (height,) = struct.unpack_from("<i", picture, 8)
    return "DIB", picture[:8] + struct.pack("<i", height // 2) + picture[12:]


def _begins(pattern: bytes) -> Callable[[bytes], bool]:
    compiled = re.compile(pattern, re.DOTALL)
    return lambda data: compiled.match(data) is not None


_MAX_BRANDS = 64


def _brand(names: bytes) -> Callable[[bytes], bool]:
    """Return a function that looks for a brand among those of an ISO base media file."""
    wanted = frozenset(names.split())

    def begins(data: bytes) -> bool:
        if data[4:8] != b"ftyp":
            return False
        end = min(int.from_bytes(data[:4], "big"), len(data), 16 + 4 * _MAX_BRANDS)
        brands = {data[8:12], *(data[place : place + 4] for place in range(16, end, 4))}
        return not wanted.isdisjoint(brands)

    return begins


_TGA_FOOTER = b"TRUEVISION-XFILE.\0"
_TGA_DEPTHS = {1: (8,), 2: (16, 24, 32), 3: (1, 8, 16), 9: (8,), 10: (16, 24, 32), 11: (8, 16)}
"""Bits per pixel of each type: with a palette, in colour, grey; from 9 on run-length encoded."""
_LONGEST_RUN = 128


def _tga(data: bytes) -> bool:
    """Tell whether bytes can be a Targa file.

    The format has no magic number, and older files have no footer. So the header must make sense,
    and there must be at least as many bytes as the pixels need, with the best run-length encoding.
    """
    if len(data) < 18:
        return False
    id_length, has_map, kind = data[:3]
    entries, entry_bits = struct.unpack_from("<HB", data, 5)
    width, height, depth, flags = struct.unpack_from("<HHBB", data, 12)
    mapped = kind in (1, 9)
    if has_map != mapped or depth not in _TGA_DEPTHS.get(kind, ()) or flags & 0xC0:
        return False
    if mapped and (not entries or entry_bits not in (16, 24, 32)):
        return False
    pixels = width * height
    if kind >= 9:
        least = -(-pixels // _LONGEST_RUN) * (1 + depth // 8)
    else:
        least = height * -(-width * depth // 8)
    palette = entries * entry_bits // 8 if mapped else 0
    whole = pixels > 0 and len(data) >= 18 + id_length + palette + least
    return whole or (pixels > 0 and data.endswith(_TGA_FOOTER))


_PNG = _begins(rb"\x89PNG\r\n\x1a\n")
_DIB = _begins(rb"(\x0c\0\0\0.{4}|[\x28\x34\x38\x40\x6c\x7c]\0\0\0.{8})\x01\0")

FORMATS = (
    Format("JPEG", (".jpg", ".jpeg", ".jpe", ".jfif", ".mpo"), _begins(rb"\xff\xd8\xff")),
    Format("PNG", (".png", ".apng"), _PNG, check=check_png),
    Format("WEBP", (".webp",), _begins(rb"RIFF.{4}WEBP"), "webp"),
    Format("AVIF", (".avif", ".avifs"), _brand(b"avif avis"), "avif"),
    Format(
        "HEIF",
        (".heic", ".heif", ".heics", ".heifs", ".hif"),
        _brand(b"heic heix heim heis hevc hevx hevm hevs mif1 msf1"),
        decoder=_open_heif,
    ),
    Format("TIFF", (".tif", ".tiff"), _begins(rb"II[*+]\0|MM\0[*+]"), check_opened=check_tiff),
    Format("GIF", (".gif",), _begins(rb"GIF8[79]a")),
    Format("BMP", (".bmp", ".dib"), _begins(rb"BM")),
    Format("DIB", (), _DIB),
    Format("PPM", (".ppm", ".pgm", ".pbm", ".pnm"), _begins(rb"P[1-6f]\s")),
    Format(
        "JPEG2000",
        (".jp2", ".j2k", ".jpx", ".jpf", ".jpc", ".j2c"),
        _begins(rb"\xff\x4f\xff\x51|\0\0\0\x0cjP  \r\n\x87\n"),
        "jpg_2000",
        check=check_jpeg2000,
    ),
    Format("ICO", (".ico",), _begins(rb"\0\0\x01\0"), inside=_largest_of_icon),
    Format("QOI", (".qoi",), _begins(rb"qoif")),
    Format("TGA", (".tga",), _tga),  # last: it has no magic number
)
"""All formats that are read, in the order in which they are tried."""

EXTENSIONS = frozenset(ending for known in FORMATS for ending in known.endings)
USUAL = ".jpg, .png, .webp, .tif, .bmp, .gif and others, see docs/images.md"
"""What messages say of the endings, which are too many for a line."""


def is_image_name(name: str) -> bool:
    """Tell whether a file's extension is that of an image."""
    return Path(name).suffix.lower() in EXTENSIONS
