"""What there is to know of one encoded image, from decoding it once."""

from __future__ import annotations

import hashlib
import io
from dataclasses import dataclass

from PIL import ExifTags, Image, ImageFile, ImageStat

from fleetnet.data.near_duplicates import Hasher
from fleetnet.images import Pixels, from_pil, opened

THUMBNAIL = 96
"""Longest side of a thumbnail, px."""
BLANK_DEVIATION = 2.0
"""An image whose grey values deviate by less than this from their mean, of 255, shows nothing."""

_DECODED = 128
_SIDEWAYS = (5, 6, 7, 8)
_DIGEST_BYTES = 16


@dataclass(frozen=True, slots=True)
class Facts:
    """One image's facts.

    Attributes:
        digest: of the encoded bytes, BLAKE2b of 16 bytes.
        file_size: how many bytes those are.
        width: of the upright image, px.
        height: of the upright image, px.
        format: Pillow's name, such as ``JPEG``.
        mode: ``RGB``, ``grey``, ``palette``, ``alpha``, ``CMYK``, ``16-bit``, or Pillow's name.
        turned: whether EXIF says that it must be turned or mirrored to be upright.
        blank: whether it is one colour, or nearly.
        hash: the perceptual hash, 64 bits; 0 without a hasher.
        thumbnail: JPEG bytes, if asked for.
    """

    digest: bytes
    file_size: int
    width: int
    height: int
    format: str
    mode: str
    turned: bool
    blank: bool
    hash: int
    thumbnail: bytes | None


def examine(data: bytes, hasher: Hasher | None = None, *, thumbnail: bool = False) -> Facts:
    """Decode one image file's bytes and say what it is.

    A JPEG is decoded at the smallest of libjpeg's scales that is enough for the hash and the
    thumbnail; all its data are read nevertheless, so damage is found as by
    :func:`fleetnet.images.decode`.

    Raises:
        ImageError: as :func:`fleetnet.images.decode`.
    """
    with opened(data) as image:
        width, height = image.size
        kind, mode = str(image.format), _mode(image)
        orientation = _orientation(image)  # last: for some formats this decodes the image
        image.draft(None, (_DECODED, _DECODED))
        pixels = from_pil(image)
    if orientation in _SIDEWAYS:
        width, height = height, width
    return Facts(
        digest=hashlib.blake2b(data, digest_size=_DIGEST_BYTES).digest(),
        file_size=len(data),
        width=width,
        height=height,
        format=kind,
        mode=mode,
        turned=orientation in range(2, 9),
        blank=_is_blank(pixels),
        hash=hasher(pixels) if hasher else 0,
        thumbnail=_thumbnail(pixels) if thumbnail else None,
    )


def _orientation(image: Image.Image) -> int:
    try:
        value = image.getexif().get(ExifTags.Base.Orientation, 1)
    except Exception:
        return 1  # a damaged EXIF block turns nothing, here as in decoding
    return value if isinstance(value, int) else 1


def _mode(image: Image.Image) -> str:
    # Pillow opens 16-bit colour as 8 bits; only the decoder's own name of the mode tells.
    tiles = image.tile if isinstance(image, ImageFile.ImageFile) else []
    stored = " ".join(str(tile.args) for tile in tiles)
    if image.mode.startswith("I;16") or ";16" in stored:
        return "16-bit"
    if image.mode in ("RGBA", "LA", "PA", "La", "RGBa") or "transparency" in image.info:
        return "alpha"
    return {"L": "grey", "1": "grey", "P": "palette"}.get(image.mode, image.mode)


def _is_blank(pixels: Pixels) -> bool:
    return ImageStat.Stat(Image.fromarray(pixels).convert("L")).stddev[0] < BLANK_DEVIATION


def _thumbnail(pixels: Pixels) -> bytes:
    image = Image.fromarray(pixels)
    image.thumbnail((THUMBNAIL, THUMBNAIL), Image.Resampling.LANCZOS)
    encoded = io.BytesIO()
    image.save(encoded, "JPEG", quality=90)
    return encoded.getvalue()
