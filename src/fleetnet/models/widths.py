"""Which layers of a chain of inverted residuals may become narrower, and how wide it is."""

from __future__ import annotations

from typing import cast

from torch import nn

from fleetnet.models.layers import ConvNormAct, InvertedResidual
from fleetnet.models.narrowing import Narrowing
from fleetnet.models.network import MobileNetwork
from fleetnet.models.registry import ModelEntry


def narrowable(network: MobileNetwork) -> dict[nn.Conv2d, tuple[nn.Module, ...]]:
    """Return the convolutions whose outputs may go, in order.

    Those are inside the blocks, inside squeeze-excitation, and the head: channels between blocks
    are shared by all that a shortcut joins.

    Returns:
        For each of them the layers whose multiply-adds are in proportion to its outputs; a layer
        may be there for several, and then is in proportion to the product.
    """
    found: dict[nn.Conv2d, tuple[nn.Module, ...]] = {}
    for block in _blocks(network):
        gates = _gates(block)
        if isinstance(block.expand, ConvNormAct):
            expansion = block.expand.conv
            found[expansion] = (expansion, block.depthwise.conv, *gates, block.project.conv)
        if gates:
            found[gates[0]] = tuple(gates)
    after = [layer for layer in network.neck.modules() if isinstance(layer, nn.Linear | nn.Conv2d)]
    last = network.head.conv
    found[last] = (last, after[0] if after else network.classifier)
    return found


def narrowing_of(network: MobileNetwork, entry: ModelEntry, name: str) -> Narrowing:
    """Describe how wide a network is.

    Args:
        network: that has lost channels.
        entry: what it was before.
        name: what to call it; the name of what it narrows is put before.
    """
    known = entry.arguments.get("description")
    narrows = known.narrows if isinstance(known, Narrowing) else entry.name
    dropouts = [layer.p for layer in network.modules() if isinstance(layer, nn.Dropout)]
    return Narrowing(
        name=f"{narrows[:50]}-{name}",
        size=entry.size,
        dropout=dropouts[0] if dropouts else 0.0,
        narrows=narrows,
        base=known.base if isinstance(known, Narrowing) else known,
        hidden=tuple(block.project.conv.in_channels for block in _blocks(network)),
        squeezed=tuple(
            next((gate.out_channels for gate in _gates(block)), 0) for block in _blocks(network)
        ),
        head=network.head.conv.out_channels,
    )


def _blocks(network: MobileNetwork) -> list[InvertedResidual]:
    return cast("list[InvertedResidual]", list(network.blocks))


def _gates(block: InvertedResidual) -> list[nn.Conv2d]:
    """Return the convolutions of a block's squeeze-excitation, none if it has none."""
    return [layer for layer in block.se.modules() if isinstance(layer, nn.Conv2d)]
