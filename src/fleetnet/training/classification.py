"""The tasks for images with one class each, and with any number of classes."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from torch import Tensor

from fleetnet.bundle import Activation
from fleetnet.data.mix import Mix
from fleetnet.training.losses import build_loss
from fleetnet.training.recipe import AugmentSettings
from fleetnet.training.task import BatchLoss, Forward, Task, TaskSetup
from fleetnet.training.validation import (
    Logits,
    Validation,
    validate_multi_label,
    validate_single_label,
)


class Classification:
    """Images with one class each, mixed with each other if the recipe says so."""

    activation: Activation = "softmax"
    _multi_label = False

    def __init__(self, setup: TaskSetup) -> None:
        self.classes = setup.classes
        self.criterion = build_loss(
            setup.recipe.loss, setup.counts, multi_label=self._multi_label, device=setup.device
        )
        self._mix = _build_mix(setup.recipe.augment, len(setup.classes))

    def loss(
        self, forward: Forward, pixels: Tensor, labels: Tensor, rng: np.random.Generator
    ) -> BatchLoss:
        """Compute the recipe's loss; mixed images have mixed targets, and hits are of their own."""
        pixels, targets = self.mixed(pixels, labels, rng)
        logits = forward(pixels)
        return BatchLoss(self.criterion(logits, targets), self.hits(logits, labels))

    def mixed(
        self, pixels: Tensor, labels: Tensor, rng: np.random.Generator
    ) -> tuple[Tensor, Tensor]:
        """Return pixels and targets after mixup or CutMix; unchanged if both are off."""
        return (pixels, labels) if self._mix is None else self._mix(pixels, labels, rng)

    def hits(self, logits: Tensor, labels: Tensor) -> Tensor:
        """Return ``int64[]``: for how many images the most probable class is right."""
        return (logits.detach().argmax(1) == labels).sum()

    def validate(self, logits: Logits, labels: npt.NDArray[np.generic]) -> Validation:
        """Measure top-1, top-5 and related figures."""
        return validate_single_label(logits, labels, self.classes)


class MultiLabelClassification(Classification):
    """Images with any number of classes, each of which is answered independently."""

    activation = "sigmoid"
    _multi_label = True

    def hits(self, logits: Tensor, labels: Tensor) -> Tensor:
        """Return ``int64[]``: for how many images the most probable class is one of theirs."""
        best = logits.detach().argmax(1)
        return labels.gather(1, best[:, None]).sum().long()

    def validate(self, logits: Logits, labels: npt.NDArray[np.generic]) -> Validation:
        """Measure mean average precision, top-1, top-5 and related figures."""
        return validate_multi_label(logits, labels, self.classes)


def classification(setup: TaskSetup) -> Task:
    """Return the default task for this kind of data."""
    return (MultiLabelClassification if setup.multi_label else Classification)(setup)


def _build_mix(settings: AugmentSettings, classes: int) -> Mix | None:
    if not (settings.mixup or settings.cutmix):
        return None
    return Mix(settings.mixup, settings.cutmix, settings.mix_probability, classes)
