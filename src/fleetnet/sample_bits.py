"""16-bit samples: which images have them, and which eight of their bits are kept.

Of grey, Pillow gives all 16 bits. Of colour it keeps only eight, so its file is decoded twice, for
the upper and for the lower byte of each sample.
"""

from __future__ import annotations

import re
import sys

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageFile

from fleetnet.errors import ImageError
from fleetnet.orientation import load_upright

DEEP = "16-bit"
"""The mode that :class:`fleetnet.images.OpenImage` gives of images with such samples."""
_BITS_PER_SAMPLE = 258
_SCALED = ("PPM", "JPEG2000", "HEIF")
"""Formats that state how many bits their samples use; their decoders scale them to 16."""
_DEEP_LAYOUT = re.compile(r";16[BLN]|I;16")
_OTHER_BYTE = {
    "RGB;16B": "RGB;16L",
    "RGB;16L": "RGB;16B",
    "RGB;16N": "RGB;16B" if sys.byteorder == "little" else "RGB;16L",
    "RGBA;16B": "RGBA;16L",
    "RGBA;16L": "RGBA;16B",
    "RGBA;16N": "RGBA;16B" if sys.byteorder == "little" else "RGBA;16L",
    "RGBX;16B": "RGBX;16L",
    "RGBX;16L": "RGBX;16B",
    "LA;16B": "RGBA",  # both bytes of the grey at once, as red and green
}
"""Pillow's names of layouts of 16-bit colour, and of the same in the other byte order."""


def is_deep(image: Image.Image) -> bool:
    """Tell whether an image's samples have 16 bits as they are stored."""
    return is_deep_grey(image) or _has_deep_samples(image)


def is_deep_grey(image: Image.Image) -> bool:
    """Tell whether Pillow gives an image's samples with 16 bits, which it does only of grey."""
    return image.mode.startswith("I;16") or (image.mode == "I" and image.format == "PPM")


def is_deep_colour(image: Image.Image) -> bool:
    """Tell whether an image's samples have 16 bits, of which Pillow keeps only eight."""
    return _has_deep_samples(image) and not image.mode.startswith("I")


def stated_bits(image: Image.Image) -> int | None:
    """Return how many bits the samples of a 16-bit image use; None if its file does not say."""
    if image.format in _SCALED:
        return 16
    stored = getattr(image, "tag_v2", {}).get(_BITS_PER_SAMPLE)
    return 12 if stored == (12,) else None


def upper_eight(samples: npt.NDArray[np.uint16], bits: int) -> npt.NDArray[np.uint8]:
    """Return the upper eight of the ``bits`` that are used; samples above them become 255."""
    pixels: npt.NDArray[np.uint8] = (np.minimum(samples, 2**bits - 1) >> (bits - 8)).astype(
        np.uint8
    )
    return pixels


def deep_colour_pixels(
    upper: Image.Image, lower: ImageFile.ImageFile, bits: int
) -> npt.NDArray[np.uint8]:
    """Return the ``bits`` that are used of an image of 16-bit colour, which is opened twice.

    Pillow keeps only the upper byte of each sample. With the other byte order set for the second,
    it keeps the lower one.

    Raises:
        ImageError: a layout other than PNG's and the usual ones of TIFF.
    """
    for place, tile in enumerate(lower.tile):
        raw, *more = (tile.args,) if isinstance(tile.args, str) else tile.args or ("",)
        other = _OTHER_BYTE.get(raw)
        if other is None:
            raise ImageError(
                f"sample_bits does not work for samples stored as {raw}; save the image as PNG",
                code="unsupported",
            )
        args = other if isinstance(tile.args, str) else (other, *more)
        lower.tile[place] = tile._replace(args=args)
    low = np.asarray(load_upright(lower))
    if raw == "LA;16B":
        samples = np.repeat(low[..., :1].astype(np.uint16) << 8 | low[..., 1:2], 3, axis=2)
    else:
        high = np.asarray(load_upright(upper))
        samples = (high.astype(np.uint16) << 8 | low)[..., :3]
    return upper_eight(samples, bits)


def _has_deep_samples(image: Image.Image) -> bool:
    """Look at the decoder's names of the stored layout: Pillow opens 16-bit colour as 8 bits.

    They end in the order of a sample's bytes; BMP's "BGR;16" has 16 bits for all three colours.
    """
    tiles = image.tile if isinstance(image, ImageFile.ImageFile) else []
    return any(_DEEP_LAYOUT.search(str(tile.args)) for tile in tiles)
