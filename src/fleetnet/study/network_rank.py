"""How much of its channels an untrained network uses on real images."""

from __future__ import annotations

import torch
from torch import Tensor

from fleetnet.models.network import MobileNetwork
from fleetnet.study.ranks import numerical_ranks


def network_rank(network: MobileNetwork, images: Tensor, threshold: float) -> float:
    """Return the mean over the blocks of the rank of their outputs, divided by their channels.

    Each output is a matrix with a row for each channel and a column for each place of each image.
    Batch norm uses the images' own mean and variance, as in the first step of a training.

    Args:
        network: freshly initialised, without dropout; its running means change.
        images: normalised, ``float32[N, 3, H, W]``, with more places than channels in every block.
        threshold: of the numerical rank.
    """
    shares = []
    with torch.no_grad():
        values = network.train().stem(images)
        for block in network.blocks:
            values = block(values)
            matrix = values.transpose(0, 1).flatten(1)
            shares.append(int(numerical_ranks(matrix[None], [threshold])) / len(matrix))
    return sum(shares) / len(shares)
