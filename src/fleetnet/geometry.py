"""Which pixels of a picture are wanted: sizes after resizing, the crop's place, scaled decoding.

The C core (``native/geometry.c``), which every host shares, computes this. The same in Python is
the reference that tests compare it with, and is used if there was no compiler.
"""

from __future__ import annotations

import math
from typing import Literal, NamedTuple, get_args

import numpy as np
import numpy.typing as npt

from fleetnet import native
from fleetnet.errors import ImageError
from fleetnet.orientation import MIRRORED, UPSIDE_DOWN

Interpolation = Literal["bilinear", "bicubic", "cv2-linear"]

MAX_ASPECT = 100
"""Beyond this ratio of the sides, the resized picture would be gigantic."""

SHRINKS = (8, 4, 2)
"""By how much a JPEG can be decoded smaller; libjpeg's other factors are slower than none."""

SPARE = 2.5
"""The short side of a picture that is decoded smaller is at least so many times ``resize``.

With less, libjpeg's way of making it smaller changes answers: with 2, EfficientNet-Lite0 gave
another answer for 5 photographs of 556, with 2.5 for 1 of 430. A picture of twelve
megapixels is decoded at a quarter of its sides with either.
"""


class Geometry(NamedTuple):
    """How a picture is resized and cropped."""

    size: tuple[int, int]
    """Width and height after resizing."""
    offset: tuple[int, int]
    """Offset of the crop in the resized picture, from the left and from the top."""


class Extent(NamedTuple):
    """A rectangle in an image, in pixels and fractions of pixels."""

    left: float
    top: float
    right: float
    bottom: float

    @classmethod
    def of(cls, pixels: npt.NDArray[np.uint8]) -> Extent:
        """Return the rectangle of a whole image, ``uint8[H, W, 3]``."""
        height, width = pixels.shape[:2]
        return cls(0, 0, width, height)


def number_of(interpolation: Interpolation) -> int:
    """Return the C core's number of an interpolation."""
    return get_args(Interpolation).index(interpolation)


def geometry(
    width: float, height: float, resize: int, crop: int, interpolation: Interpolation
) -> Geometry:
    """Return how a picture is resized and cropped.

    Args:
        width: of the picture, in pixels; a fraction where it was decoded smaller.
        height: likewise.
        resize: what the short side becomes, at least ``crop``.
        crop: side of the centred square.
        interpolation: see :class:`fleetnet.preprocess.Preprocess` for what each rounds.

    Raises:
        ImageError: sides more than 1:100 apart.
    """
    if max(width, height) > MAX_ASPECT * min(width, height):
        raise ImageError(
            f"{width:g}×{height:g} is longer than 1:{MAX_ASPECT}",
            code="too-long",
            width=width,
            height=height,
            limit=MAX_ASPECT,
        )
    if native.core is None:
        return reference(width, height, resize, crop, interpolation)
    return Geometry(*native.core.geometry(width, height, resize, crop, number_of(interpolation)))


def reference(
    width: float, height: float, resize: int, crop: int, interpolation: Interpolation
) -> Geometry:
    """Return what :func:`geometry` does, computed in Python."""
    sides = width, height
    if interpolation == "cv2-linear":
        scale = resize / min(sides)
        wide, high = (round(side * scale) for side in sides)
        left, top = ((side - crop) // 2 for side in (wide, high))
    else:
        wide, high = (int(resize * side / min(sides)) for side in sides)
        left, top = (round((side - crop) / 2) for side in (wide, high))
    return Geometry((wide, high), (left, top))


def shrink_for(width: int, height: int, resize: int, interpolation: Interpolation) -> int:
    """Return by how much a JPEG may be decoded smaller with hardly a change of the answer.

    With ``cv2-linear`` it may not: that uses single pixels of the large picture, which a smaller
    one does not have.
    """
    if native.core is None:
        return reference_shrink(width, height, resize, interpolation)
    shrink: int = native.core.shrink(width, height, resize, number_of(interpolation))
    return shrink


def reference_shrink(width: int, height: int, resize: int, interpolation: Interpolation) -> int:
    """Return what :func:`shrink_for` does, computed in Python."""
    if interpolation == "cv2-linear":
        return 1
    short = min(width, height)
    return next((shrink for shrink in SHRINKS if short >= SPARE * shrink * resize), 1)


def extent_of(width: int, height: int, shrink: int, orientation: int) -> Extent:
    """Return where the upright picture is in the pixels that decoding by ``shrink`` gives.

    Sides that ``shrink`` does not divide are rounded up: libjpeg fills the last block of pixels
    from beyond the edge. If these counted as part of the picture, it would be stretched.

    Args:
        width: of the upright picture at full size.
        height: likewise.
        shrink: 1 or one of :data:`SHRINKS`.
        orientation: how EXIF says that the stored picture lies, 1 to 8.
    """
    if native.core is None:
        return reference_extent(width, height, shrink, orientation)
    return Extent(*native.core.extent(width, height, shrink, orientation))


def reference_extent(width: int, height: int, shrink: int, orientation: int) -> Extent:
    """Return what :func:`extent_of` does, computed in Python."""
    wide, high = width / shrink, height / shrink
    left = math.ceil(wide) - wide if orientation in MIRRORED else 0
    top = math.ceil(high) - high if orientation in UPSIDE_DOWN else 0
    return Extent(left, top, left + wide, top + high)
