"""ShuffleNetV2 (Ma et al. 2018, https://arxiv.org/abs/1807.11164), with ReLU or with swish.

PaddleClas and torchvision have the same network. Its two forms have the same weights, by which
nobody can tell one from the other: our blocks of the second have a name of their own.
"""

from __future__ import annotations

from typing import Any, Literal, NamedTuple

import torch
from torch import Tensor, nn

from fleetnet.models.base import Family
from fleetnet.models.chain import Chain
from fleetnet.models.layers import ConvNormAct, DropPath
from fleetnet.models.names import OWN, PADDLE, TORCHVISION, Part, conv_norm, own_conv_norm, places

Act = Literal["relu", "swish"]
ACTS: dict[Act, type[nn.Module]] = {"relu": nn.ReLU, "swish": nn.SiLU}


class Widths(NamedTuple):
    """A column of the paper's Table 5: channels of the three stages and of the last convolution."""

    stages: tuple[int, int, int]
    head: int


STEM = 24
REPEATS = (4, 8, 4)
WIDTHS = {
    0.25: Widths((24, 48, 96), 512),  # the first two are PaddleClas's
    0.33: Widths((32, 64, 128), 512),
    0.5: Widths((48, 96, 192), 1024),
    1.0: Widths((116, 232, 464), 1024),
    1.5: Widths((176, 352, 704), 1024),
    2.0: Widths((244, 488, 976), 2048),
}


def interleave(one: Tensor, other: Tensor) -> Tensor:
    """Return the channels of two maps in turn, ``float32[N, 2C, H, W]``.

    That is the paper's channel shuffle of their concatenation, in one copy instead of two.
    """
    return torch.stack((one, other), 2).flatten(1, 2)


class Branch(nn.Module):
    """1×1, depthwise, 1×1: the side of a unit that computes (Figure 3c and d).

    Maps ``float32[N, in_channels, H, W]`` to ``float32[N, channels, H/stride, W/stride]``.
    """

    def __init__(self, in_channels: int, channels: int, stride: int, act: type[nn.Module]) -> None:
        super().__init__()
        self.expand = ConvNormAct(in_channels, channels, act=act)
        self.depthwise = ConvNormAct(channels, channels, 3, stride=stride, groups=channels)
        self.project = ConvNormAct(channels, channels, act=act)

    def forward(self, x: Tensor) -> Tensor:
        """Return the branch's output."""
        y: Tensor = self.project(self.depthwise(self.expand(x)))
        return y


