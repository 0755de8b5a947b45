"""An exponential moving average of the weights."""

from __future__ import annotations

import copy
import itertools

import torch
from torch import Tensor, nn


class MovingAverage:
    """A copy of a network whose weights and buffers are moving averages of the network's.

    The decay grows as ``(1 + updates) / (10 + updates)`` up to ``decay``, as in TensorFlow, so that
    the average of a short run is not dominated by its beginning. Counters, which are integers, are
    copied.

    PyTorch's ``AveragedModel`` does the same, but keeps the number of updates in a tensor, and
    reading it waits for the device twice a step.

    Attributes:
        module: the averaged network.
        updates: how often :meth:`update` was called.
    """

    def __init__(self, network: nn.Module, decay: float) -> None:
        self.module = copy.deepcopy(network)
        self.decay = decay
        self.updates = 0

    @torch.no_grad()
    def update(self, network: nn.Module) -> None:
        """Move the average towards ``network``; the first update copies it."""
        decay = min(self.decay, (1 + self.updates) / (10 + self.updates)) if self.updates else 0.0
        self.updates += 1
        floating: tuple[list[Tensor], list[Tensor]] = ([], [])
        for mine, theirs in zip(_tensors(self.module), _tensors(network), strict=True):
            if mine.is_floating_point() and decay:
                floating[0].append(mine)
                floating[1].append(theirs)
            else:
                mine.copy_(theirs)
        if decay:
            torch._foreach_lerp_(*floating, 1 - decay)


def _tensors(network: nn.Module) -> list[Tensor]:
    return [tensor.detach() for tensor in itertools.chain(network.parameters(), network.buffers())]
