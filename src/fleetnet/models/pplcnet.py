"""PP-LCNet (Cui et al. 2021, https://arxiv.org/abs/2109.15099), in its two layouts.

Depthwise separable convolutions with hard-swish; 5×5 kernels and squeeze-and-excitation only at
the end, where they cost little; and a wide layer after the pool, where there is one pixel.
``paddle`` is its authors' network: what reaches the classifier is multiplied by 0.8, because
PaddleClas's dropout scales its inputs in inference and not in training. ``timm``'s has a bias in
the wide layer, and no such factor.
"""

from __future__ import annotations

from typing import Any, Literal, NamedTuple

from torch import Tensor, nn

from fleetnet.models.base import Family, Network, Stage
from fleetnet.models.initialise import initialise
from fleetnet.models.layers import (
    ConvNormAct,
    DepthwiseSeparable,
    HardSigmoid,
    HardSqueezeExcite,
    LinearNormAct,
    make_divisible,
)
from fleetnet.models.names import OWN, PADDLE, TIMM, Part, conv_norm

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


class PPLCNet(Network):
    """A chain of depthwise separable convolutions.

    Args:
        num_classes: length of the logits.
        width_mult: factor on every channel count but the neck's.
        layout: the project whose network it is.
        in_channels: channels of the images, 3 for RGB.
        dropout: probability of dropping an input of the classifier in training.
        drop_path: has no effect, because there are no shortcuts.
    """

    input_layer = "stem.conv"
    classifier_layer = "classifier"

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
        super().__init__()
        act = nn.Hardswish
        channels, *widths = channel_counts(width_mult)
        self.num_classes, self.num_features = num_classes, widths[-1]
        self.stem = ConvNormAct(in_channels, channels, 3, stride=2, act=act)
        self.blocks = nn.Sequential()
        for block, width in zip(BLOCKS, widths, strict=True):
            excite = (
                HardSqueezeExcite(channels, channels // SQUEEZE_RATIO, HardSigmoid())
                if block.squeeze
                else None
            )
            self.blocks.append(
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
        self.neck = LinearNormAct(channels, NECK, act=act, bias=layout == "timm", norm=False)
        self.kept = PADDLE_KEPT if layout == "paddle" else 1.0
        self.dropout = nn.Dropout(dropout)
        self.classifier = nn.Linear(NECK, num_classes)
        self.apply(initialise)

    def stages(self) -> tuple[Stage, ...]:
        """Return the stem, each block, the neck and the classifier."""
        blocks = [f"blocks.{index}" for index in range(len(self.blocks))]
        names = ["stem", *blocks, "neck", "classifier"]
        return tuple(Stage(name, {name: self.get_submodule(name)}) for name in names)

    def forward_features(self, x: Tensor) -> Tensor:
        """Map ``float32[N, C, H, W]`` to the last feature map, ``float32[N, F, H/32, W/32]``."""
        features: Tensor = self.blocks(self.stem(x))
        return features

    def classify(self, features: Tensor) -> Tensor:
        """Map the last feature map to the logits, ``float32[N, num_classes]``."""
        x: Tensor = self.neck(self.pool(features))
        if self.kept != 1.0:
            x = x * self.kept
        logits: Tensor = self.classifier(self.dropout(x))
        return logits


def _own_names(**_: Any) -> tuple[Part, ...]:
    parts = [*conv_norm("stem", "stem.conv", "stem.norm")]
    for index, block in enumerate(BLOCKS):
        for layer in (f"blocks.{index}.depthwise", f"blocks.{index}.pointwise"):
            parts += conv_norm(layer, f"{layer}.conv", f"{layer}.norm")
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


def _places(first: int, counts: tuple[int, ...]) -> tuple[tuple[int, int], ...]:
    """Number the stages from ``first``, and the blocks in each from 0."""
    stages = enumerate(counts, first)
    return tuple((stage, place) for stage, count in stages for place in range(count))


_PADDLE_PLACES = _places(2, (1, 2, 2, 6, 2))
_TIMM_PLACES = _places(0, (1, 2, 2, 2, 4, 2))


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
