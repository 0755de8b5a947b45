"""EXIF orientation: reading it, and turning pictures upright."""

from __future__ import annotations

import functools
from collections.abc import Callable

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageOps, PngImagePlugin

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


def stored_box(
    box: tuple[int, int, int, int], width: int, height: int, orientation: int
) -> tuple[int, int, int, int]:
    """Return where in the stored picture a box of the upright one is.

    Args:
        box: left, top, right and bottom in pixels, the last two exclusive.
        width: of the upright picture.
        height: likewise.
        orientation: of the stored picture, 1 to 8.
    """
    left, top, right, bottom = box
    if orientation in MIRRORED:
        left, right = width - right, width - left
    if orientation in UPSIDE_DOWN:
        top, bottom = height - bottom, height - top
    return (top, left, bottom, right) if orientation in _SIDEWAYS else (left, top, right, bottom)


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
    """Decode the pixels.

    What follows the pixels in a file may be damaged where they are not: Pillow turns TIFF files
    upright at the end of decoding, and reads what is left of a PNG file there.

    Raises:
        Exception: the pixels are damaged.
    """
    if isinstance(image, PngImagePlugin.PngImageFile):
        # Pillow raises what this raises instead of its decoder's error, and raises neither when it
        # is called again.
        vars(image)["load_end"] = functools.partial(_end, image.load_end)
    try:
        image.load()
    except OSError:
        raise
    except Exception:
        if image.format == "PNG":
            raise
        image.load()


def _end(read_rest: Callable[[], None]) -> None:
    try:
        read_rest()
    except OSError:
        raise
    except Exception:
        return  # of a chunk that holds nothing of the picture
