"""Resizing, only of what a crop needs: the same pixels on every machine and with every Pillow.

:mod:`fleetnet.preprocess` defines the arithmetic, and this module computes it: in C if that was
compiled, several times as fast as Pillow; otherwise by Pillow and NumPy, with the same bits.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image

from fleetnet import native
from fleetnet.geometry import Extent, Interpolation, number_of

_PILLOW = {"bilinear": Image.Resampling.BILINEAR, "bicubic": Image.Resampling.BICUBIC}


def resample(
    image: Pixels,
    extent: Extent,
    size: tuple[int, int],
    offset: tuple[int, int],
    crop: int,
    interpolation: Interpolation,
) -> Pixels:
    """Return a square of a resized picture, ``uint8[crop, crop, 3]``.

    Args:
        image: ``uint8[H, W, 3]``.
        extent: the part that is resized. With ``cv2-linear``, whose arithmetic has only whole
            pixels, it has to be the whole image.
        size: width and height of that part after resizing.
        offset: of the square in the resized picture, from the left and from the top.
        crop: side of the square.
        interpolation: ``bilinear`` and ``bicubic`` are antialiased: Pillow's weights of 22
            fractional bits; all rows first, rounded to eight bits, then the columns. That is
            Pillow's order up to version 12; from 13 on it depends on the picture's sides.
            ``cv2-linear`` is OpenCV's for 8 bits.

    Raises:
        ValueError: the square is not in the resized picture, the extent not in the image, or with
            ``cv2-linear`` not the whole image.
    """
    if interpolation == "cv2-linear" and extent != Extent.of(image):
        raise ValueError("cv2-linear resizes only whole images")
    if native.core is None:
        return reference(image, extent, size, offset, crop, interpolation)
    height, width = image.shape[:2]
    out = np.empty((crop, crop, 3), np.uint8)
    pixels = np.ascontiguousarray(image)
    number = number_of(interpolation)
    native.core.resample(pixels, out, (width, height), tuple(extent), size, offset, crop, number)
    return out


def reference(
    image: Pixels,
    extent: Extent,
    size: tuple[int, int],
    offset: tuple[int, int],
    crop: int,
    interpolation: Interpolation,
) -> Pixels:
    """Return what :func:`resample` does, computed by Pillow and NumPy."""
    left, top = offset
    if interpolation == "cv2-linear":
        return _cv2_linear(image, size, offset, crop)
    method = _PILLOW[interpolation]
    height = image.shape[0]
    # One side at a time, so that no version of Pillow chooses the order.
    rows = Image.fromarray(image).resize(
        (size[0], height), method, (extent.left, 0, extent.right, height)
    )
    rows = rows.crop((left, 0, left + crop, height))
    resized = rows.resize((crop, size[1]), method, (0, extent.top, crop, extent.bottom))
    return np.asarray(resized.crop((0, top, crop, top + crop)))


Pixels = npt.NDArray[np.uint8]
Sums = npt.NDArray[np.int32]

_CV2_ONE = 1 << 11
"""OpenCV's fixed-point one: weights of 8-bit bilinear resizing have eleven fractional bits."""


def _cv2_linear(image: Pixels, size: tuple[int, int], offset: tuple[int, int], crop: int) -> Pixels:
    """Crop what ``cv2.resize(image, size, interpolation=cv2.INTER_LINEAR)`` gives, in its integers.

    Only what the crop needs is computed. 32 bits suffice for eight bits times two weights.
    """
    x0, x1, wx0, wx1 = _cv2_taps(image.shape[1], size[0], offset[0], crop, snap=True)
    # Rows beyond the edge are repeated, not snapped to: two truncations instead of one.
    y0, y1, wy0, wy1 = _cv2_taps(image.shape[0], size[1], offset[1], crop, snap=False)
    needed, places = np.unique(np.concatenate([y0, y1]), return_inverse=True)
    source = image[needed]
    # One weight per number of a row, because vectors of three are slow.
    rows = source.take(x0, axis=1).reshape(len(needed), -1) * np.repeat(wx0, 3)
    rows += source.take(x1, axis=1).reshape(len(needed), -1) * np.repeat(wx1, 3)
    rows >>= 4
    blend: Sums = _cv2_weighted(rows.take(places[:crop], axis=0), wy0)
    blend += _cv2_weighted(rows.take(places[crop:], axis=0), wy1)
    blend += 2
    blend >>= 2
    pixels: Pixels = blend.astype(np.uint8).reshape(crop, crop, 3)
    return pixels


def _cv2_weighted(rows: Sums, weights: Sums) -> Sums:
    """Weigh rows in place, because new memory takes as long as the arithmetic."""
    rows *= weights[:, None]
    rows >>= 16
    return rows


def _cv2_taps(
    source: int, target: int, start: int, count: int, *, snap: bool
) -> tuple[npt.NDArray[Any], ...]:
    """Return both neighbours of target pixels from ``start`` on and their weights, ``int32``.

    With ``snap`` the nearer neighbour gets the whole weight if the other is beyond the edge.
    """
    places = np.arange(start, start + count)
    centre = ((places + 0.5) * (source / target) - 0.5).astype(np.float32)
    below = np.floor(centre).astype(np.intp)
    fraction = centre - below.astype(np.float32)
    if snap:
        fraction[(below < 0) | (below >= source - 1)] = 0
    upper = np.rint(fraction * _CV2_ONE).astype(np.int32)
    lower = np.rint((np.float32(1) - fraction) * _CV2_ONE).astype(np.int32)
    return below.clip(0, source - 1), (below + 1).clip(0, source - 1), lower, upper
