"""Networks that a settings file describes, see :mod:`fleetnet.models.description`."""

from __future__ import annotations

from torch import nn

from fleetnet.models.description import Activation, Description
from fleetnet.models.network import BlockSetting, MobileNetwork, NetworkSetting, family

ACTIVATIONS: dict[Activation, type[nn.Module]] = {
    "relu": nn.ReLU,
    "relu6": nn.ReLU6,
    "silu": nn.SiLU,
    "hard-swish": nn.Hardswish,
    "elu": nn.ELU,
    "leaky-relu": nn.LeakyReLU,
}


def described_setting(description: Description) -> NetworkSetting:
    """Unroll a description."""
    return NetworkSetting(
        description.stem,
        tuple(BlockSetting(**block._asdict()) for block in description.unrolled()),
        description.head,
        neck=0,
        act=ACTIVATIONS[description.activation],
    )


def described(
    num_classes: int = 1000,
    *,
    description: Description,
    in_channels: int = 3,
    dropout: float | None = None,
    drop_path: float = 0.0,
) -> MobileNetwork:
    """Build a described network; see :class:`MobileNetwork`."""
    return MobileNetwork(
        described_setting(description),
        num_classes,
        in_channels=in_channels,
        dropout=description.dropout if dropout is None else dropout,
        drop_path=drop_path,
    )


FAMILY = family(described, described_setting, {})
