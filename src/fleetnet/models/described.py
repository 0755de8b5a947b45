"""Networks that a settings file describes, see :mod:`fleetnet.models.description`."""

from __future__ import annotations

from dataclasses import replace

from torch import nn

from fleetnet.errors import ModelError
from fleetnet.models.description import Activation, Description
from fleetnet.models.narrowing import Narrowing
from fleetnet.models.network import (
    BlockSetting,
    ChainFamily,
    MobileNetwork,
    NetworkSetting,
    chain_widths,
    family,
    narrowed,
)
from fleetnet.models.registry import ModelEntry, family_of, find_model

ACTIVATIONS: dict[Activation, type[nn.Module]] = {
    "relu": nn.ReLU,
    "relu6": nn.ReLU6,
    "silu": nn.SiLU,
    "hard-swish": nn.Hardswish,
    "elu": nn.ELU,
    "leaky-relu": nn.LeakyReLU,
}


def described_setting(description: Description | Narrowing) -> NetworkSetting:
    """Unroll a description.

    Raises:
        ModelError: it narrows a network that it does not fit.
    """
    if isinstance(description, Narrowing):
        wide = (
            chain_setting(find_model(description.narrows))
            if description.base is None
            else described_setting(description.base)
        )
        try:
            return narrowed(wide, description.hidden, description.squeezed, description.head)
        except ModelError as error:
            raise ModelError(f"{description.name} narrows {description.narrows}: {error}") from None
    return NetworkSetting(
        description.stem,
        tuple(BlockSetting(**block._asdict()) for block in description.unrolled()),
        description.head,
        neck=0,
        act=ACTIVATIONS[description.activation],
    )


def chain_setting(entry: ModelEntry) -> NetworkSetting:
    """Return the numbers of a network that is a chain of inverted residuals.

    Raises:
        ModelError: it is not.
    """
    its = family_of(entry)
    if not isinstance(its, ChainFamily):
        raise ModelError(
            f"{entry.name} is no chain of inverted residuals, of which alone channels can be taken "
            "away"
        )
    return its.setting(**entry.arguments)


def described(
    num_classes: int = 1000,
    *,
    description: Description | Narrowing,
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


def _widths(description: Description | Narrowing) -> dict[str, int]:
    """Name the hidden channels too, which are all that a narrower network differs in."""
    setting = described_setting(description)
    hidden = {
        f"blocks.{index}.depthwise.conv": block.hidden for index, block in enumerate(setting.blocks)
    }
    return {**chain_widths(setting), **hidden}


FAMILY = replace(family(described, described_setting, {}), widths=_widths)
