"""MobileNetV2 (Sandler et al. 2018, https://arxiv.org/abs/1801.04381), in its two layouts.

``truncated`` is PaddleClas's: channel counts are ``int(channels * width)``, and the first block,
whose expand ratio is 1, still has its 1×1 expansion. ``rounded`` is that of the TensorFlow code,
torchvision and timm: channel counts are multiples of 8, and the first block has no expansion.
"""

from __future__ import annotations

import math
from typing import Any, Literal, NamedTuple

from torch import nn

from fleetnet.models.layers import make_divisible
from fleetnet.models.names import (
    PADDLE,
    TIMM,
    TORCHVISION,
    Part,
    conv_norm,
    efficientnet_names,
)
from fleetnet.models.network import BlockSetting, MobileNetwork, NetworkSetting, family

Layout = Literal["truncated", "rounded"]


class Stage(NamedTuple):
    """A row of the paper's Table 2."""

    expand_ratio: int
    channels: int
    repeats: int
    stride: int


STEM, HEAD = 32, 1280
STAGES = (
    Stage(1, 16, 1, 1),
    Stage(6, 24, 2, 2),
    Stage(6, 32, 3, 2),
    Stage(6, 64, 4, 2),
    Stage(6, 96, 3, 1),
    Stage(6, 160, 3, 2),
    Stage(6, 320, 1, 1),
)


def mobilenetv2_setting(
    width_mult: float = 1.0,
    *,
    layout: Layout = "truncated",
    depth_mult: float = 1.0,
    fix_stem_head: bool = False,
) -> NetworkSetting:
    """Unroll Table 2 of the paper for a width and a depth.

    Args:
        width_mult: factor on every channel count; the head is never narrower than 1280.
        layout: how channel counts are rounded, and whether the first block expands.
        depth_mult: factor on the repeats of all stages; with ``fix_stem_head``, not of the first
            and last (timm's ``mobilenetv2_110d`` and ``_120d``).
        fix_stem_head: keep the stem and the head at their width of 1.0.
    """

    def scaled(channels: int) -> int:
        if layout == "truncated":
            return int(channels * width_mult)
        return make_divisible(channels * width_mult, 8)

    stem = STEM if fix_stem_head else scaled(STEM)
    blocks: list[BlockSetting] = []
    channels = stem
    counts = stage_repeats(depth_mult, fix_first_last=fix_stem_head)
    for stage, repeats in zip(STAGES, counts, strict=True):
        for repeat in range(repeats):
            out = scaled(stage.channels)
            stride = stage.stride if repeat == 0 else 1
            # PaddleClas adds the input from the second block of a stage on, the others wherever
            # the shapes agree. With these stages, the two rules differ only at widths whose
            # rounding makes neighbouring stages equally wide.
            agrees = stride == 1 and channels == out
            blocks.append(
                BlockSetting(
                    in_channels=channels,
                    out_channels=out,
                    hidden=channels * stage.expand_ratio,
                    stride=stride,
                    expand=stage.expand_ratio != 1 or layout == "truncated",
                    squeezed=0,
                    shortcut=agrees and (repeat > 0 or layout == "rounded"),
                )
            )
            channels = out
    head = HEAD if fix_stem_head else max(HEAD, scaled(HEAD))
    return NetworkSetting(stem, tuple(blocks), head, neck=0, act=nn.ReLU6)


def stage_repeats(depth_mult: float = 1.0, *, fix_first_last: bool = False) -> tuple[int, ...]:
    """Return the number of blocks of each stage, rounded up for a depth above 1."""
    last = len(STAGES) - 1
    return tuple(
        stage.repeats
        if fix_first_last and index in (0, last)
        else math.ceil(stage.repeats * depth_mult)
        for index, stage in enumerate(STAGES)
    )


def mobilenetv2(
    num_classes: int = 1000,
    *,
    width_mult: float = 1.0,
    layout: Layout = "truncated",
    depth_mult: float = 1.0,
    fix_stem_head: bool = False,
    in_channels: int = 3,
    dropout: float = 0.0,
    drop_path: float = 0.0,
) -> MobileNetwork:
    """Build a MobileNetV2; see :func:`mobilenetv2_setting` and :class:`MobileNetwork`."""
    setting = mobilenetv2_setting(
        width_mult, layout=layout, depth_mult=depth_mult, fix_stem_head=fix_stem_head
    )
    return MobileNetwork(
        setting, num_classes, in_channels=in_channels, dropout=dropout, drop_path=drop_path
    )


def _paddle_names(layout: Layout = "truncated", **_: Any) -> tuple[Part, ...] | None:
    """Name the layers as PaddleClas 2.6 does (``ppcls/arch/backbone/model_zoo``)."""
    if layout != "truncated":
        return None

    def conv_bn(ours: str, theirs: str) -> tuple[Part, Part]:
        return conv_norm(ours, f"{theirs}._conv", f"{theirs}._batch_norm")

    parts = [*conv_bn("stem", "conv1")]
    index = 0
    for number, stage in enumerate(STAGES, start=2):
        for repeat in range(stage.repeats):
            inner = "_first_block" if repeat == 0 else f"conv{number}_{repeat + 1}"
            unit = f"conv{number}.{inner}"
            parts += conv_bn(f"blocks.{index}.expand", f"{unit}._expand_conv")
            parts += conv_bn(f"blocks.{index}.depthwise", f"{unit}._bottleneck_conv")
            parts += conv_bn(f"blocks.{index}.project", f"{unit}._linear_conv")
            index += 1
    parts += conv_bn("head", "conv9")
    return (*parts, Part("classifier", "out", "linear"))


def _timm_names(
    layout: Layout = "truncated",
    depth_mult: float = 1.0,
    *,
    fix_stem_head: bool = False,
    **_: Any,
) -> tuple[Part, ...] | None:
    """Name the layers as timm's ``mobilenetv2_*`` do."""
    if layout != "rounded":
        return None
    # The first block is the only one of its stage in every variant, and has no expansion.
    return efficientnet_names(stage_repeats(depth_mult, fix_first_last=fix_stem_head))


def _torchvision_names(
    layout: Layout = "truncated", *, fix_stem_head: bool = False, **arguments: Any
) -> tuple[Part, ...] | None:
    """Name the layers as torchvision's ``mobilenet_v2`` does, at any width."""
    if layout != "rounded" or fix_stem_head:
        return None
    setting = mobilenetv2_setting(layout=layout, **arguments)
    parts = [*conv_norm("stem", "features.0.0", "features.0.1")]
    for index, block in enumerate(setting.blocks):
        ours, conv = f"blocks.{index}", f"features.{index + 1}.conv"
        place = 0
        if block.expand:
            parts += conv_norm(f"{ours}.expand", f"{conv}.0.0", f"{conv}.0.1")
            place = 1
        parts += conv_norm(f"{ours}.depthwise", f"{conv}.{place}.0", f"{conv}.{place}.1")
        parts += conv_norm(f"{ours}.project", f"{conv}.{place + 1}", f"{conv}.{place + 2}")
    head = len(setting.blocks) + 1
    parts += conv_norm("head", f"features.{head}.0", f"features.{head}.1")
    return (*parts, Part("classifier", "classifier.1", "linear"))


FAMILY = family(
    mobilenetv2,
    mobilenetv2_setting,
    {PADDLE: _paddle_names, TIMM: _timm_names, TORCHVISION: _torchvision_names},
)
