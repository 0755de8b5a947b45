"""Mixup and CutMix of the images of a batch, on the training device."""

from __future__ import annotations

import math

import numpy as np
import torch
from torch import Tensor


class Mix:
    """Mixup (Zhang et al. 2018) and CutMix (Yun et al. 2019).

    With both on, each batch gets one of them, equally often. The partner of an image is the one at
    the same place from the other end of the batch, a random one because training shuffles.

    Args:
        mixup: parameter of the Beta distribution that mixup's share is drawn from; 0 is off.
        cutmix: the same for CutMix.
        probability: share of the batches that are mixed.
        classes: number of classes.
    """

    def __init__(self, mixup: float, cutmix: float, probability: float, classes: int) -> None:
        self.mixup = mixup
        self.cutmix = cutmix
        self.probability = probability
        self.classes = classes

    def __call__(
        self, pixels: Tensor, targets: Tensor, rng: np.random.Generator
    ) -> tuple[Tensor, Tensor]:
        """Return mixed pixels and targets.

        Args:
            pixels: ``[N, H, W, 3]``, floating, normalised or not, on any device; changed in place.
                The loader's bytes have this layout, and it becomes ``channels_last`` without a
                copy. ``uint8`` is possible too, and is rounded.
            targets: ``int64[N]``, or ``float32[N, K]`` for multi-label data.
            rng: draws on the CPU, so that nothing waits for a device.

        Returns:
            The pixels, and ``float32[N, K]`` targets, whose rows have the same sums as before.
        """
        targets = self._as_shares(targets)
        if not (self.mixup or self.cutmix) or rng.random() >= self.probability:
            return pixels, targets
        cut = bool(self.cutmix) and (not self.mixup or rng.random() < 0.5)
        if cut:
            share = self._cut(pixels, rng)
        else:
            share = float(rng.beta(self.mixup, self.mixup))
            pixels = _blend(pixels, share)
        return pixels, torch.lerp(targets.flip(0), targets, share)

    def _as_shares(self, targets: Tensor) -> Tensor:
        if targets.ndim == 2:
            return targets.float()
        return torch.nn.functional.one_hot(targets, self.classes).float()

    def _cut(self, pixels: Tensor, rng: np.random.Generator) -> float:
        """Paste a box of each image's partner, and return the share of its own that is left."""
        height, width = pixels.shape[1:3]
        share = float(rng.beta(self.cutmix, self.cutmix))
        left, top, right, bottom = cut_box(width, height, share, rng)
        box = pixels[:, top:bottom, left:right]
        box.copy_(box.flip(0))
        return 1 - (right - left) * (bottom - top) / (width * height)


def each_alone(mixup: float, cutmix: float, classes: int) -> list[tuple[str, Mix]]:
    """Return mixup and CutMix by themselves, where they are on, each with its name for people.

    Args:
        mixup: as in :class:`Mix`.
        cutmix: likewise.
        classes: likewise.
    """
    mixes = []
    if mixup:
        mixes.append((f"mixup {mixup:g}", Mix(mixup, 0, 1, classes)))
    if cutmix:
        mixes.append((f"CutMix {cutmix:g}", Mix(0, cutmix, 1, classes)))
    return mixes


def cut_box(
    width: int, height: int, share: float, rng: np.random.Generator
) -> tuple[int, int, int, int]:
    """Draw left, top, right and bottom of a box that would leave ``share`` of the image.

    Its centre is uniform and it ends at the image's edge, so it may leave more.
    """
    cut_width, cut_height = (round(side * math.sqrt(1 - share)) for side in (width, height))
    left = int(rng.integers(width)) - cut_width // 2
    top = int(rng.integers(height)) - cut_height // 2
    return (
        max(left, 0),
        max(top, 0),
        min(left + cut_width, width),
        min(top + cut_height, height),
    )


def _blend(pixels: Tensor, share: float) -> Tensor:
    if pixels.is_floating_point():
        return pixels.lerp_(pixels.flip(0), 1 - share)
    own = pixels.float()
    return pixels.copy_(own.lerp_(own.flip(0), 1 - share).round_())
