"""Random variation of training images, on ``uint8`` pixels.

Every function takes its randomness from the generator it is handed, so that an image's augmentation
depends on the seed, the epoch and the image alone, whatever the number of workers.
"""

from __future__ import annotations

import math

import numpy as np
from PIL import Image, ImageEnhance

from fleetnet.images import Pixels
from fleetnet.preprocess import Preprocess

_RESAMPLING = {
    "bilinear": Image.Resampling.BILINEAR,
    "bicubic": Image.Resampling.BICUBIC,
    # Training crops mostly enlarge or shrink a little, where the two bilinears hardly differ.
    "cv2-linear": Image.Resampling.BILINEAR,
}


class Augment:
    """Random crop, flips and colour, from ``uint8[H, W, 3]`` to ``uint8[crop, crop, 3]``.

    Args:
        preprocess: gives the size and the interpolation.
        min_scale: smallest share of the image's area that a crop covers (Szegedy et al. 2015
            use 0.08); 1.0 takes the largest crop that fits.
        max_ratio: a crop's longest side over its shortest, at most.
        horizontal_flip: probability of mirroring left and right.
        vertical_flip: probability of mirroring top and bottom.
        color_jitter: brightness, contrast and saturation are each scaled by a factor from
            ``1 - color_jitter`` to ``1 + color_jitter``.
    """

    def __init__(
        self,
        preprocess: Preprocess,
        *,
        min_scale: float = 0.35,
        max_ratio: float = 4 / 3,
        horizontal_flip: float = 0.5,
        vertical_flip: float = 0.0,
        color_jitter: float = 0.0,
    ) -> None:
        self.size = preprocess.crop
        self.resampling = _RESAMPLING[preprocess.interpolation]
        self.min_scale = min_scale
        self.max_ratio = max_ratio
        self.horizontal_flip = horizontal_flip
        self.vertical_flip = vertical_flip
        self.color_jitter = color_jitter

    def __call__(self, pixels: Pixels, rng: np.random.Generator) -> Pixels:
        """Return one random variant of an RGB image."""
        image = Image.fromarray(pixels)
        box = random_crop_box(image.width, image.height, self.min_scale, self.max_ratio, rng)
        image = image.resize((self.size, self.size), self.resampling, box=box)
        if rng.random() < self.horizontal_flip:
            image = image.transpose(Image.Transpose.FLIP_LEFT_RIGHT)
        if rng.random() < self.vertical_flip:
            image = image.transpose(Image.Transpose.FLIP_TOP_BOTTOM)
        if self.color_jitter:
            for enhance in (ImageEnhance.Brightness, ImageEnhance.Contrast, ImageEnhance.Color):
                factor = rng.uniform(1 - self.color_jitter, 1 + self.color_jitter)
                image = enhance(image).enhance(factor)
        return np.asarray(image)


def random_crop_box(
    width: int, height: int, min_scale: float, max_ratio: float, rng: np.random.Generator
) -> tuple[int, int, int, int]:
    """Draw a crop as ``(left, top, right, bottom)`` in whole pixels inside the image.

    Area is uniform from ``min_scale`` to 1 and the ratio of the sides log-uniform up to
    ``max_ratio`` either way (Szegedy et al. 2015); after ten draws that do not fit, the largest
    centred crop within ``max_ratio``.
    """
    for _ in range(10):
        area = width * height * rng.uniform(min_scale, 1.0)
        ratio = math.exp(rng.uniform(-math.log(max_ratio), math.log(max_ratio)))
        crop_width, crop_height = round(math.sqrt(area * ratio)), round(math.sqrt(area / ratio))
        if 0 < crop_width <= width and 0 < crop_height <= height:
            left = int(rng.integers(0, width - crop_width + 1))
            top = int(rng.integers(0, height - crop_height + 1))
            return left, top, left + crop_width, top + crop_height
    crop_width = min(width, max(1, round(height * max_ratio)))
    crop_height = min(height, max(1, round(width * max_ratio)))
    left, top = (width - crop_width) // 2, (height - crop_height) // 2
    return left, top, left + crop_width, top + crop_height
