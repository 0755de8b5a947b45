"""What steps saw: numbers that stay on the device until somebody asks for those of many steps."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor

READ_STEPS = 20
"""A loss is looked at after so many steps at the latest, and one that is no number found then."""
READ_SECONDS = 0.25
"""And where steps take long, so often for a person who watches."""


class StepOutput(NamedTuple):
    """What one optimiser step saw, as the device has it; an entry a batch."""

    images: tuple[int, ...]
    losses: tuple[Tensor, ...]
    """``float32[]`` each, a mean over the batch's images."""
    hits: tuple[Tensor, ...]
    """``int64[]`` each."""
    lr: float

    def result(self) -> StepResult:
        """Wait for the device and return the numbers."""
        return read_results([self])[0]


class StepResult(NamedTuple):
    """What one optimiser step saw, in numbers."""

    images: int
    loss: float
    """Mean over the images."""
    hits: int
    """Images whose most probable class is (one of) theirs."""
    lr: float


def read_results(outputs: Sequence[StepOutput]) -> list[StepResult]:
    """Wait for the device once, for all that the steps left there."""
    if not outputs:
        return []
    losses = iter(_numbers([loss for output in outputs for loss in output.losses]))
    hits = iter(_numbers([count for output in outputs for count in output.hits]))
    results = []
    for output in outputs:
        images, loss_sum, right = sum(output.images), 0.0, 0
        for count in output.images:
            # Added in double precision and in this order, whenever it is that they are read.
            loss_sum += next(losses) * count
            right += int(next(hits))
        results.append(StepResult(images, loss_sum / images, right, output.lr))
    return results


def _numbers(scalars: list[Tensor]) -> list[float]:
    numbers: list[float] = torch.stack(scalars).cpu().tolist()
    return numbers
