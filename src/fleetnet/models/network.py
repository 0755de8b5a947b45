"""A chain of inverted residuals: stem, blocks, head, pool, classifier."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, NamedTuple

import torch
from torch import Tensor, nn

from fleetnet.amounts import count
from fleetnet.errors import ModelError
from fleetnet.models.base import Family, Network, Parts, Stage
from fleetnet.models.chain import Chain
from fleetnet.models.layers import (
    ConvNormAct,
    InvertedResidual,
    LinearNormAct,
    Padding,
    PooledConvAct,
)
from fleetnet.models.names import OWN, Part, Source, own_conv_norm


class BlockSetting(NamedTuple):
    """The numbers of one inverted residual, from a family's unrolled table."""

    in_channels: int
    out_channels: int
    hidden: int
    stride: int
    expand: bool
    squeezed: int
    shortcut: bool
    kernel_size: int = 3
    act: type[nn.Module] | None = None
    """Activation of this block; None for the network's, see :class:`InvertedResidual`."""
    gate_slope: float = 0.0
    """Of the hard sigmoid in squeeze-excitation, 0 for a smooth one, see there too."""


def narrowed(
    setting: NetworkSetting, hidden: Sequence[int], squeezed: Sequence[int], head: int
) -> NetworkSetting:
    """Return a setting with fewer channels inside the blocks and in the head.

    Args:
        setting: of the wide network.
        hidden: channels between the 1×1 convolutions of every block.
        squeezed: channels inside squeeze-excitation of every block, 0 where there is none.
        head: channels of the last 1×1 convolution.

    Raises:
        ModelError: there are more channels than in the wide network, or none where it has some, or
            the other way round, or numbers for more or fewer blocks than it has.
    """
    if not len(setting.blocks) == len(hidden) == len(squeezed):
        raise ModelError(
            f"the network has {count(len(setting.blocks), 'block')}, but there are channels for "
            f"{len(hidden)} and {len(squeezed)}"
        )
    blocks = []
    for index, (block, wide, inside) in enumerate(
        zip(setting.blocks, hidden, squeezed, strict=True)
    ):
        least = 1 if block.expand else block.hidden
        if not least <= wide <= block.hidden:
            raise ModelError(f"hidden.{index} is {wide}, not from {least} to {block.hidden}")
        if not min(block.squeezed, 1) <= inside <= block.squeezed:
            raise ModelError(
                f"squeezed.{index} is {inside}, not from {min(block.squeezed, 1)} to "
                f"{block.squeezed}"
            )
        blocks.append(block._replace(hidden=wide, squeezed=inside))
    if not 1 <= head <= setting.head:
        raise ModelError(f"head is {head}, not from 1 to {setting.head}")
    return setting._replace(blocks=tuple(blocks), head=head)


NeckForm = Literal["linear-norm", "linear", "conv"]
"""A linear layer with batch norm or without, or as much in the form of a 1×1 convolution."""


class NetworkSetting(NamedTuple):
    """The numbers of a whole network, as a family's pure function computes them."""

    stem: int
    blocks: tuple[BlockSetting, ...]
    head: int
    """Channels of the last 1×1 convolution, which are the width of the embedding."""
    neck: int
    """Channels of a fully connected layer between the pool and the classifier, 0 for none."""
    act: type[nn.Module]
    """Activation of the stem, the expansions and the head."""
    padding: Padding = "symmetric"
    norm_eps: float = 1e-5
    """What batch norm adds to the variance."""
    neck_form: NeckForm = "linear-norm"
    neck_act: type[nn.Module] = nn.ReLU6
    neck_bias: bool = True
    kept: float = 1.0
    """What the inputs of the classifier are multiplied by."""


