"""Training the classifier first, and the stages before it later or never."""

from __future__ import annotations

from fleetnet.models.base import Network, Stage
from fleetnet.training.recipe import FreezeSettings


def frozen_stages(settings: FreezeSettings, epoch: int, count: int) -> int:
    """Return how many of ``count`` stages, from the image on, are frozen in ``epoch``, from 1.

    The last stage, the classifier, is never frozen. After ``backbone_epochs`` everything trains;
    with ``block_epochs``, one more stage from the end for each such period (Howard and Ruder 2018).
    """
    if epoch <= settings.backbone_epochs:
        return count - 1
    if not settings.block_epochs:
        return 0
    periods = (epoch - settings.backbone_epochs - 1) // settings.block_epochs + 1
    return max(0, count - 1 - periods)


def freeze(network: Network, settings: FreezeSettings, epoch: int) -> tuple[Stage, ...]:
    """Train only the stages of ``epoch``, and put the network in training mode.

    Frozen stages are in evaluation mode, so that their batch norm keeps its running statistics.

    Returns:
        The stages that are frozen.
    """
    stages = network.stages()
    frozen = frozen_stages(settings, epoch, len(stages))
    network.train()
    for number, stage in enumerate(stages):
        for parameter in stage.parameters():
            parameter.requires_grad_(number >= frozen)
        if number < frozen:
            for module in stage.modules.values():
                module.eval()
    return stages[:frozen]