class Unit(nn.Module):
    """Compute on half of the channels, keep the other half, and interleave them (Figure 3c).

    Maps ``float32[N, channels, H, W]`` to the same shape.
    """

    composed_of = ("branch.expand", "branch.depthwise", "branch.project")

    def __init__(self, channels: int, act: type[nn.Module], drop_path: float) -> None:
        super().__init__()
        self.branch = Branch(channels // 2, channels // 2, 1, act)
        self.drop_path = DropPath(drop_path)

    def forward(self, x: Tensor) -> Tensor:
        """Return the unit's output."""
        kept, other = x.chunk(2, 1)
        return interleave(kept, self.drop_path(self.branch(other)))


class DownUnit(nn.Module):
    """Halve the sides by two branches that both compute on all channels (Figure 3d).

    Maps ``float32[N, in_channels, H, W]`` to ``float32[N, channels, H/2, W/2]``.
    """

    composed_of = (
        "depthwise",
        "project",
        "branch.expand",
        "branch.depthwise",
        "branch.project",
    )

    def __init__(self, in_channels: int, channels: int, act: type[nn.Module]) -> None:
        super().__init__()
        self.depthwise = ConvNormAct(in_channels, in_channels, 3, stride=2, groups=in_channels)
        self.project = ConvNormAct(in_channels, channels // 2, act=act)
        self.branch = Branch(in_channels, channels // 2, 2, act)

    def forward(self, x: Tensor) -> Tensor:
        """Return the unit's output."""
        return interleave(self.project(self.depthwise(x)), self.branch(x))


class ShuffleNetV2(Chain):
    """Three stages of units.

    Args:
        num_classes: length of the logits.
        width_mult: a column of the paper's Table 5, or of PaddleClas's.
        act: the activation after every 1×1 convolution.
        in_channels: channels of the images, 3 for RGB.
        dropout: probability of dropping an input of the classifier in training.
        drop_path: probability of dropping a unit's branch in training, in the last unit; it grows
            from 0.
    """

    def __init__(
        self,
        num_classes: int = 1000,
        *,
        width_mult: float = 1.0,
        act: Act = "relu",
        in_channels: int = 3,
        dropout: float = 0.0,
        drop_path: float = 0.0,
    ) -> None:
        layer, widths = ACTS[act], WIDTHS[width_mult]
        stem = ConvNormAct(in_channels, STEM, 3, stride=2, act=layer)
        blocks, channels, count = nn.Sequential(), STEM, sum(REPEATS)
        for width, repeat in zip(widths.stages, REPEATS, strict=True):
            blocks.append(DownUnit(channels, width, layer))
            for _ in range(repeat - 1):
                blocks.append(Unit(width, layer, drop_path * len(blocks) / (count - 1)))
            channels = width
        super().__init__(
            stem,
            blocks,
            num_classes,
            num_features=widths.head,
            head=ConvNormAct(channels, widths.head, act=layer),
            dropout=dropout,
            block_names=[f"{_blocks(act)}.{index}" for index in range(count)],
        )
        self.shrink = nn.MaxPool2d(3, 2, 1)

    def after_stem(self, x: Tensor) -> Tensor:
        """Halve the sides of what the stem gives by the largest of 3×3."""
        shrunk: Tensor = self.shrink(x)
        return shrunk


def _blocks(act: Act) -> str:
    return "blocks" if act == "relu" else f"{act}_blocks"


def _own_names(act: Act = "relu", **_: Any) -> tuple[Part, ...]:
    layers = ["stem"]
    for index, (_stage, place) in enumerate(_PLACES):
        parts = Unit.composed_of if place else DownUnit.composed_of
        layers += [f"{_blocks(act)}.{index}.{part}" for part in parts]
    names = [part for name in (*layers, "head") for part in own_conv_norm(name)]
    return (*names, Part("classifier", "classifier", "linear"))


_PLACES = places(REPEATS, first=2)
"""The stage of every unit, as other projects count them, and its place there."""


def _paddle_names(act: Act = "relu", **_: Any) -> tuple[Part, ...]:
    """Name the layers as PaddleClas 2.6 does (``ppcls/arch/backbone/model_zoo``)."""

    def named(ours: str, theirs: str) -> tuple[Part, Part]:
        return conv_norm(ours, f"{theirs}._conv", f"{theirs}._batch_norm")

    parts = [*named("stem", "_conv1")]
    for index, (stage, place) in enumerate(_PLACES):
        ours, theirs = f"{_blocks(act)}.{index}", f"{stage}_{place + 1}"
        end = "" if place else "_2"
        if not place:
            parts += named(f"{ours}.depthwise", f"{theirs}._conv_dw_1")
            parts += named(f"{ours}.project", f"{theirs}._conv_linear_1")
        parts += named(f"{ours}.branch.expand", f"{theirs}._conv_pw{end}")
        parts += named(f"{ours}.branch.depthwise", f"{theirs}._conv_dw{end}")
        parts += named(f"{ours}.branch.project", f"{theirs}._conv_linear{end}")
    parts += named("head", "_last_conv")
    return (*parts, Part("classifier", "_fc", "linear"))


def _torchvision_names(
    width_mult: float = 1.0, act: Act = "relu", **_: Any
) -> tuple[Part, ...] | None:
    """Name the layers as torchvision's ``shufflenet_v2_*`` do."""
    if act != "relu" or width_mult < 0.5:
        return None
    parts = [*conv_norm("stem", "conv1.0", "conv1.1")]
    for index, (stage, place) in enumerate(_PLACES):
        ours, theirs = f"{_blocks(act)}.{index}", f"stage{stage}.{place}"
        if not place:
            parts += conv_norm(f"{ours}.depthwise", f"{theirs}.branch1.0", f"{theirs}.branch1.1")
            parts += conv_norm(f"{ours}.project", f"{theirs}.branch1.2", f"{theirs}.branch1.3")
        for part, (conv, norm) in _BRANCH.items():
            names = (f"{theirs}.branch2.{conv}", f"{theirs}.branch2.{norm}")
            parts += conv_norm(f"{ours}.branch.{part}", *names)
    parts += conv_norm("head", "conv5.0", "conv5.1")
    return (*parts, Part("classifier", "fc", "linear"))


_BRANCH = {"expand": (0, 1), "depthwise": (3, 4), "project": (5, 6)}


def _widths(width_mult: float = 1.0, act: Act = "relu", **_: Any) -> dict[str, int]:
    widths = WIDTHS[width_mult]
    starts = [index for index, (_stage, place) in enumerate(_PLACES) if place == 0]
    named = {
        f"{_blocks(act)}.{index}.branch.project.conv": width // 2
        for index, width in zip(starts, widths.stages, strict=True)
    }
    return {**named, "head.conv": widths.head}


FAMILY = Family(
    build=ShuffleNetV2,
    names={OWN: _own_names, PADDLE: _paddle_names, TORCHVISION: _torchvision_names},
    widths=_widths,
    input_layer=ShuffleNetV2.input_layer,
    classifier_layer=ShuffleNetV2.classifier_layer,
)
