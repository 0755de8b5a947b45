"""MobileNetV3 (Howard et al. 2019, https://arxiv.org/abs/1905.02244), large and small.

Three projects have it, and no two compute the same. ``paddle`` is PaddleClas's: the first block has
its 1×1 expansion, the gates of squeeze-excitation have a slope of 1/5, the small network's last
convolution is as wide as the large one's, and what reaches the classifier is multiplied by 0.8,
because PaddleClas's dropout scales its inputs in inference and not in training. ``timm`` and
``torchvision`` follow the TensorFlow code, and differ from each other in what batch norm adds, and
away from a width of 1.0 in how they round.
"""

from __future__ import annotations

from typing import Any, Literal, NamedTuple

from torch import nn

from fleetnet.models.layers import make_divisible
from fleetnet.models.names import PADDLE, TIMM, TORCHVISION, Part, conv_norm
from fleetnet.models.network import BlockSetting, MobileNetwork, NetworkSetting, family

Size = Literal["large", "small"]
Layout = Literal["paddle", "timm", "torchvision"]


class Block(NamedTuple):
    """A row of the paper's Tables 1 and 2, less the input and the last rows."""

    kernel_size: int
    hidden: int
    channels: int
    squeeze: bool
    act: type[nn.Module]
    stride: int


RE, HS = nn.ReLU, nn.Hardswish
BLOCKS: dict[Size, tuple[Block, ...]] = {
    "large": (
        Block(3, 16, 16, False, RE, 1),
        Block(3, 64, 24, False, RE, 2),
        Block(3, 72, 24, False, RE, 1),
        Block(5, 72, 40, True, RE, 2),
        Block(5, 120, 40, True, RE, 1),
        Block(5, 120, 40, True, RE, 1),
        Block(3, 240, 80, False, HS, 2),
        Block(3, 200, 80, False, HS, 1),
        Block(3, 184, 80, False, HS, 1),
        Block(3, 184, 80, False, HS, 1),
        Block(3, 480, 112, True, HS, 1),
        Block(3, 672, 112, True, HS, 1),
        Block(5, 672, 160, True, HS, 2),
        Block(5, 960, 160, True, HS, 1),
        Block(5, 960, 160, True, HS, 1),
    ),
    "small": (
        Block(3, 16, 16, True, RE, 2),
        Block(3, 72, 24, False, RE, 2),
        Block(3, 88, 24, False, RE, 1),
        Block(5, 96, 40, True, HS, 2),
        Block(5, 240, 40, True, HS, 1),
        Block(5, 240, 40, True, HS, 1),
        Block(5, 120, 48, True, HS, 1),
        Block(5, 144, 48, True, HS, 1),
        Block(5, 288, 96, True, HS, 2),
        Block(5, 576, 96, True, HS, 1),
        Block(5, 576, 96, True, HS, 1),
    ),
}
STEM = 16
HEAD: dict[Size, int] = {"large": 960, "small": 576}
NECK: dict[Size, int] = {"large": 1280, "small": 1024}
PADDLE_NECK, PADDLE_KEPT = 1280, 0.8
SQUEEZE_RATIO = 4


def mobilenetv3_setting(
    size: Size = "large", width_mult: float = 1.0, *, layout: Layout = "paddle"
) -> NetworkSetting:
    """Unroll Table 1 or 2 of the paper for a width.

    Args:
        size: which of the two tables.
        width_mult: factor on every channel count but the neck's.
        layout: the project whose network it is.
    """

    def scaled(channels: float) -> int:
        return make_divisible(channels * width_mult, 8)

    paddle = layout == "paddle"
    stem = channels = STEM if layout == "timm" and width_mult < 0.75 else scaled(STEM)
    blocks: list[BlockSetting] = []
    before = STEM
    for index, block in enumerate(BLOCKS[size]):
        out, hidden = scaled(block.channels), scaled(block.hidden)
        if layout == "timm":  # which scales the ratio's input and not the hidden width itself
            hidden = make_divisible(channels * block.hidden / before, 8)
        quarter = hidden // SQUEEZE_RATIO
        squeezed = quarter if paddle else make_divisible(quarter, 8)
        blocks.append(
            BlockSetting(
                in_channels=channels,
                out_channels=out,
                hidden=hidden,
                stride=block.stride,
                expand=index > 0 or paddle,
                squeezed=squeezed if block.squeeze else 0,
                shortcut=block.stride == 1 and channels == out,
                kernel_size=block.kernel_size,
                act=block.act,
                gate_slope=1 / 5 if paddle else 1 / 6,
            )
        )
        channels, before = out, block.channels
    return NetworkSetting(
        stem,
        tuple(blocks),
        scaled(HEAD[size]),
        neck=PADDLE_NECK if paddle else NECK[size],
        act=HS,
        norm_eps=1e-3 if layout == "torchvision" else 1e-5,
        neck_form="linear" if layout == "torchvision" else "conv",
        neck_act=HS,
        neck_bias=not paddle,
        kept=PADDLE_KEPT if paddle else 1.0,
    )


def mobilenetv3(
    num_classes: int = 1000,
    *,
    size: Size = "large",
    width_mult: float = 1.0,
    layout: Layout = "paddle",
    in_channels: int = 3,
    dropout: float = 0.2,
    drop_path: float = 0.0,
) -> MobileNetwork:
    """Build a MobileNetV3; see :func:`mobilenetv3_setting` and :class:`MobileNetwork`."""
    return MobileNetwork(
        mobilenetv3_setting(size, width_mult, layout=layout),
        num_classes,
        in_channels=in_channels,
        dropout=dropout,
        drop_path=drop_path,
    )


