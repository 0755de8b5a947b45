"""A picture's input by the package's reference: geometry in Python, resizing by Pillow and NumPy.

This runs if there was no compiler. Otherwise, the C core is compared with it.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from fleetnet import geometry, resampling
from fleetnet.geometry import Extent
from fleetnet.images import OpenImage
from fleetnet.preprocess import Preprocess


def reference_input(
    data: bytes, preprocess: Preprocess, *, exact: bool = True
) -> npt.NDArray[np.uint8]:
    """Return what :meth:`fleetnet.preprocess.Preprocess.from_bytes` does, without the C core.

    Args:
        data: an image file's content; the ratio of its sides is at most 1:100.
        preprocess: the settings.
        exact: as there.

    Raises:
        ImageError: it cannot be decoded.
    """
    image = OpenImage(data, preprocess.sample_bits)
    resize, crop, kind = preprocess.resize, preprocess.crop, preprocess.interpolation
    shrink = 1 if exact else geometry.reference_shrink(image.width, image.height, resize, kind)
    pixels = image.decode(shrink)
    extent = Extent.of(pixels)
    if image.format == "JPEG":  # other formats are never decoded smaller
        sides = image.width, image.height
        extent = geometry.reference_extent(*sides, shrink, image.orientation)
    wide, high = extent.right - extent.left, extent.bottom - extent.top
    size, offset = geometry.reference(wide, high, resize, crop, kind)
    return resampling.reference(pixels, extent, size, offset, crop, kind)
