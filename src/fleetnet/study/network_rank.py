"""How much of its channels an untrained network uses on real images."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from fleetnet.models.base import Composed, Network
from fleetnet.study.ranks import numerical_ranks


def network_rank(network: Network, images: Tensor, threshold: float) -> float:
    """Return the mean over the blocks of the rank of their outputs, divided by their channels.

    Each output is a matrix with a row for each channel and a column for each place of each image.
    Batch norm uses the images' own mean and variance, as in the first step of a training.

    Args:
        network: freshly initialised, without dropout; its running means change.
        images: normalised, ``float32[N, 3, H, W]``, with more places than channels in every block.
        threshold: of the numerical rank.
    """
    shares: list[float] = []

    def measure(_block: nn.Module, _inputs: object, values: Tensor) -> None:
        matrix = values.transpose(0, 1).flatten(1)
        shares.append(int(numerical_ranks(matrix[None], [threshold])) / len(matrix))

    modules = (module for stage in network.stages() for module in stage.modules.values())
    hooks = [
        module.register_forward_hook(measure) for module in modules if isinstance(module, Composed)
    ]
    try:
        with torch.no_grad():
            network.train().forward_features(images)
    finally:
        for hook in hooks:
            hook.remove()
    return sum(shares) / len(shares)
