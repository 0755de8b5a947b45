"""The losses that training minimises."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

import torch
from torch import Tensor
from torch.nn import functional

from fleetnet.training.recipe import LossSettings


class Loss(Protocol):
    """A scalar from logits ``float32[N, K]`` and targets, ``int64[N]`` or ``float32[N, K]``."""

    def __call__(self, logits: Tensor, targets: Tensor) -> Tensor:
        """Return the mean over the batch."""
        ...


class CrossEntropy:
    """Softmax cross-entropy with label smoothing (Szegedy et al. 2016)."""

    def __init__(self, label_smoothing: float, weights: Tensor | None) -> None:
        self.label_smoothing = label_smoothing
        self.weights = weights

    def __call__(self, logits: Tensor, targets: Tensor) -> Tensor:
        """Return the mean over the batch; targets may be classes or probabilities."""
        return functional.cross_entropy(
            logits, targets, self.weights, label_smoothing=self.label_smoothing
        )


class BinaryCrossEntropy:
    """A yes-or-no cross-entropy for every class.

    For images of one class each, smoothed as a softmax's targets are (Wightman et al. 2021, whose
    ResNets train so); for multi-label images each target moves towards one half.
    """

    def __init__(
        self, label_smoothing: float, weights: Tensor | None, *, multi_label: bool
    ) -> None:
        self.label_smoothing = label_smoothing
        self.weights = weights
        self.multi_label = multi_label

    def __call__(self, logits: Tensor, targets: Tensor) -> Tensor:
        """Return the mean over batch and classes."""
        classes = logits.shape[1]
        if not targets.is_floating_point():
            targets = functional.one_hot(targets, classes).to(logits.dtype)
        rest = 0.5 if self.multi_label else 1 / classes
        targets = targets * (1 - self.label_smoothing) + self.label_smoothing * rest
        return functional.binary_cross_entropy_with_logits(logits, targets, self.weights)


def build_loss(
    settings: LossSettings, counts: Sequence[int], *, multi_label: bool, device: torch.device
) -> Loss:
    """Return the recipe's loss; multi-label data always uses the binary one.

    Args:
        settings: of the recipe.
        counts: training images of each class.
        multi_label: whether images have any number of classes.
        device: where the weights of the classes are kept.
    """
    weights = None
    if settings.class_weights == "balanced":
        weights = class_weights(counts).to(device)
    if multi_label or settings.name == "binary":
        return BinaryCrossEntropy(settings.label_smoothing, weights, multi_label=multi_label)
    return CrossEntropy(settings.label_smoothing, weights)


def class_weights(counts: Sequence[int]) -> Tensor:
    """Return ``float32[K]``: the inverse of each class's images, with mean 1 over the images.

    A class without images, which multi-label data may have, counts as if it had one.
    """
    images = torch.tensor(counts, dtype=torch.float32).clamp(min=1)
    return images.sum() / (len(counts) * images)
