"""The one definition of how pixels become a model's input.

A :class:`Preprocess` travels with the model from training to every host. It covers geometry alone:
short side to ``resize``, centre ``crop``, still ``uint8``. Normalisation by ``mean`` and ``std``
happens inside the network's graph (in training, on the training device), from the same object.
"""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass, fields
from typing import Any, Literal, get_args

import numpy as np
import numpy.typing as npt
from PIL import Image

from fleetnet.errors import FleetnetError, ImageError, nearest
from fleetnet.images import Pixels

Interpolation = Literal["bilinear", "bicubic", "cv2-linear"]

IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)
MAX_SIDE = 4096
MAX_ASPECT = 100
"""Beyond this ratio of the sides, resizing the short one would make a gigantic picture."""

_PILLOW = {"bilinear": Image.Resampling.BILINEAR, "bicubic": Image.Resampling.BICUBIC}


@dataclass(frozen=True)
class Preprocess:
    """How an RGB image of any size becomes ``uint8[crop, crop, 3]``, and how that is normalised.

    Attributes:
        resize: length of the short side after resizing, in pixels.
        crop: side of the centred square, in pixels, at most ``resize``.
        interpolation: the arithmetic of resizing, rounding of sizes and offsets included.
            ``bilinear`` and ``bicubic`` are Pillow's, antialiased, with the long side rounded
            down and the crop's offset rounded to nearest, as torchvision and timm do;
            ``cv2-linear`` is OpenCV's fixed-point bilinear, not antialiased, with the long side
            rounded to nearest and the offset down, as PaddleClas does.
        mean: subtracted from each channel of pixels scaled to 0…1, in the order R, G, B.
        std: divides each channel after that.

    Raises:
        FleetnetError: a value that no host could honour.
    """

    resize: int = 256
    crop: int = 224
    interpolation: Interpolation = "bilinear"
    mean: tuple[float, float, float] = IMAGENET_MEAN
    std: tuple[float, float, float] = IMAGENET_STD

    def __post_init__(self) -> None:
        """Check every field, and make sequences tuples so that equal settings compare equal."""
        for name in ("resize", "crop"):
            value = getattr(self, name)
            if type(value) is not int or not 1 <= value <= MAX_SIDE:
                raise FleetnetError(
                    f"preprocess.{name} is {value!r}; it must be a whole number from 1 to "
                    f"{MAX_SIDE}"
                )
        if self.crop > self.resize:
            raise FleetnetError(
                f"preprocess.crop ({self.crop}) is larger than preprocess.resize ({self.resize})"
            )
        known = get_args(Interpolation)
        if self.interpolation not in known:
            raise FleetnetError(
                f"preprocess.interpolation is {self.interpolation!r}; it must be one of "
                f"{', '.join(known)}"
            )
        for name in ("mean", "std"):
            object.__setattr__(self, name, _three_numbers(name, getattr(self, name)))
        if min(self.std) <= 0:
            raise FleetnetError(f"preprocess.std is {self.std}; its entries must be above 0")

    def __call__(self, image: Pixels) -> Pixels:
        """Resize and crop ``uint8[H, W, 3]`` to ``uint8[crop, crop, 3]``.

        Raises:
            ImageError: sides more than 1:100 apart.
        """
        height, width = image.shape[:2]
        if max(height, width) > MAX_ASPECT * min(height, width):
            raise ImageError(f"{width}×{height} is longer than 1:{MAX_ASPECT}")
        if self.interpolation == "cv2-linear":
            return self._apply_cv2(image)
        return self._apply_pillow(image)

    def _apply_pillow(self, image: Pixels) -> Pixels:
        height, width = image.shape[:2]
        short = min(height, width)
        size = (self.resize * width // short, self.resize * height // short)
        resized = Image.fromarray(image)
        if size != (width, height):
            resized = resized.resize(size, _PILLOW[self.interpolation])
        left, top = (round((side - self.crop) / 2) for side in size)
        return np.asarray(resized.crop((left, top, left + self.crop, top + self.crop)))

    def _apply_cv2(self, image: Pixels) -> Pixels:
        height, width = image.shape[:2]
        scale = self.resize / min(height, width)
        new_width, new_height = round(width * scale), round(height * scale)
        if (new_width, new_height) != (width, height):
            image = _cv2_linear(image, new_width, new_height)
        left, top = (new_width - self.crop) // 2, (new_height - self.crop) // 2
        return np.ascontiguousarray(image[top : top + self.crop, left : left + self.crop])

    def normalisation(self) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.float32]]:
        """Return ``scale`` and ``shift``, ``float32[3]``: input = pixels * scale + shift."""
        std = np.asarray(self.std, np.float64)
        scale = 1.0 / (255.0 * std)
        shift = -np.asarray(self.mean, np.float64) / std
        return scale.astype(np.float32), shift.astype(np.float32)

    def to_json(self) -> dict[str, Any]:
        """Return the fields as JSON values."""
        return {key: list(v) if isinstance(v, tuple) else v for key, v in asdict(self).items()}

    @classmethod
    def from_json(cls, values: dict[str, Any]) -> Preprocess:
        """Build one from JSON values.

        Raises:
            FleetnetError: a field is missing, unknown or out of range: a host that cannot honour a
                field refuses it rather than approximate it silently.
        """
        known = [field.name for field in fields(cls)]
        for key in values:
            if key not in known:
                raise FleetnetError(f"unknown preprocess field '{key}'{nearest(key, known)}")
        missing = [key for key in known if key not in values]
        if missing:
            raise FleetnetError(f"preprocess lacks {', '.join(missing)}")
        return cls(**values)


