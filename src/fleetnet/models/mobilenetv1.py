"""MobileNetV1 (Howard et al. 2017, https://arxiv.org/abs/1704.04861), in its two layouts.

``truncated`` is PaddleClas's: channel counts are ``int(channels * width)`` and activations ReLU.
``rounded`` is timm's: channel counts are multiples of 8 and activations ReLU6; one of its networks
has a 1×1 convolution more before the pool. At a width of 1.0 the two differ in nothing that weights
show, so the blocks of the second are numbered within stages, and none is taken for the other.
"""

from __future__ import annotations

from typing import Any, Literal, NamedTuple

from torch import nn

from fleetnet.models.base import Family
from fleetnet.models.chain import Chain
from fleetnet.models.layers import ConvNormAct, DepthwiseSeparable, make_divisible
from fleetnet.models.names import OWN, PADDLE, TIMM, Part, conv_norm, own_conv_norm

Layout = Literal["truncated", "rounded"]


class Block(NamedTuple):
    """Two rows of the paper's Table 1: a depthwise convolution and a 1×1 one."""

    channels: int
    stride: int


STEM, HEAD = 32, 1024
BLOCKS = (
    Block(64, 1),
    Block(128, 2),
    Block(128, 1),
    Block(256, 2),
    Block(256, 1),
    Block(512, 2),
    *[Block(512, 1)] * 5,
    Block(1024, 2),
    Block(1024, 1),
)


class Setting(NamedTuple):
    """The numbers of a whole network: channels of the stem, of the blocks, and of a head if any."""

    stem: int
    blocks: tuple[int, ...]
    head: int
    act: type[nn.Module]
    names: tuple[str, ...]
    """Dotted names of the blocks."""


def mobilenetv1_setting(
    width_mult: float = 1.0, *, layout: Layout = "truncated", head: bool = False
) -> Setting:
    """Scale Table 1 of the paper.

    Args:
        width_mult: factor on every channel count.
        layout: how channel counts are rounded, and the activation.
        head: whether a 1×1 convolution follows the blocks (timm's ``mobilenetv1_100h``).
    """

    def scaled(channels: int) -> int:
        if layout == "truncated":
            return int(channels * width_mult)
        return make_divisible(channels * width_mult, 8)

    return Setting(
        scaled(STEM),
        tuple(scaled(block.channels) for block in BLOCKS),
        max(HEAD, scaled(HEAD)) if head else 0,
        nn.ReLU if layout == "truncated" else nn.ReLU6,
        _plain_names() if layout == "truncated" else _staged_names(),
    )


def _plain_names() -> tuple[str, ...]:
    return tuple(f"blocks.{index}" for index in range(len(BLOCKS)))


def _staged_names() -> tuple[str, ...]:
    """Number the blocks within stages, which begin with a strided block."""
    names: list[str] = []
    stage, place = 0, 0
    for block in BLOCKS:
        if block.stride > 1:
            stage, place = stage + 1, 0
        names.append(f"blocks.{stage}.{place}")
        place += 1
    return tuple(names)


class MobileNetV1(Chain):
    """Depthwise separable convolutions one after the other.

    Args:
        setting: the layers to build.
        num_classes: length of the logits.
        in_channels: channels of the images, 3 for RGB.
        dropout: probability of dropping an input of the classifier in training.
    """

    def __init__(
        self, setting: Setting, num_classes: int, *, in_channels: int, dropout: float
    ) -> None:
        act = setting.act
        stem = ConvNormAct(in_channels, setting.stem, 3, stride=2, act=act)
        blocks = nn.Sequential()
        channels = setting.stem
        for block, out, name in zip(BLOCKS, setting.blocks, setting.names, strict=True):
            made = DepthwiseSeparable(channels, out, stride=block.stride, act=act)
            _sequence_of(blocks, name).append(made)
            channels = out
        super().__init__(
            stem,
            blocks,
            num_classes,
            num_features=setting.head or channels,
            head=ConvNormAct(channels, setting.head, act=act) if setting.head else None,
            dropout=dropout,
            block_names=setting.names,
        )


def _sequence_of(blocks: nn.Sequential, name: str) -> nn.Sequential:
    """Return the sequence that a block of this name is appended to, making a new stage's."""
    stage = name.split(".")[1:-1]
    if not stage:
        return blocks
    if name.endswith(".0"):
        blocks.append(nn.Sequential())
    sequence = blocks.get_submodule(*stage)
    assert isinstance(sequence, nn.Sequential)  # noqa: S101 - for the type checker
    return sequence


def mobilenetv1(
    num_classes: int = 1000,
    *,
    width_mult: float = 1.0,
    layout: Layout = "truncated",
    head: bool = False,
    in_channels: int = 3,
    dropout: float = 0.0,
    drop_path: float = 0.0,  # noqa: ARG001 - there are no shortcuts
) -> MobileNetV1:
    """Build a MobileNetV1; see :func:`mobilenetv1_setting`. It has no branch to drop."""
    setting = mobilenetv1_setting(width_mult, layout=layout, head=head)
    return MobileNetV1(setting, num_classes, in_channels=in_channels, dropout=dropout)


def _own_names(**arguments: Any) -> tuple[Part, ...]:
    setting = mobilenetv1_setting(**arguments)
    blocks = [f"{name}.{part}" for name in setting.names for part in ("depthwise", "pointwise")]
    layers = ["stem", *blocks, *(["head"] if setting.head else [])]
    parts = [part for name in layers for part in own_conv_norm(name)]
    return (*parts, Part("classifier", "classifier", "linear"))


def _paddle_names(layout: Layout = "truncated", **_: Any) -> tuple[Part, ...] | None:
    """Name the layers as PaddleClas 2.6 does (``ppcls/arch/backbone/legendary_models``)."""
    if layout != "truncated":
        return None
    parts = [*conv_norm("stem", "conv.conv", "conv.bn")]
    for block in _plain_names():
        for part in ("depthwise", "pointwise"):
            name = f"{block}.{part}"
            parts += conv_norm(name, f"{name}_conv.conv", f"{name}_conv.bn")
    return (*parts, Part("classifier", "fc", "linear"))


def _timm_names(
    layout: Layout = "truncated", *, head: bool = False, **_: Any
) -> tuple[Part, ...] | None:
    """Name the layers as timm's ``mobilenetv1_*`` do."""
    if layout != "rounded":
        return None
    parts = [*conv_norm("stem", "conv_stem", "bn1")]
    for name in _staged_names():
        parts += conv_norm(f"{name}.depthwise", f"{name}.conv_dw", f"{name}.bn1")
        parts += conv_norm(f"{name}.pointwise", f"{name}.conv_pw", f"{name}.bn2")
    if head:
        parts += conv_norm("head", "conv_head", "bn2")
    return (*parts, Part("classifier", "classifier", "linear"))


def _widths(**arguments: Any) -> dict[str, int]:
    setting = mobilenetv1_setting(**arguments)
    names = (f"{name}.pointwise.conv" for name in setting.names)
    head = {"head.conv": setting.head} if setting.head else {}
    return {"stem.conv": setting.stem, **dict(zip(names, setting.blocks, strict=True)), **head}


FAMILY = Family(
    build=mobilenetv1,
    names={OWN: _own_names, PADDLE: _paddle_names, TIMM: _timm_names},
    widths=_widths,
    input_layer=MobileNetV1.input_layer,
    classifier_layer=MobileNetV1.classifier_layer,
)
