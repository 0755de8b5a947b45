"""Facts on one encoded image, from decoding it once."""

from __future__ import annotations

import io
from dataclasses import dataclass

from PIL import Image, ImageStat

from fleetnet.data.contents import digest_of
from fleetnet.data.near_duplicates import Hasher
from fleetnet.geometry import SHRINKS
from fleetnet.images import OpenImage, Pixels
from fleetnet.orientation import UPRIGHT

THUMBNAIL = 96
"""Longest side of a thumbnail, px."""
BLANK_DEVIATION = 2.0
"""Standard deviation of grey values, of 255, below which an image counts as blank."""

_DECODED = 128


@dataclass(frozen=True, slots=True)
class Facts:
    """One image's facts.

    Attributes:
        digest: of the encoded bytes, BLAKE2b of 16 bytes.
        file_size: how many bytes those are.
        width: of the upright image, px.
        height: of the upright image, px.
        format: as of :class:`fleetnet.images.OpenImage`.
        mode: the same.
        used_bits: how many of 16 bits the largest sample uses, at least 8; None where samples have
            fewer than 16 bits, where the format states how many are used, or where the check was
            given ``sample_bits``.
        turned: whether EXIF says that it is to be turned or mirrored.
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
    used_bits: int | None
    turned: bool
    blank: bool
    hash: int
    thumbnail: bytes | None


def examine(
    data: bytes,
    hasher: Hasher | None = None,
    *,
    thumbnail: bool = False,
    sample_bits: int | None = None,
) -> Facts:
    """Decode one image file's bytes and return the facts.

    A JPEG is decoded at the smallest of libjpeg's scales that is enough for the hash and the
    thumbnail; all of its data is still read, so damage is found as by
    :func:`fleetnet.images.decode`.

    Args:
        data: the file's content.
        hasher: computes the perceptual hash.
        thumbnail: whether to make one.
        sample_bits: as in training.

    Raises:
        ImageError: as :func:`fleetnet.images.decode`.
    """
    image = OpenImage(data, sample_bits)
    short = min(image.width, image.height)
    pixels = image.decode(next((shrink for shrink in SHRINKS if short >= shrink * _DECODED), 1))
    return Facts(
        digest=digest_of(data),
        file_size=len(data),
        width=image.width,
        height=image.height,
        format=image.format,
        mode=image.mode,
        used_bits=_used_bits(pixels) if image.unstated_depth and sample_bits is None else None,
        turned=image.orientation != UPRIGHT,
        blank=_is_blank(pixels),
        hash=hasher(pixels) if hasher else 0,
        thumbnail=_thumbnail(pixels) if thumbnail else None,
    )


def _used_bits(pixels: Pixels) -> int:
    """Return how many of 16 bits the largest sample uses, given the upper eight bits of each."""
    return 8 + int(pixels.max()).bit_length()


def _is_blank(pixels: Pixels) -> bool:
    return ImageStat.Stat(Image.fromarray(pixels).convert("L")).stddev[0] < BLANK_DEVIATION


def _thumbnail(pixels: Pixels) -> bytes:
    image = Image.fromarray(pixels)
    image.thumbnail((THUMBNAIL, THUMBNAIL), Image.Resampling.LANCZOS)
    encoded = io.BytesIO()
    image.save(encoded, "JPEG", quality=90)
    return encoded.getvalue()
