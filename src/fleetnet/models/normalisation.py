"""Pixels as networks take them: scaled and shifted, channels first."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor


class Normalisation:
    """The arithmetic of :meth:`fleetnet.preprocess.Preprocess.normalisation`, on a device.

    Args:
        scale: ``float32[3]``, which the pixels are multiplied by.
        shift: ``float32[3]``, which is then added.
        device: where the pixels will be.
    """

    def __init__(
        self,
        scale: npt.NDArray[np.float32],
        shift: npt.NDArray[np.float32],
        device: torch.device | str = "cpu",
    ) -> None:
        self._scale = torch.from_numpy(scale).to(device)
        self._shift = torch.from_numpy(shift).to(device)

    def channels_last(self, pixels: Tensor) -> Tensor:
        """Map ``uint8[N, H, W, 3]`` to ``float32[N, H, W, 3]``."""
        return pixels.float() * self._scale + self._shift

    def __call__(self, pixels: Tensor) -> Tensor:
        """Map ``uint8[N, H, W, 3]`` to ``float32[N, 3, H, W]``, keeping the order in memory."""
        return self.channels_last(pixels).permute(0, 3, 1, 2)
