"""Training the classifier first and the layers below it later, or never."""

from __future__ import annotations

from torch import nn

from fleetnet.models.network import Network
from fleetnet.training.optimizers import layers
from fleetnet.training.recipe import FreezeSettings


def frozen_layers(settings: FreezeSettings, epoch: int, count: int) -> int:
    """Return how many of ``count`` layers, from the image on, are frozen in ``epoch``, from 1.

    The last layer, the classifier, never is. After ``backbone_epochs`` everything trains, or with
    ``block_epochs`` one more layer from the end for each such period (Howard and Ruder 2018).
    """
    if epoch <= settings.backbone_epochs:
        return count - 1
    if not settings.block_epochs:
        return 0
    periods = (epoch - settings.backbone_epochs - 1) // settings.block_epochs + 1
    return max(0, count - 1 - periods)


def freeze(network: Network, settings: FreezeSettings, epoch: int) -> list[nn.Module]:
    """Let the layers of ``epoch`` train and no others, and put the network in training mode.

    Frozen layers are in evaluation mode, so that their batch norm keeps its running statistics.

    Returns:
        The layers that are frozen.
    """
    parts = layers(network)
    frozen = frozen_layers(settings, epoch, len(parts))
    network.train()
    for number, part in enumerate(parts):
        for parameter in part.parameters():
            parameter.requires_grad_(number >= frozen)
        if number < frozen:
            part.eval()
    return parts[:frozen]