class MobileNetwork(Chain):
    """A chain of inverted residuals.

    Args:
        setting: the layers to build.
        num_classes: length of the logits.
        in_channels: channels of the images, 3 for RGB.
        dropout: probability of dropping an input of the classifier in training.
        drop_path: stochastic depth of the last block; earlier ones grow linearly to it from 0
            (Huang et al. 2016).
    """

    stem: ConvNormAct
    blocks: nn.Sequential
    head: ConvNormAct

    def __init__(
        self,
        setting: NetworkSetting,
        num_classes: int = 1000,
        *,
        in_channels: int = 3,
        dropout: float = 0.0,
        drop_path: float = 0.0,
    ) -> None:
        padding, norm_eps = setting.padding, setting.norm_eps
        stem = ConvNormAct(
            in_channels,
            setting.stem,
            3,
            stride=2,
            act=setting.act,
            padding=padding,
            norm_eps=norm_eps,
        )
        last = max(len(setting.blocks) - 1, 1)
        blocks = nn.Sequential(
            *(
                InvertedResidual(
                    **block._asdict(),
                    expand_act=setting.act,
                    padding=padding,
                    norm_eps=norm_eps,
                    drop_path=drop_path * index / last,
                )
                for index, block in enumerate(setting.blocks)
            )
        )
        head = ConvNormAct(
            setting.blocks[-1].out_channels, setting.head, act=setting.act, norm_eps=norm_eps
        )
        super().__init__(
            stem,
            blocks,
            num_classes,
            num_features=setting.head,
            head=head,
            neck=_neck(setting) if setting.neck else None,
            neck_width=setting.neck,
            kept=setting.kept,
            dropout=dropout,
        )

    def stages(self) -> tuple[Stage, ...]:
        """Return the stem, each block, the head with the neck, and the classifier."""
        *stages, classifier = super().stages()
        first = [stage for stage in stages if stage.name not in ("head", "neck")]
        return (*first, Stage("head", {"head": self.head, "neck": self.neck}), classifier)


def _neck(setting: NetworkSetting) -> nn.Module:
    channels, act, bias = (setting.head, setting.neck), setting.neck_act, setting.neck_bias
    if setting.neck_form == "conv":
        return PooledConvAct(*channels, act(), bias=bias)
    return LinearNormAct(*channels, act=act, bias=bias, norm=setting.neck_form == "linear-norm")


@dataclass(frozen=True, kw_only=True)
class ChainFamily(Family):
    """A family of chains of inverted residuals.

    Attributes:
        setting: takes a network's arguments and returns its numbers.
    """

    setting: Callable[..., NetworkSetting]


def family(
    build: Callable[..., Network],
    setting: Callable[..., NetworkSetting],
    names: Mapping[Source, Parts],
    lookalikes: Mapping[str, str] | None = None,
) -> ChainFamily:
    """Return the declaration of a family of such chains.

    Args:
        build: makes a network, see :class:`fleetnet.models.base.Family`.
        setting: takes a network's arguments.
        names: the names of its layers, by source.
        lookalikes: see :class:`fleetnet.models.base.Family`.
    """
    return ChainFamily(
        setting=setting,
        build=build,
        names={OWN: lambda **arguments: _own_names(setting(**arguments)), **names},
        widths=lambda **arguments: chain_widths(setting(**arguments)),
        input_layer=MobileNetwork.input_layer,
        classifier_layer=MobileNetwork.classifier_layer,
        lookalikes=lookalikes or {},
    )


def _own_names(setting: NetworkSetting) -> tuple[Part, ...]:
    parts: tuple[Part, ...] = own_conv_norm("stem")
    for index, block in enumerate(setting.blocks):
        name = f"blocks.{index}"
        parts += own_conv_norm(f"{name}.expand") if block.expand else ()
        parts += own_conv_norm(f"{name}.depthwise")
        if block.squeezed:
            parts += _own_excite(f"{name}.se", hard=block.gate_slope > 0)
        parts += own_conv_norm(f"{name}.project")
    parts += own_conv_norm("head")
    if setting.neck and setting.neck_form == "conv":
        parts += (Part("neck.conv", "neck.conv", "conv"),)
    elif setting.neck:
        parts += (Part("neck.linear", "neck.linear", "linear"),)
    if setting.neck and setting.neck_form == "linear-norm":
        parts += (Part("neck.norm", "neck.norm", "norm"),)
    return (*parts, Part("classifier", "classifier", "linear"))


