"""EfficientNet-Lite 0 to 4 (TensorFlow's ``tpu/models/official/efficientnet/lite``, 2020).

EfficientNet (Tan and Le 2019, https://arxiv.org/abs/1905.11946) without squeeze-and-excitation and
with ReLU6 for Swish, so that it can be quantised; stem, head, and the repeats of the first and the
last stage are not scaled. As in TensorFlow, strided convolutions pad right and below (``SAME``) and
batch norm adds 1e-3: timm's own ``efficientnet_lite0``, which pads on both sides and adds 1e-5, is
another network, though its weights have the same names and shapes.
"""

from __future__ import annotations

import math
from typing import NamedTuple

from torch import nn

from fleetnet.models.layers import make_divisible
from fleetnet.models.names import TIMM, Part, Source, conv_norm, efficientnet_names
from fleetnet.models.network import BlockSetting, MobileNetwork, NetworkSetting, family


class Variant(NamedTuple):
    """A row of the authors' table; the sizes of the images are in ``networks.toml``."""

    width_mult: float
    depth_mult: float
    dropout: float


VARIANTS = (
    Variant(1.0, 1.0, 0.2),
    Variant(1.0, 1.1, 0.2),
    Variant(1.1, 1.2, 0.3),
    Variant(1.2, 1.4, 0.3),
    Variant(1.4, 1.8, 0.3),
)


class Stage(NamedTuple):
    """A row of EfficientNet-B0's table (Table 1 of the paper)."""

    expand_ratio: int
    kernel_size: int
    channels: int
    repeats: int
    stride: int


STEM, HEAD = 32, 1280
STAGES = (
    Stage(1, 3, 16, 1, 1),
    Stage(6, 3, 24, 2, 2),
    Stage(6, 5, 40, 2, 2),
    Stage(6, 3, 80, 3, 2),
    Stage(6, 5, 112, 3, 1),
    Stage(6, 5, 192, 4, 2),
    Stage(6, 3, 320, 1, 1),
)


def stage_repeats(variant: int) -> tuple[int, ...]:
    """Return the number of blocks of each stage; the first and the last are not scaled."""
    depth_mult = VARIANTS[variant].depth_mult
    inner = (math.ceil(stage.repeats * depth_mult) for stage in STAGES[1:-1])
    return (STAGES[0].repeats, *inner, STAGES[-1].repeats)


def efficientnet_lite_setting(variant: int) -> NetworkSetting:
    """Unroll the table for EfficientNet-Lite number ``variant``."""
    blocks: list[BlockSetting] = []
    channels = STEM
    for stage, repeats in zip(STAGES, stage_repeats(variant), strict=True):
        out = make_divisible(stage.channels * VARIANTS[variant].width_mult, 8)
        for repeat in range(repeats):
            stride = stage.stride if repeat == 0 else 1
            blocks.append(
                BlockSetting(
                    in_channels=channels,
                    out_channels=out,
                    hidden=channels * stage.expand_ratio,
                    stride=stride,
                    expand=stage.expand_ratio != 1,
                    squeezed=0,
                    shortcut=stride == 1 and channels == out,
                    kernel_size=stage.kernel_size,
                )
            )
            channels = out
    return NetworkSetting(
        STEM, tuple(blocks), HEAD, neck=0, act=nn.ReLU6, padding="same", norm_eps=1e-3
    )


def efficientnet_lite(
    num_classes: int = 1000,
    *,
    variant: int = 0,
    in_channels: int = 3,
    dropout: float | None = None,
    drop_path: float = 0.0,
) -> MobileNetwork:
    """Build an EfficientNet-Lite; its own ``dropout`` is 0.2, and 0.3 from Lite2 on."""
    return MobileNetwork(
        efficientnet_lite_setting(variant),
        num_classes,
        in_channels=in_channels,
        dropout=VARIANTS[variant].dropout if dropout is None else dropout,
        drop_path=drop_path,
    )


EFFICIENTNET_PYTORCH = Source("EfficientNet-PyTorch", "efficientnet-pytorch")
"""``lukemelas/EfficientNet-PyTorch``, and ``efficientnet-lite-pytorch``, which follows it."""


def _pytorch_names(variant: int) -> tuple[Part, ...]:
    """Name the layers as EfficientNet-PyTorch does, whose blocks are in one list."""
    parts = [*conv_norm("stem", "_conv_stem", "_bn0")]
    for index, block in enumerate(efficientnet_lite_setting(variant).blocks):
        ours, theirs = f"blocks.{index}", f"_blocks.{index}"
        if block.expand:
            parts += conv_norm(f"{ours}.expand", f"{theirs}._expand_conv", f"{theirs}._bn0")
        parts += conv_norm(f"{ours}.depthwise", f"{theirs}._depthwise_conv", f"{theirs}._bn1")
        parts += conv_norm(f"{ours}.project", f"{theirs}._project_conv", f"{theirs}._bn2")
    parts += conv_norm("head", "_conv_head", "_bn1")
    return (*parts, Part("classifier", "_fc", "linear"))


def _timm_names(variant: int) -> tuple[Part, ...]:
    """Name the layers as timm's ``tf_efficientnet_lite*`` do."""
    return efficientnet_names(stage_repeats(variant))


_OTHERWISE = "pads its convolutions and scales its batch norms differently"
_OTHERS = (*(f"efficientnet_lite{n}" for n in range(5)), "efficientnet_lite0_ra-37913777.pth")
"""timm's names without ``tf_``, and the file of the only published weights of one."""

FAMILY = family(
    efficientnet_lite,
    efficientnet_lite_setting,
    {TIMM: _timm_names, EFFICIENTNET_PYTORCH: _pytorch_names},
    lookalikes=dict.fromkeys(_OTHERS, _OTHERWISE),
)
