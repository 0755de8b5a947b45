"""The one definition of how pixels become a model's input.

A :class:`Preprocess` travels with the model from training to every host. It says which bits of
16-bit samples are taken, and the geometry: short side to ``resize``, centre ``crop``, still
``uint8``. Normalisation by ``mean`` and ``std`` happens inside the network's graph (in training, on
the training device), from the same object.
"""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass, fields
from typing import Any, get_args

import numpy as np
import numpy.typing as npt

from fleetnet.errors import FleetnetError, nearest
from fleetnet.geometry import Extent, Interpolation, geometry, shrink_for
from fleetnet.images import MAX_PIXELS, OpenImage, Pixels
from fleetnet.resampling import resample

__all__ = ["Interpolation", "Preprocess"]

IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)
MAX_SIDE = 4096
_OPTIONAL = ("sample_bits",)
"""Fields that older bundles lack, and that are written only if they are set."""


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
        sample_bits: how many bits of 16-bit samples are used if the image's format does not say,
            8 to 16 (:class:`fleetnet.images.OpenImage`); None for all 16.

    Raises:
        FleetnetError: a value that no host could honour.
    """

    resize: int = 256
    crop: int = 224
    interpolation: Interpolation = "bilinear"
    mean: tuple[float, float, float] = IMAGENET_MEAN
    std: tuple[float, float, float] = IMAGENET_STD
    sample_bits: int | None = None

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
        bits = self.sample_bits
        if bits is not None and (type(bits) is not int or not 8 <= bits <= 16):
            raise FleetnetError(
                f"preprocess.sample_bits is {bits!r}; it must be a whole number from 8 to 16"
            )

    def __call__(self, image: Pixels, extent: Extent | None = None) -> Pixels:
        """Resize and crop ``uint8[H, W, 3]`` to ``uint8[crop, crop, 3]``.

        Args:
            image: RGB, of any size.
            extent: the part of ``image`` that is the picture; None for all of it.

        Raises:
            ImageError: sides more than 1:100 apart.
            ValueError: only a part of the image, with ``cv2-linear``.
        """
        extent = extent or Extent.of(image)
        size, offset = geometry(
            extent.right - extent.left,
            extent.bottom - extent.top,
            self.resize,
            self.crop,
            self.interpolation,
        )
        return resample(image, extent, size, offset, self.crop, self.interpolation)

    def from_bytes(
        self, data: bytes, *, exact: bool = True, max_pixels: int = MAX_PIXELS
    ) -> Pixels:
        """Decode an image file's bytes to ``uint8[crop, crop, 3]``.

        Args:
            data: the file's content.
            exact: False allows a large JPEG to be decoded smaller, which is several times as fast
                and changes pixels by a level or so.
            max_pixels: as for :class:`fleetnet.images.OpenImage`.

        Raises:
            ImageError: it cannot be decoded, or its sides are more than 1:100 apart.
        """
        return self.of_open(OpenImage(data, self.sample_bits, max_pixels=max_pixels), exact=exact)

    def of_open(self, image: OpenImage, *, exact: bool = True) -> Pixels:
        """Decode an image whose header is read to ``uint8[crop, crop, 3]``.

        Args:
            image: opened with :attr:`sample_bits`.
            exact: as for :meth:`from_bytes`.

        Raises:
            ImageError: as :meth:`from_bytes`.
        """
        shrink = 1 if exact else self.shrink_for(image.width, image.height)
        return self(image.decode(shrink), image.extent(shrink))

    def shrink_for(self, width: int, height: int) -> int:
        """Return by how much a JPEG may be decoded smaller with hardly a change of the answer."""
        return shrink_for(width, height, self.resize, self.interpolation)

    def normalisation(self) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.float32]]:
        """Return ``scale`` and ``shift``, ``float32[3]``: input = pixels * scale + shift."""
        std = np.asarray(self.std, np.float64)
        scale = 1.0 / (255.0 * std)
        shift = -np.asarray(self.mean, np.float64) / std
        return scale.astype(np.float32), shift.astype(np.float32)

    def to_json(self) -> dict[str, Any]:
        """Return the fields as JSON values, without those that are optional and not set."""
        return {
            key: list(value) if isinstance(value, tuple) else value
            for key, value in asdict(self).items()
            if key not in _OPTIONAL or value is not None
        }

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
        missing = [key for key in known if key not in values and key not in _OPTIONAL]
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
