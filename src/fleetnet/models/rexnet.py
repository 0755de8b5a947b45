"""ReXNet (Han et al. 2021, https://arxiv.org/abs/2007.00992) and its lite variant.

Channels grow linearly with the block's index instead of in steps, so odd counts such as 27, 38, 50
and 61 are as published. ReXNet-lite (the authors' code, 2021) drops squeeze-excitation and SiLU
for ReLU6, rounds channels to multiples of 8 and puts a 1024-wide layer before the classifier.
"""

from __future__ import annotations

from torch import nn

from fleetnet.models.layers import make_divisible
from fleetnet.models.names import CLOVAAI, PADDLE, TIMM, Part, conv_norm
from fleetnet.models.network import BlockSetting, MobileNetwork, NetworkSetting, family

STEM, FIRST, HEAD = 32, 16, 1280
REPEATS = (1, 2, 2, 3, 3, 5)
STRIDES = (1, 2, 2, 2, 1, 2)
SQUEEZES = (False, False, True, True, True, True)
EXPAND_RATIO = 6
SQUEEZE_RATIO = 12
FINAL, LITE_FINAL = 180, 164
LITE_NECK = 1024


def channel_ramp(width_mult: float, *, lite: bool = False) -> tuple[int, ...]:
    """Return the output channels of the sixteen blocks (the paper's section 4.2).

    The step is ``180 / 16`` for ReXNet and ``164 / 15`` for ReXNet-lite, as in the authors' code.
    """
    blocks = sum(REPEATS)
    step = LITE_FINAL / (blocks - 1) if lite else FINAL / blocks
    channels = FIRST / width_mult if width_mult < 1.0 else float(FIRST)
    ramp: list[int] = []
    for _ in range(blocks):
        whole = round(channels * width_mult)
        ramp.append(make_divisible(whole, 8) if lite else whole)
        channels += step
    return tuple(ramp)


def rexnet_setting(width_mult: float = 1.0, *, lite: bool = False) -> NetworkSetting:
    """Turn a width into the list of blocks; below 1.0, stem and first block keep their width."""
    stem = round(max(STEM, STEM * width_mult))
    stem = make_divisible(stem, 8) if lite else stem
    strides = [
        stride if repeat == 0 else 1
        for stride, repeats in zip(STRIDES, REPEATS, strict=True)
        for repeat in range(repeats)
    ]
    squeezes = [
        squeeze and not lite
        for squeeze, repeats in zip(SQUEEZES, REPEATS, strict=True)
        for _ in range(repeats)
    ]
    blocks: list[BlockSetting] = []
    channels = stem
    ramp = channel_ramp(width_mult, lite=lite)
    for index, (out, stride, squeeze) in enumerate(zip(ramp, strides, squeezes, strict=True)):
        hidden = channels * EXPAND_RATIO if index else channels
        blocks.append(
            BlockSetting(
                in_channels=channels,
                out_channels=out,
                hidden=hidden,
                stride=stride,
                expand=index > 0,
                squeezed=hidden // SQUEEZE_RATIO if squeeze else 0,
                shortcut=stride == 1 and channels <= out,
            )
        )
        channels = out
    head = max(HEAD, int(HEAD * width_mult)) if lite else int(HEAD * width_mult)
    return NetworkSetting(
        stem,
        tuple(blocks),
        head,
        neck=LITE_NECK if lite else 0,
        act=nn.ReLU6 if lite else nn.SiLU,
    )


def rexnet(
    num_classes: int = 1000,
    *,
    width_mult: float = 1.0,
    lite: bool = False,
    in_channels: int = 3,
    dropout: float = 0.2,
    drop_path: float = 0.0,
) -> MobileNetwork:
    """Build a ReXNet; see :func:`rexnet_setting` and :class:`MobileNetwork`."""
    return MobileNetwork(
        rexnet_setting(width_mult, lite=lite),
        num_classes,
        in_channels=in_channels,
        dropout=dropout,
        drop_path=drop_path,
    )


def _sequential_names(width_mult: float, *, lite: bool = False) -> tuple[Part, ...]:
    """Number the layers in flat sequences, as the authors' code (clovaai/rexnet) does."""
    setting = rexnet_setting(width_mult, lite=lite)
    parts = [*conv_norm("stem", "features.0", "features.1")]
    for index, block in enumerate(setting.blocks):
        ours, out = f"blocks.{index}", f"features.{index + 3}.out"
        place = 0
        if block.expand:
            parts += conv_norm(f"{ours}.expand", f"{out}.0", f"{out}.1")
            place = 3
        parts += conv_norm(f"{ours}.depthwise", f"{out}.{place}", f"{out}.{place + 1}")
        place += 2
        if block.squeezed:
            squeeze = f"{out}.{place}.fc"
            parts += conv_norm(f"{ours}.se.reduce", f"{squeeze}.0", f"{squeeze}.1")
            parts.append(Part(f"{ours}.se.expand", f"{squeeze}.3", "conv"))
            place += 1
        place += 1  # ReLU6
        parts += conv_norm(f"{ours}.project", f"{out}.{place}", f"{out}.{place + 1}")
    head = len(setting.blocks) + 3
    parts += conv_norm("head", f"features.{head}", f"features.{head + 1}")
    if lite:
        parts.append(Part("neck.linear", "output.0", "conv-as-linear"))
        parts.append(Part("neck.norm", "output.1", "norm"))
    return (*parts, Part("classifier", f"output.{4 if lite else 1}", "conv-as-linear"))


def _paddle_names(width_mult: float, *, lite: bool = False) -> tuple[Part, ...] | None:
    """Name the layers as PaddleClas does, which follows the authors and has no ReXNet-lite."""
    return None if lite else _sequential_names(width_mult)


def _timm_names(width_mult: float, *, lite: bool = False) -> tuple[Part, ...] | None:
    """Name the layers as timm's ``rexnet_*`` do; it has no ReXNet-lite."""
    if lite:
        return None

    def conv_bn(ours: str, theirs: str) -> tuple[Part, Part]:
        return conv_norm(ours, f"{theirs}.conv", f"{theirs}.bn")

    setting = rexnet_setting(width_mult)
    parts = [*conv_bn("stem", "stem")]
    for index, block in enumerate(setting.blocks):
        ours, theirs = f"blocks.{index}", f"features.{index}"
        if block.expand:
            parts += conv_bn(f"{ours}.expand", f"{theirs}.conv_exp")
        parts += conv_bn(f"{ours}.depthwise", f"{theirs}.conv_dw")
        if block.squeezed:
            parts += conv_norm(f"{ours}.se.reduce", f"{theirs}.se.fc1", f"{theirs}.se.bn")
            parts.append(Part(f"{ours}.se.expand", f"{theirs}.se.fc2", "conv"))
        parts += conv_bn(f"{ours}.project", f"{theirs}.conv_pwl")
    parts += conv_bn("head", f"features.{len(setting.blocks)}")
    return (*parts, Part("classifier", "head.fc", "linear"))


FAMILY = family(
    rexnet,
    rexnet_setting,
    {PADDLE: _paddle_names, TIMM: _timm_names, CLOVAAI: _sequential_names},
)
