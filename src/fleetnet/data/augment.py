"""Random variation of training images, on ``uint8`` pixels.

Every function draws from the generator that it is given, so an image's augmentation depends only on
the seed, the epoch and the image, not on the number of workers.
"""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt
from PIL import Image

from fleetnet.data.policies import PolicyName, make_policy
from fleetnet.data.resize import Box, Mode, crop_and_resize
from fleetnet.data.sound_image import open_sound
from fleetnet.geometry import SHRINKS
from fleetnet.images import OpenImage, Pixels
from fleetnet.preprocess import Preprocess

LUMA = np.array([0.299, 0.587, 0.114], np.float32)
"""Weights of red, green and blue in grey (ITU-R BT.601), as in Pillow and JPEG."""

ERASED_AREA = (0.02, 1 / 3)
ERASED_RATIO = 0.3


class Augment:
    """Random crop, flips, turns, policy, colour and erasing, in that order.

    Args:
        preprocess: gives the size, the interpolation and the bits of samples.
        min_scale: smallest share of the image's area that a crop covers (Szegedy et al. 2015
            use 0.08); 1.0 takes the largest crop that fits.
        max_ratio: greatest ratio of a crop's longer side to its shorter.
        horizontal_flip: probability of mirroring left and right.
        vertical_flip: probability of mirroring top and bottom.
        quarter_turns: turn by 0, 90, 180 or 270 degrees, equally often, for pictures without a top,
            such as those taken from above or through a microscope.
        color_jitter: brightness, contrast and saturation are each scaled by a factor from
            ``1 - color_jitter`` to ``1 + color_jitter``.
        policy: one of :mod:`fleetnet.data.policies`, or ``none``.
        operations: how many operations ``randaugment`` applies to an image.
        magnitude: how strong they are, from 0 to 10.
        magnitude_std: standard deviation of the magnitude from operation to operation.
        erase: probability of filling a rectangle with noise.
        scaled_decoding: let libjpeg decode a JPEG at 1/2, 1/4 or 1/8 of its size where the crop
            has that many times the pixels wanted; only for :meth:`from_bytes`.
    """

    def __init__(
        self,
        preprocess: Preprocess,
        *,
        min_scale: float = 0.35,
        max_ratio: float = 4 / 3,
        horizontal_flip: float = 0.5,
        vertical_flip: float = 0.0,
        quarter_turns: bool = False,
        color_jitter: float = 0.0,
        policy: PolicyName = "none",
        operations: int = 2,
        magnitude: float = 9.0,
        magnitude_std: float = 0.0,
        erase: float = 0.0,
        scaled_decoding: bool = True,
    ) -> None:
        self.size = preprocess.crop
        self.sample_bits = preprocess.sample_bits
        self.min_scale = min_scale
        self.max_ratio = max_ratio
        self.horizontal_flip = horizontal_flip
        self.vertical_flip = vertical_flip
        self.quarter_turns = quarter_turns
        self.color_jitter = color_jitter
        self.erase = erase
        self.scaled_decoding = scaled_decoding
        red, green, blue = (min(max(round(value * 255), 0), 255) for value in preprocess.mean)
        self.policy = make_policy(
            policy,
            operations=operations,
            magnitude=magnitude,
            magnitude_std=magnitude_std,
            fill=(red, green, blue),
        )
        # Antialiased even if inference uses cv2-linear: crops shrink by other factors anyway.
        self._mode: Mode = "bicubic" if preprocess.interpolation == "bicubic" else "bilinear"

    def __call__(self, pixels: Pixels, rng: np.random.Generator) -> Pixels:
        """Return one random variant, ``uint8[crop, crop, 3]``, of RGB ``uint8[H, W, 3]``."""
        height, width = pixels.shape[:2]
        return self._vary(pixels, self._draw_box(width, height, rng), rng)

    def from_bytes(self, data: bytes, rng: np.random.Generator, *, sound: bool = False) -> Pixels:
        """Return one random variant, ``uint8[crop, crop, 3]``, of an encoded image.

        The crop is the one that :meth:`__call__` draws from the same generator.

        Args:
            data: the file's content.
            rng: decides on everything random.
            sound: the file is known not to be damaged: only the crop is decoded, and damage outside
                of it is not looked for. The pixels are the same.

        Raises:
            ImageError: as :func:`fleetnet.images.decode`.
        """
        image = (open_sound if sound else OpenImage)(data, self.sample_bits)
        box = self._draw_box(image.width, image.height, rng)
        shrink = shrink_for(box, self.size) if self.scaled_decoding else 1
        box = scale_box(box, (image.width, image.height), image.size(shrink))
        if isinstance(image, OpenImage) and not sound:
            return self._vary(image.decode(shrink), box, rng)
        pixels = image.decode_part(box, shrink)
        return self._vary(pixels, (0, 0, pixels.shape[1], pixels.shape[0]), rng)

    def _draw_box(self, width: int, height: int, rng: np.random.Generator) -> Box:
        return random_crop_box(width, height, self.min_scale, self.max_ratio, rng)

    def _vary(self, pixels: Pixels, box: Box, rng: np.random.Generator) -> Pixels:
        mirror = rng.random() < self.horizontal_flip
        pixels = crop_and_resize(pixels, box, self.size, self._mode, mirror=mirror)
        if rng.random() < self.vertical_flip:
            pixels = pixels[::-1]
        if self.quarter_turns:
            pixels = np.rot90(pixels, int(rng.integers(4)))
        if self.policy is not None:
            image = Image.fromarray(np.ascontiguousarray(pixels))
            pixels = np.asarray(self.policy(image, rng))
        if self.color_jitter:
            low, high = 1 - self.color_jitter, 1 + self.color_jitter
            brightness, contrast, saturation = rng.uniform(low, high, 3)
            pixels = jitter(pixels, brightness, contrast, saturation)
        if rng.random() < self.erase:
            pixels = erase(pixels, rng)
        return np.ascontiguousarray(pixels)


