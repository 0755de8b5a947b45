"""Augmentation policies: RandAugment, TrivialAugment and AutoAugment.

The operations are Pillow's (``ImageOps``, ``ImageEnhance``, ``transform``), which the authors of
the three papers used: they work on ``uint8``, are well maintained and are a dependency already.
torchvision's wheel does not import with every build of PyTorch, albumentations is no longer
maintained, and its successor is under the AGPL.

A higher magnitude always has a stronger effect. Rotation and shear are about the centre, and pixels
from outside the image have the colour ``fill``.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from PIL import Image, ImageEnhance, ImageOps

PolicyName = Literal["none", "randaugment", "trivialaugment", "autoaugment"]
Policy = Callable[[Image.Image, np.random.Generator], Image.Image]
Color = tuple[int, int, int]

MAX_MAGNITUDE = 10.0
_BILINEAR = Image.Resampling.BILINEAR


def _affine(
    image: Image.Image, fill: Color, coefficients: tuple[float, float, float, float, float, float]
) -> Image.Image:
    return image.transform(
        image.size, Image.Transform.AFFINE, coefficients, _BILINEAR, fillcolor=fill
    )


def _shear_x(image: Image.Image, amount: float, fill: Color) -> Image.Image:
    return _affine(image, fill, (1, amount, -amount * image.height / 2, 0, 1, 0))


def _shear_y(image: Image.Image, amount: float, fill: Color) -> Image.Image:
    return _affine(image, fill, (1, 0, 0, amount, 1, -amount * image.width / 2))


def _translate_x(image: Image.Image, share: float, fill: Color) -> Image.Image:
    return _affine(image, fill, (1, 0, share * image.width, 0, 1, 0))


def _translate_y(image: Image.Image, share: float, fill: Color) -> Image.Image:
    return _affine(image, fill, (1, 0, 0, 0, 1, share * image.height))


def _translate_x_pixels(image: Image.Image, pixels: float, fill: Color) -> Image.Image:
    return _affine(image, fill, (1, 0, pixels, 0, 1, 0))


def _translate_y_pixels(image: Image.Image, pixels: float, fill: Color) -> Image.Image:
    return _affine(image, fill, (1, 0, 0, 0, 1, pixels))


def _rotate(image: Image.Image, degrees: float, fill: Color) -> Image.Image:
    return image.rotate(degrees, _BILINEAR, fillcolor=fill)


OPERATIONS: dict[str, Callable[[Image.Image, float, Color], Image.Image]] = {
    "identity": lambda image, _amount, _fill: image,
    "autocontrast": lambda image, _amount, _fill: ImageOps.autocontrast(image),
    "equalize": lambda image, _amount, _fill: ImageOps.equalize(image),
    "invert": lambda image, _amount, _fill: ImageOps.invert(image),
    "posterize": lambda image, bits, _fill: ImageOps.posterize(image, int(bits)),
    "solarize": lambda image, threshold, _fill: ImageOps.solarize(image, int(threshold)),
    "brightness": lambda image, factor, _fill: ImageEnhance.Brightness(image).enhance(factor),
    "contrast": lambda image, factor, _fill: ImageEnhance.Contrast(image).enhance(factor),
    "color": lambda image, factor, _fill: ImageEnhance.Color(image).enhance(factor),
    "sharpness": lambda image, factor, _fill: ImageEnhance.Sharpness(image).enhance(factor),
    "rotate": _rotate,
    "shear_x": _shear_x,
    "shear_y": _shear_y,
    "translate_x": _translate_x,
    "translate_y": _translate_y,
    "translate_x_pixels": _translate_x_pixels,
    "translate_y_pixels": _translate_y_pixels,
}
"""Each takes the image, one argument in its own unit, and the colour of pixels from outside."""


@dataclass(frozen=True)
class Range:
    """The argument of an operation, from the weakest to the strongest.

    Attributes:
        weak: at strength 0.
        strong: at strength 1.
        signed: whether the amount has a random sign and is added to ``centre``.
        centre: to which a signed amount is added.
        whole: round to a whole number.
    """

    weak: float
    strong: float
    signed: bool = False
    centre: float = 0.0
    whole: bool = False

    def amount(self, strength: float) -> float:
        """Return the argument for a strength from 0 to 1, its sign positive."""
        amount = self.weak + (self.strong - self.weak) * strength
        return float(round(amount)) if self.whole else amount

    def draw(self, strength: float, rng: np.random.Generator) -> float:
        """Return the argument for a strength from 0 to 1, with a random sign if it has one."""
        amount = self.amount(strength)
        if not self.signed:
            return amount
        return self.centre + (amount if rng.random() < 0.5 else -amount)


_NOTHING = Range(0, 0)


def _space(
    *, rotate: float, shear: float, enhance: float, posterize: float, solarize: float
) -> dict[str, Range]:
    """Return the operations that RandAugment and TrivialAugment share, except translation."""
    factor = Range(0, enhance, signed=True, centre=1)
    return {
        "identity": _NOTHING,
        "autocontrast": _NOTHING,
        "equalize": _NOTHING,
        "rotate": Range(0, rotate, signed=True),
        "solarize": Range(solarize, 0, whole=True),
        "posterize": Range(8, posterize, whole=True),
        "brightness": factor,
        "contrast": factor,
        "color": factor,
        "sharpness": factor,
        "shear_x": Range(0, shear, signed=True),
        "shear_y": Range(0, shear, signed=True),
    }


RANDAUGMENT = _space(rotate=30, shear=0.3, enhance=0.9, posterize=4, solarize=256) | {
    "translate_x": Range(0, 0.45, signed=True),
    "translate_y": Range(0, 0.45, signed=True),
}
TRIVIALAUGMENT_WIDE = _space(rotate=135, shear=0.99, enhance=0.99, posterize=2, solarize=255) | {
    "translate_x_pixels": Range(0, 32, signed=True),
    "translate_y_pixels": Range(0, 32, signed=True),
}
TRIVIALAUGMENT_STRENGTHS = 31

AUTOAUGMENT = {
    "autocontrast": _NOTHING,
    "equalize": _NOTHING,
    "invert": _NOTHING,
    "rotate": Range(0, 30, signed=True),
    "posterize": Range(8, 4, whole=True),
    "solarize": Range(256, 0, whole=True),
    "color": Range(0.1, 1.9),
    "contrast": Range(0.1, 1.9),
    "sharpness": Range(0.1, 1.9),
    "shear_x": Range(0, 0.3, signed=True),
}

Step = tuple[str, float, float]
"""An operation, the probability that it is applied, and its magnitude from 0 to 10."""

IMAGENET_POLICY: tuple[tuple[Step, Step], ...] = (
    (("posterize", 0.4, 8), ("rotate", 0.6, 9)),
    (("solarize", 0.6, 5), ("autocontrast", 0.6, 5)),
    (("equalize", 0.8, 8), ("equalize", 0.6, 3)),
    (("posterize", 0.6, 7), ("posterize", 0.6, 6)),
    (("equalize", 0.4, 7), ("solarize", 0.2, 4)),
    (("equalize", 0.4, 4), ("rotate", 0.8, 8)),
    (("solarize", 0.6, 3), ("equalize", 0.6, 7)),
    (("posterize", 0.8, 5), ("equalize", 1.0, 2)),
    (("rotate", 0.2, 3), ("solarize", 0.6, 8)),
    (("equalize", 0.6, 8), ("posterize", 0.4, 6)),
    (("rotate", 0.8, 8), ("color", 0.4, 0)),
    (("rotate", 0.4, 9), ("equalize", 0.6, 2)),
    (("equalize", 0.0, 7), ("equalize", 0.8, 8)),
    (("invert", 0.6, 4), ("equalize", 1.0, 8)),
    (("color", 0.6, 4), ("contrast", 1.0, 8)),
    (("rotate", 0.8, 8), ("color", 1.0, 2)),
    (("color", 0.8, 8), ("solarize", 0.8, 7)),
    (("sharpness", 0.4, 7), ("invert", 0.6, 8)),
    (("shear_x", 0.6, 5), ("equalize", 1.0, 9)),
    (("color", 0.4, 0), ("equalize", 0.6, 3)),
    (("equalize", 0.4, 7), ("solarize", 0.2, 4)),
    (("solarize", 0.6, 5), ("autocontrast", 0.6, 5)),
    (("invert", 0.6, 4), ("equalize", 1.0, 8)),
    (("color", 0.6, 4), ("contrast", 1.0, 8)),
    (("equalize", 0.8, 8), ("equalize", 0.6, 3)),
)
"""The sub-policies found for ImageNet (Cubuk et al. 2019, appendix)."""


@dataclass(frozen=True)
class RandAugment:
    """``operations`` operations drawn with replacement, of one magnitude (Cubuk et al. 2020)."""

    operations: int
    magnitude: float
    magnitude_std: float
    fill: Color

    def __call__(self, image: Image.Image, rng: np.random.Generator) -> Image.Image:
        """Return one random variant."""
        for _ in range(self.operations):
            name = _pick(list(RANDAUGMENT), rng)
            magnitude = rng.normal(self.magnitude, self.magnitude_std)
            strength = min(max(magnitude / MAX_MAGNITUDE, 0.0), 1.0)
            image = OPERATIONS[name](image, RANDAUGMENT[name].draw(strength, rng), self.fill)
        return image


@dataclass(frozen=True)
class TrivialAugment:
    """One operation of one of 31 strengths, both uniform (Müller and Hutter 2021, wide)."""

    fill: Color

    def __call__(self, image: Image.Image, rng: np.random.Generator) -> Image.Image:
        """Return one random variant."""
        name = _pick(list(TRIVIALAUGMENT_WIDE), rng)
        strength = int(rng.integers(TRIVIALAUGMENT_STRENGTHS)) / (TRIVIALAUGMENT_STRENGTHS - 1)
        return OPERATIONS[name](image, TRIVIALAUGMENT_WIDE[name].draw(strength, rng), self.fill)


@dataclass(frozen=True)
class AutoAugment:
    """One of the 25 pairs of steps found for ImageNet (Cubuk et al. 2019)."""

    fill: Color

    def __call__(self, image: Image.Image, rng: np.random.Generator) -> Image.Image:
        """Return one random variant."""
        for name, probability, magnitude in IMAGENET_POLICY[rng.integers(len(IMAGENET_POLICY))]:
            if rng.random() < probability:
                amount = AUTOAUGMENT[name].draw(magnitude / MAX_MAGNITUDE, rng)
                image = OPERATIONS[name](image, amount, self.fill)
        return image


def make_policy(
    name: PolicyName, *, operations: int, magnitude: float, magnitude_std: float, fill: Color
) -> Policy | None:
    """Return the policy called ``name``, or None for ``none``.

    Args:
        name: which.
        operations: how many operations RandAugment applies; the others have no such setting.
        magnitude: of RandAugment's operations, from 0 to 10.
        magnitude_std: standard deviation of that magnitude; values outside the range are clipped.
        fill: colour of pixels from outside the image.
    """
    if name == "randaugment":
        return RandAugment(operations, magnitude, magnitude_std, fill)
    if name == "trivialaugment":
        return TrivialAugment(fill)
    return AutoAugment(fill) if name == "autoaugment" else None


def _pick(names: Sequence[str], rng: np.random.Generator) -> str:
    return names[int(rng.integers(len(names)))]
