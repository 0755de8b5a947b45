"""Figures of steps, which stay on the device until those of many steps are read at once."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor

READ_STEPS = 20
"""Losses are read after at most so many steps; NaN is found then."""
READ_SECONDS = 0.25
"""With slow steps, they are read so often for the progress bar."""


class StepOutput(NamedTuple):
    """The figures of one optimiser step, on the device; one entry per batch."""

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
    """The figures of one optimiser step, as numbers."""

    images: int
    loss: float
    """Mean over the images."""
    hits: int
    """How many images have their most probable class among their classes."""
    lr: float


def read_results(outputs: Sequence[StepOutput]) -> list[StepResult]:
    """Wait for the device once, and read the figures of all these steps."""
    if not outputs:
        return []
    losses = iter(_numbers([loss for output in outputs for loss in output.losses]))
    hits = iter(_numbers([count for output in outputs for count in output.hits]))
    results = []
    for output in outputs:
        images, loss_sum, right = sum(output.images), 0.0, 0
        for count in output.images:
            # Added in double precision and in this order, so that the time of reading does not
            # matter.
            loss_sum += next(losses) * count
            right += int(next(hits))
        results.append(StepResult(images, loss_sum / images, right, output.lr))
    return results


def _numbers(scalars: list[Tensor]) -> list[float]:
    numbers: list[float] = torch.stack(scalars).cpu().tolist()
    return numbers