def _three_numbers(name: str, value: Any) -> tuple[float, float, float]:
    try:
        first, second, third = (float(entry) for entry in value)
    except (TypeError, ValueError):
        raise FleetnetError(f"preprocess.{name} is {value!r}; it must be three numbers") from None
    if not all(map(math.isfinite, (first, second, third))):
        raise FleetnetError(f"preprocess.{name} is {value!r}; its entries must be finite")
    return first, second, third


_CV2_ONE = 1 << 11
"""OpenCV's fixed-point one: weights of 8-bit bilinear resizing have eleven fractional bits."""


def _cv2_linear(image: Pixels, width: int, height: int) -> Pixels:
    """Resize as ``cv2.resize(..., interpolation=cv2.INTER_LINEAR)`` does, in its integers."""
    x0, x1, wx0, wx1 = _cv2_taps(image.shape[1], width, snap=True)
    # Rows beyond the edge are repeated, not snapped to: two truncations instead of one.
    y0, y1, wy0, wy1 = _cv2_taps(image.shape[0], height, snap=False)
    source = image.astype(np.intp)
    rows = source[:, x0] * wx0[:, None] + source[:, x1] * wx1[:, None]
    rows >>= 4
    upper = rows[y0] * wy0[:, None, None] >> 16
    lower = rows[y1] * wy1[:, None, None] >> 16
    return ((upper + lower + 2) >> 2).clip(0, 255).astype(np.uint8)


def _cv2_taps(source: int, target: int, *, snap: bool) -> tuple[npt.NDArray[np.intp], ...]:
    """Return both neighbours of each target pixel and their integer weights.

    With ``snap`` the nearer neighbour gets the whole weight where the other is beyond the edge.
    """
    centre = ((np.arange(target) + 0.5) * (source / target) - 0.5).astype(np.float32)
    below = np.floor(centre).astype(np.intp)
    fraction = centre - below.astype(np.float32)
    if snap:
        fraction[(below < 0) | (below >= source - 1)] = 0
    upper = np.rint(fraction * _CV2_ONE).astype(np.intp)
    lower = np.rint((np.float32(1) - fraction) * _CV2_ONE).astype(np.intp)
    return below.clip(0, source - 1), (below + 1).clip(0, source - 1), lower, upper
