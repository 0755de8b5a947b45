"""EXIF orientation: reading it, and turning pictures upright."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageOps

UPRIGHT = 1
TAG = 0x0112
_SIDEWAYS = (5, 6, 7, 8)
"""Orientations that exchange rows and columns."""
UPSIDE_DOWN = (3, 4, 7, 8)
"""Orientations whose rows are reversed, after the exchange of rows and columns if there is one."""
MIRRORED = (2, 3, 6, 7)
"""Orientations whose columns are reversed, after the same exchange."""


def orientation_of(image: Image.Image) -> int:
    """Return the EXIF (or XMP) orientation, 1 to 8; 1, upright, if absent or damaged."""
    try:
        value = image.getexif().get(TAG, UPRIGHT)
    except Exception:
        return UPRIGHT
    return value if value in range(1, 9) else UPRIGHT


def upright_size(width: int, height: int, orientation: int) -> tuple[int, int]:
    """Return width and height of the upright picture, given those of the stored one."""
    return (height, width) if orientation in _SIDEWAYS else (width, height)


def turn_upright(pixels: npt.NDArray[np.uint8], orientation: int) -> npt.NDArray[np.uint8]:
    """Return stored pixels ``uint8[H, W, 3]`` upright."""
    if orientation in _SIDEWAYS:
        pixels = pixels.transpose(1, 0, 2)
    if orientation in UPSIDE_DOWN:
        pixels = pixels[::-1]
    if orientation in MIRRORED:
        pixels = pixels[:, ::-1]
    return np.ascontiguousarray(pixels)


def turn_image_upright(image: Image.Image) -> Image.Image:
    """Return a decoded image upright; as it is where its EXIF is damaged."""
    try:
        return ImageOps.exif_transpose(image)
    except Exception:
        return image  # no reason to refuse the picture


def load_upright(image: Image.Image) -> Image.Image:
    """Return an image decoded and upright.

    Raises:
        Exception: its pixels are damaged.
    """
    load(image)
    return turn_image_upright(image)


def load(image: Image.Image) -> None:
    """Decode the pixels; after an error, a second call to Pillow may return what it has of them.

    Raises:
        Exception: they are damaged.
    """
    try:
        image.load()
    except OSError:
        raise
    except Exception:
        image.load()  # Pillow turns TIFF files upright here, and sometimes only that fails