def _own_excite(name: str, *, hard: bool) -> tuple[Part, ...]:
    if hard:
        names = (f"{name}.reduce.conv", f"{name}.expand.conv")
        return tuple(Part(layer, layer, "conv") for layer in names)
    return (*own_conv_norm(f"{name}.reduce"), Part(f"{name}.expand", f"{name}.expand", "conv"))


def chain_widths(setting: NetworkSetting) -> dict[str, int]:
    """Return the output channels of the stem, the blocks and the head, by our names."""
    blocks = {
        f"blocks.{index}.project.conv": block.out_channels
        for index, block in enumerate(setting.blocks)
    }
    return {"stem.conv": setting.stem, "head.conv": setting.head, **blocks}


class Structure(NamedTuple):
    """The size of a network."""

    trainable: int
    """Parameters that train."""
    total: int
    """Parameters that train, and batch norm's running means and variances."""
    macs: int
    """Multiply-adds of the convolutions and linear layers for one image."""


def measure_structure(network: nn.Module, in_channels: int = 3, size: int = 224) -> Structure:
    """Count the parameters and multiply-adds of ``network`` for one ``size``×``size`` image.

    One multiply-add counts as one operation. The network may live on the ``meta`` device, where
    counting costs no arithmetic.
    """
    positions = measure_positions(network, in_channels, size)
    macs = sum(layer.weight.numel() * count for layer, count in positions.items())
    trainable = sum(p.numel() for p in network.parameters() if p.requires_grad)
    running = sum(b.numel() for b in network.buffers() if b.is_floating_point())
    frozen = sum(p.numel() for p in network.parameters() if not p.requires_grad)
    return Structure(trainable, trainable + frozen + running, macs)


_SHAPE_KEPT = (
    nn.BatchNorm2d, nn.Dropout, nn.Hardsigmoid, nn.Hardswish, nn.Identity, nn.ReLU, nn.ReLU6,
    nn.Sigmoid, nn.SiLU,
)  # fmt: skip
"""Modules whose output has the shape of the input, and no multiply-adds that are counted."""


@contextlib.contextmanager
def _passed_over(network: nn.Module) -> Iterator[None]:
    """Let modules that keep the shape give what they get: on "meta" they take most of the time."""
    passed = [
        module
        for module in network.modules()
        if type(module) in _SHAPE_KEPT and "forward" not in vars(module)
    ]
    for module in passed:
        vars(module)["forward"] = _given
    try:
        yield
    finally:
        for module in passed:
            del vars(module)["forward"]


def _given(values: Tensor) -> Tensor:
    return values


def measure_positions(
    network: nn.Module, in_channels: int = 3, size: int = 224
) -> dict[nn.Conv2d | nn.Linear, int]:
    """Count at how many places of one image each layer's weights are used."""
    positions: dict[nn.Conv2d | nn.Linear, int] = {}

    def count(module: nn.Module, _: object, output: Tensor) -> None:
        assert isinstance(module, nn.Conv2d | nn.Linear)  # noqa: S101 - for the type checker
        each = output.numel() // output.shape[0] // module.weight.shape[0]
        positions[module] = positions.get(module, 0) + each

    counted = [m for m in network.modules() if isinstance(m, nn.Conv2d | nn.Linear)]
    handles = [module.register_forward_hook(count) for module in counted]
    was_training = network.training
    device = next(network.parameters()).device
    try:
        with torch.no_grad(), _passed_over(network):
            network.eval()(torch.empty(1, in_channels, size, size, device=device))
    finally:
        network.train(was_training)
        for handle in handles:
            handle.remove()
    return positions