def _paddle_names(
    size: Size = "large", *, layout: Layout = "paddle", **_: Any
) -> tuple[Part, ...] | None:
    """Name the layers as PaddleClas 2.6 does (``ppcls/arch/backbone/legendary_models``)."""
    if layout != "paddle":
        return None

    def conv_bn(ours: str, theirs: str) -> tuple[Part, Part]:
        return conv_norm(ours, f"{theirs}.conv", f"{theirs}.bn")

    parts = [*conv_bn("stem", "conv")]
    for index, block in enumerate(BLOCKS[size]):
        name = f"blocks.{index}"
        parts += conv_bn(f"{name}.expand", f"{name}.expand_conv")
        parts += conv_bn(f"{name}.depthwise", f"{name}.bottleneck_conv")
        if block.squeeze:
            parts.append(Part(f"{name}.se.reduce.conv", f"{name}.mid_se.conv1", "conv"))
            parts.append(Part(f"{name}.se.expand.conv", f"{name}.mid_se.conv2", "conv"))
        parts += conv_bn(f"{name}.project", f"{name}.linear_conv")
    parts += conv_bn("head", "last_second_conv")
    return (*parts, Part("neck.conv", "last_conv", "conv"), Part("classifier", "fc", "linear"))


def _timm_names(
    size: Size = "large", *, layout: Layout = "paddle", **_: Any
) -> tuple[Part, ...] | None:
    """Name the layers as timm's ``mobilenetv3_*`` do, which number stages and blocks in them."""
    if layout != "timm":
        return None
    parts = [*conv_norm("stem", "conv_stem", "bn1")]
    stage, place = 0, 0
    for index, block in enumerate(BLOCKS[size]):
        if index and block.channels != BLOCKS[size][index - 1].channels:
            stage, place = stage + 1, 0
        ours, theirs = f"blocks.{index}", f"blocks.{stage}.{place}"
        names = ("conv_pw", "conv_dw", "conv_pwl") if index else ("", "conv_dw", "conv_pw")
        norms = ("bn1", "bn2", "bn3") if index else ("", "bn1", "bn2")
        for layer, conv, norm in zip(_CONVOLUTIONS, names, norms, strict=True):
            if conv:
                parts += conv_norm(f"{ours}.{layer}", f"{theirs}.{conv}", f"{theirs}.{norm}")
        if block.squeeze:
            parts.append(Part(f"{ours}.se.reduce.conv", f"{theirs}.se.conv_reduce", "conv"))
            parts.append(Part(f"{ours}.se.expand.conv", f"{theirs}.se.conv_expand", "conv"))
        place += 1
    parts += conv_norm("head", f"blocks.{stage + 1}.0.conv", f"blocks.{stage + 1}.0.bn1")
    parts.append(Part("neck.conv", "conv_head", "conv"))
    return (*parts, Part("classifier", "classifier", "linear"))


_CONVOLUTIONS = ("expand", "depthwise", "project")


def _torchvision_names(
    size: Size = "large", *, layout: Layout = "paddle", **_: Any
) -> tuple[Part, ...] | None:
    """Name the layers as torchvision's ``mobilenet_v3_large`` and ``_small`` do."""
    if layout != "torchvision":
        return None
    parts = [*conv_norm("stem", "features.0.0", "features.0.1")]
    for index, block in enumerate(BLOCKS[size]):
        ours, theirs = f"blocks.{index}", f"features.{index + 1}.block"
        place = 0
        for layer in _CONVOLUTIONS if index else _CONVOLUTIONS[1:]:
            if layer == "project" and block.squeeze:
                parts.append(Part(f"{ours}.se.reduce.conv", f"{theirs}.{place}.fc1", "conv"))
                parts.append(Part(f"{ours}.se.expand.conv", f"{theirs}.{place}.fc2", "conv"))
                place += 1
            parts += conv_norm(f"{ours}.{layer}", f"{theirs}.{place}.0", f"{theirs}.{place}.1")
            place += 1
    head = len(BLOCKS[size]) + 1
    parts += conv_norm("head", f"features.{head}.0", f"features.{head}.1")
    parts.append(Part("neck.linear", "classifier.0", "linear"))
    return (*parts, Part("classifier", "classifier.3", "linear"))


_OTHERWISE = "pads its convolutions and scales its batch norms differently"
_OTHERS = (
    *(f"tf_mobilenetv3_{kind}" for kind in ("large_075", "large_100", "small_075", "small_100")),
    "tf_mobilenetv3_large_075-150ee8b0.pth",
    "tf_mobilenetv3_large_100-427764d5.pth",
    "tf_mobilenetv3_small_075-da427f52.pth",
    "tf_mobilenetv3_small_100-37f49e2b.pth",
)
"""TensorFlow's own weights in timm, and the files of those that are published."""

FAMILY = family(
    mobilenetv3,
    mobilenetv3_setting,
    {PADDLE: _paddle_names, TIMM: _timm_names, TORCHVISION: _torchvision_names},
    lookalikes=dict.fromkeys(_OTHERS, _OTHERWISE),
)