def random_crop_box(
    width: int, height: int, min_scale: float, max_ratio: float, rng: np.random.Generator
) -> Box:
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


def shrink_for(box: Box, size: int) -> int:
    """Return the greatest factor of decoding smaller that leaves ``box`` ``size`` pixels."""
    left, top, right, bottom = box
    side = min(right - left, bottom - top)
    return next((shrink for shrink in SHRINKS if side >= shrink * size), 1)


def scale_box(box: Box, whole: tuple[int, int], decoded: tuple[int, int]) -> Box:
    """Return ``box`` of an image of size ``whole`` in the pixels that were decoded smaller.

    Edges are rounded to whole pixels; each side is at least one pixel.
    """
    if whole == decoded:
        return box
    left, right = _scale_span(box[0], box[2], whole[0], decoded[0])
    top, bottom = _scale_span(box[1], box[3], whole[1], decoded[1])
    return left, top, right, bottom


def _scale_span(start: int, end: int, whole: int, decoded: int) -> tuple[int, int]:
    first = min(round(start * decoded / whole), decoded - 1)
    return first, min(max(round(end * decoded / whole), first + 1), decoded)


def jitter(pixels: Pixels, brightness: float, contrast: float, saturation: float) -> Pixels:
    """Scale brightness, then contrast about the mean grey, then saturation about each grey.

    The arithmetic of Pillow's ``ImageEnhance`` in a third of its time; it is rounded once at the
    end, where Pillow truncates after each step.
    """
    height, width = pixels.shape[:2]
    values = pixels.astype(np.float32)
    values *= np.float32(brightness)
    np.minimum(values, 255, out=values)
    sums = values.reshape(height, width * 3).sum(0).reshape(width, 3).sum(0)
    values *= np.float32(contrast)
    values += np.float32((1 - contrast) * float(sums @ LUMA) / (height * width))
    np.clip(values, 0, 255, out=values)
    to_grey: npt.NDArray[np.float32] = np.outer(LUMA, np.ones(3)).astype(np.float32)
    mixing = np.float32(saturation) * np.eye(3, dtype=np.float32)
    mixing += np.float32(1 - saturation) * to_grey
    values = values @ mixing
    values += np.float32(0.5)
    np.clip(values, 0, 255, out=values)
    return values.astype(np.uint8)


def erase(pixels: Pixels, rng: np.random.Generator) -> Pixels:
    """Fill a random rectangle with noise (random erasing, Zhong et al. 2020).

    Its area is uniform from 2 % to a third of the image, the ratio of its sides log-uniform from
    0.3 to 1/0.3; after ten draws that do not fit the image stays as it is.
    """
    height, width = pixels.shape[:2]
    for _ in range(10):
        area = height * width * rng.uniform(*ERASED_AREA)
        ratio = math.exp(rng.uniform(math.log(ERASED_RATIO), -math.log(ERASED_RATIO)))
        box_width, box_height = round(math.sqrt(area * ratio)), round(math.sqrt(area / ratio))
        if 0 < box_width < width and 0 < box_height < height:
            left = int(rng.integers(0, width - box_width + 1))
            top = int(rng.integers(0, height - box_height + 1))
            erased = np.array(pixels)
            erased[top : top + box_height, left : left + box_width] = rng.integers(
                0, 256, (box_height, box_width, 3), dtype=np.uint8
            )
            return erased
    return pixels
