"""A moving average of the weights."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel

Tensors = tuple[Tensor, ...] | list[Tensor]


def averaged(network: nn.Module, decay: float) -> AveragedModel | None:
    """Return an exponential moving average of ``network``, its buffers included.

    The decay grows as ``(1 + updates) / (10 + updates)`` up to ``decay``, as TensorFlow's does, so
    that an average over a short run is not mostly of its beginning. None if ``decay`` is 0.
    """
    if decay == 0:
        return None

    def average(old: Tensors, new: Tensors, updates: Tensor | int) -> None:
        count = int(updates)
        if old[0].is_floating_point():
            torch._foreach_lerp_(old, new, 1 - min(decay, (1 + count) / (10 + count)))
        else:
            for mine, theirs in zip(old, new, strict=True):
                mine.copy_(theirs)

    return AveragedModel(network, multi_avg_fn=average, use_buffers=True)
