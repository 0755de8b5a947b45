"""The images that go into shards: as they are, or made smaller."""

from __future__ import annotations

import io
from typing import NamedTuple

from PIL import Image

from fleetnet.data.sources import Source
from fleetnet.errors import ImageError
from fleetnet.formats import format_of, is_image_name
from fleetnet.images import decode, opened

QUALITY = 95
"""Of JPEGs that are made smaller, with all of their colour samples."""


class Taken(NamedTuple):
    """An encoded image and the ending of its name."""

    data: bytes
    ending: str


def take(source: Source, index: int, max_side: int | None) -> Taken:
    """Return a sample's image.

    An image within the limit is left as it is, byte by byte. A larger JPEG becomes a JPEG, and
    anything else a PNG, upright and in RGB.

    Args:
        source: of the sample.
        index: of the sample.
        max_side: longest side in pixels; None for no limit.

    Raises:
        ImageError: it cannot be read, or is none.
    """
    data = source.read(index)
    if not data:
        raise ImageError("the file is empty", code="empty")
    if max_side is not None:
        with opened(data) as image:
            larger = max(image.size) > max_side
        if larger:
            return _smaller(data, max_side)
    base = source.samples[index].name.rpartition("/")[2]
    if is_image_name(base):
        return Taken(data, base.rpartition(".")[2].lower())
    return Taken(data, format_of(data).endings[0].removeprefix("."))


def _smaller(data: bytes, max_side: int) -> Taken:
    image = Image.fromarray(decode(data))
    scale = max_side / max(image.size)
    width, height = (max(round(side * scale), 1) for side in image.size)
    image = image.resize((width, height), Image.Resampling.BICUBIC)
    out = io.BytesIO()
    try:
        if format_of(data).name == "JPEG":
            image.save(out, "JPEG", quality=QUALITY, subsampling=0)
            return Taken(out.getvalue(), "jpg")
        image.save(out, "PNG")
    except OSError as error:
        raise ImageError(f"cannot be made smaller: {error}") from None
    return Taken(out.getvalue(), "png")
