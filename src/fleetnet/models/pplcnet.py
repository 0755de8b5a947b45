"""PP-LCNet (Cui et al. 2021, https://arxiv.org/abs/2109.15099), in its two layouts.

Depthwise separable convolutions with hard-swish; 5×5 kernels and squeeze-and-excitation only at
the end, where they cost little; and a wide layer after the pool, where there is one pixel.
``paddle`` is its authors' network: what reaches the classifier is multiplied by 0.8, because
PaddleClas's dropout scales its inputs in inference and not in training. ``timm``'s has a bias in
the wide layer, and no such factor.
"""

from __future__ import annotations

from typing import Any, Literal, NamedTuple

from torch import nn

from fleetnet.models.base import Family
from fleetnet.models.chain import Chain
from fleetnet.models.layers import (
    ConvNormAct,
    DepthwiseSeparable,
    HardSigmoid,
    HardSqueezeExcite,
    LinearNormAct,
    make_divisible,
)
from fleetnet.models.names import OWN, PADDLE, TIMM, Part, conv_norm, own_conv_norm, places

Layout = Literal["paddle", "timm"]


class Block(NamedTuple):
    """A row of the paper's Table 1: a depthwise convolution and a 1×1 one."""

    kernel_size: int
    channels: int
    stride: int
    squeeze: bool


STEM, NECK, SQUEEZE_RATIO = 16, 1280, 4
BLOCKS = (
    Block(3, 32, 1, squeeze=False),
    Block(3, 64, 2, squeeze=False),
    Block(3, 64, 1, squeeze=False),
    Block(3, 128, 2, squeeze=False),
    Block(3, 128, 1, squeeze=False),
    Block(3, 256, 2, squeeze=False),
    *[Block(5, 256, 1, squeeze=False)] * 5,
    Block(5, 512, 2, squeeze=True),
    Block(5, 512, 1, squeeze=True),
)
DROPOUT = 0.2
PADDLE_KEPT = 1 - DROPOUT


def channel_counts(width_mult: float) -> tuple[int, ...]:
    """Return the channels of the stem and of every block for a width."""
    counts = (STEM, *(block.channels for block in BLOCKS))
    return tuple(make_divisible(channels * width_mult, 8) for channels in counts)


class PPLCNet(Chain):
    """A chain of depthwise separable convolutions.

    Args:
        num_classes: length of the logits.
        width_mult: factor on every channel count but the neck's.
        layout: the project whose network it is.
        in_channels: channels of the images, 3 for RGB.
        dropout: probability of dropping an input of the classifier in training.
        drop_path: has no effect, because there are no shortcuts.
    """

    def __init__(
        self,
        num_classes: int = 1000,
        *,
        width_mult: float = 1.0,
        layout: Layout = "paddle",
        in_channels: int = 3,
        dropout: float = DROPOUT,
        drop_path: float = 0.0,  # noqa: ARG002 - there are no shortcuts
    ) -> None:
        act, paddle = nn.Hardswish, layout == "paddle"
        channels, *widths = channel_counts(width_mult)
        stem = ConvNormAct(in_channels, channels, 3, stride=2, act=act)
        blocks = nn.Sequential()
        for block, width in zip(BLOCKS, widths, strict=True):
            excite = (
                HardSqueezeExcite(channels, channels // SQUEEZE_RATIO, HardSigmoid())
                if block.squeeze
                else None
            )
            blocks.append(
                DepthwiseSeparable(
                    channels,
                    width,
                    stride=block.stride,
                    act=act,
                    kernel_size=block.kernel_size,
                    excite=excite,
                )
            )
            channels = width
        super().__init__(
            stem,
            blocks,
            num_classes,
            num_features=channels,
            neck=LinearNormAct(channels, NECK, act=act, bias=not paddle, norm=False),
            neck_width=NECK,
            kept=PADDLE_KEPT if paddle else 1.0,
            dropout=dropout,
        )


def _own_names(**_: Any) -> tuple[Part, ...]:
    parts = [*own_conv_norm("stem")]
    for index, block in enumerate(BLOCKS):
        for layer in (f"blocks.{index}.depthwise", f"blocks.{index}.pointwise"):
            parts += own_conv_norm(layer)
        for layer in _excite(index) if block.squeeze else ():
            parts.append(Part(layer, layer, "conv"))
    parts.append(Part("neck.linear", "neck.linear", "linear"))
    return (*parts, Part("classifier", "classifier", "linear"))


def _excite(index: int) -> tuple[str, str]:
    return f"blocks.{index}.se.reduce.conv", f"blocks.{index}.se.expand.conv"


def _paddle_names(layout: Layout = "paddle", **_: Any) -> tuple[Part, ...] | None:
    """Name the layers as PaddleClas 2.6 does (``ppcls/arch/backbone/legendary_models``)."""
    if layout != "paddle":
        return None
    parts = [*conv_norm("stem", "conv1.conv", "conv1.bn")]
    for index, (stage, place) in enumerate(_PADDLE_PLACES):
        ours, theirs = f"blocks.{index}", f"blocks{stage}.{place}"
        parts += conv_norm(f"{ours}.depthwise", f"{theirs}.dw_conv.conv", f"{theirs}.dw_conv.bn")
        if BLOCKS[index].squeeze:
            reduce, expand = _excite(index)
            parts.append(Part(reduce, f"{theirs}.se.conv1", "conv"))
            parts.append(Part(expand, f"{theirs}.se.conv2", "conv"))
        parts += conv_norm(f"{ours}.pointwise", f"{theirs}.pw_conv.conv", f"{theirs}.pw_conv.bn")
    parts.append(Part("neck.linear", "last_conv", "conv-as-linear"))
    return (*parts, Part("classifier", "fc", "linear"))


def _timm_names(layout: Layout = "paddle", **_: Any) -> tuple[Part, ...] | None:
    """Name the layers as timm's ``lcnet_*`` do."""
    if layout != "timm":
        return None
    parts = [*conv_norm("stem", "conv_stem", "bn1")]
    for index, (stage, place) in enumerate(_TIMM_PLACES):
        ours, theirs = f"blocks.{index}", f"blocks.{stage}.{place}"
        parts += conv_norm(f"{ours}.depthwise", f"{theirs}.conv_dw", f"{theirs}.bn1")
        if BLOCKS[index].squeeze:
            reduce, expand = _excite(index)
            parts.append(Part(reduce, f"{theirs}.se.conv_reduce", "conv"))
            parts.append(Part(expand, f"{theirs}.se.conv_expand", "conv"))
        parts += conv_norm(f"{ours}.pointwise", f"{theirs}.conv_pw", f"{theirs}.bn2")
    parts.append(Part("neck.linear", "conv_head", "conv-as-linear"))
    return (*parts, Part("classifier", "classifier", "linear"))


_PADDLE_PLACES = places((1, 2, 2, 6, 2), first=2)
_TIMM_PLACES = places((1, 2, 2, 2, 4, 2))


def _widths(width_mult: float = 1.0, **_: Any) -> dict[str, int]:
    stem, *blocks = channel_counts(width_mult)
    named = {f"blocks.{index}.pointwise.conv": width for index, width in enumerate(blocks)}
    return {"stem.conv": stem, **named}


FAMILY = Family(
    build=PPLCNet,
    names={OWN: _own_names, PADDLE: _paddle_names, TIMM: _timm_names},
    widths=_widths,
    input_layer=PPLCNet.input_layer,
    classifier_layer=PPLCNet.classifier_layer,
)
