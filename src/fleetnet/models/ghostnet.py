"""GhostNet (Han et al. 2020, https://arxiv.org/abs/1911.11907), in its two layouts.

``paddle`` is PaddleClas's: squeeze-and-excitation ends in a clip to 0 and 1, and the layer after
the pool has batch norm. ``timm``'s, its authors' network, has a hard sigmoid there, and a bias.
"""

from __future__ import annotations

from typing import Any, Literal, NamedTuple

import torch
from torch import Tensor, nn

from fleetnet.models.base import Family
from fleetnet.models.chain import Chain
from fleetnet.models.layers import (
    ConvNormAct,
    DropPath,
    HardSigmoid,
    HardSqueezeExcite,
    LinearNormAct,
    make_divisible,
)
from fleetnet.models.names import OWN, PADDLE, TIMM, Part, conv_norm, own_conv_norm, places

Layout = Literal["paddle", "timm"]


class Row(NamedTuple):
    """A row of the paper's Table 1: a bottleneck."""

    kernel_size: int
    hidden: int
    channels: int
    squeeze: bool
    stride: int


STEM, NECK, SQUEEZE_RATIO = 16, 1280, 4
TABLE = (
    Row(3, 16, 16, False, 1),
    Row(3, 48, 24, False, 2),
    Row(3, 72, 24, False, 1),
    Row(5, 72, 40, True, 2),
    Row(5, 120, 40, True, 1),
    Row(3, 240, 80, False, 2),
    Row(3, 200, 80, False, 1),
    Row(3, 184, 80, False, 1),
    Row(3, 184, 80, False, 1),
    Row(3, 480, 112, True, 1),
    Row(3, 672, 112, True, 1),
    Row(5, 672, 160, True, 2),
    Row(5, 960, 160, False, 1),
    Row(5, 960, 160, True, 1),
    Row(5, 960, 160, False, 1),
    Row(5, 960, 160, True, 1),
)


def scaled_table(width_mult: float) -> tuple[int, tuple[Row, ...], int]:
    """Return the channels of the stem, the rows and the channels of the head for a width."""

    def scaled(channels: int) -> int:
        return make_divisible(channels * width_mult, 4)

    rows = tuple(
        row._replace(hidden=scaled(row.hidden), channels=scaled(row.channels)) for row in TABLE
    )
    return scaled(STEM), rows, scaled(TABLE[-1].hidden)


class Ghost(nn.Module):
    """Half of the maps by a 1×1 convolution, and a "ghost" of each by a depthwise one (3.1).

    Maps ``float32[N, in_channels, H, W]`` to ``float32[N, channels, H, W]``.
    """

    def __init__(self, in_channels: int, channels: int, act: type[nn.Module] | None) -> None:
        super().__init__()
        half = channels // 2
        self.primary = ConvNormAct(in_channels, half, act=act)
        self.cheap = ConvNormAct(half, half, 3, groups=half, act=act)

    def forward(self, x: Tensor) -> Tensor:
        """Return the maps and their ghosts."""
        maps = self.primary(x)
        return torch.cat((maps, self.cheap(maps)), 1)


class GhostBottleneck(nn.Module):
    """Two ghost modules, a depthwise convolution between them where the sides are halved (3.2).

    Maps ``float32[N, in_channels, H, W]`` to ``float32[N, C, H/stride, W/stride]``.

    Args:
        in_channels: channels of the input.
        row: the table's row.
        squeezed: channels in squeeze-and-excitation, 0 for none.
        gate: its last activation.
        drop_path: probability of dropping the residual branch in training.
    """

    def __init__(
        self, in_channels: int, row: Row, *, squeezed: int, gate: nn.Module, drop_path: float
    ) -> None:
        super().__init__()
        hidden = row.hidden
        self.expand = Ghost(in_channels, hidden, nn.ReLU)
        self.depthwise: nn.Module = nn.Identity()
        if row.stride > 1:
            self.depthwise = ConvNormAct(
                hidden, hidden, row.kernel_size, stride=row.stride, groups=hidden
            )
        self.se: nn.Module = nn.Identity()
        if squeezed:
            self.se = HardSqueezeExcite(hidden, squeezed, gate)
        self.project = Ghost(hidden, row.channels, None)
        self.shortcut = _Shortcut(in_channels, row) if _has_shortcut(in_channels, row) else None
        self.drop_path = DropPath(drop_path)
        self.composed_of = tuple(name for name in _layers(in_channels, row) if name != "se")

    def forward(self, x: Tensor) -> Tensor:
        """Return the block's output."""
        y: Tensor = self.drop_path(self.project(self.se(self.depthwise(self.expand(x)))))
        return y + (x if self.shortcut is None else self.shortcut(x))

    def zero_residual(self) -> None:
        """Start as only the shortcut: the last batch norms get zeros for their weights."""
        for layer in (self.project.primary, self.project.cheap):
            nn.init.zeros_(layer.norm.weight)


class _Shortcut(nn.Module):
    """Depthwise and 1×1 convolution, where the input does not fit the output."""

    def __init__(self, in_channels: int, row: Row) -> None:
        super().__init__()
        self.depthwise = ConvNormAct(
            in_channels, in_channels, row.kernel_size, stride=row.stride, groups=in_channels
        )
        self.project = ConvNormAct(in_channels, row.channels)

    def forward(self, x: Tensor) -> Tensor:
        """Return the input in the shape of the output."""
        y: Tensor = self.project(self.depthwise(x))
        return y


def _has_shortcut(in_channels: int, row: Row) -> bool:
    return row.stride > 1 or in_channels != row.channels


def _layers(in_channels: int, row: Row) -> tuple[str, ...]:
    """Name a block's layers, in the order they run."""
    layers = ["expand.primary", "expand.cheap"]
    layers += ["depthwise"] if row.stride > 1 else []
    layers += ["se"] if row.squeeze else []
    layers += ["project.primary", "project.cheap"]
    shortcut = _has_shortcut(in_channels, row)
    return (*layers, *(["shortcut.depthwise", "shortcut.project"] if shortcut else []))


class GhostNet(Chain):
    """A chain of ghost bottlenecks.

    Args:
        num_classes: length of the logits.
        width_mult: factor on every channel count but the neck's.
        layout: the project whose network it is.
        in_channels: channels of the images, 3 for RGB.
        dropout: probability of dropping an input of the classifier in training.
        drop_path: probability of dropping the residual branch in training, in the last block; it
            grows from 0.
    """

    def __init__(
        self,
        num_classes: int = 1000,
        *,
        width_mult: float = 1.0,
        layout: Layout = "paddle",
        in_channels: int = 3,
        dropout: float = 0.2,
        drop_path: float = 0.0,
    ) -> None:
        channels, rows, head = scaled_table(width_mult)
        paddle = layout == "paddle"
        stem = ConvNormAct(in_channels, channels, 3, stride=2, act=nn.ReLU)
        blocks = nn.Sequential()
        for index, row in enumerate(rows):
            block = GhostBottleneck(
                channels,
                row,
                squeezed=_squeezed(row, layout),
                gate=nn.Hardtanh(0.0, 1.0) if paddle else HardSigmoid(),
                drop_path=drop_path * index / (len(rows) - 1),
            )
            blocks.append(block)
            channels = row.channels
        super().__init__(
            stem,
            blocks,
            num_classes,
            num_features=head,
            head=ConvNormAct(channels, head, act=nn.ReLU),
            neck=LinearNormAct(head, NECK, act=nn.ReLU, bias=not paddle, norm=paddle),
            neck_width=NECK,
            dropout=dropout,
        )


def _squeezed(row: Row, layout: Layout) -> int:
    if not row.squeeze:
        return 0
    return row.hidden // SQUEEZE_RATIO if layout == "paddle" else make_divisible(row.hidden / 4, 4)


def _own_names(width_mult: float = 1.0, layout: Layout = "paddle") -> tuple[Part, ...]:
    channels, rows, _ = scaled_table(width_mult)
    parts = [*own_conv_norm("stem")]
    for index, row in enumerate(rows):
        for layer in _layers(channels, row):
            name = f"blocks.{index}.{layer}"
            if layer == "se":
                layers = (f"{name}.reduce.conv", f"{name}.expand.conv")
                parts += [Part(conv, conv, "conv") for conv in layers]
            else:
                parts += own_conv_norm(name)
        channels = row.channels
    parts += [*own_conv_norm("head"), Part("neck.linear", "neck.linear", "linear")]
    if layout == "paddle":
        parts.append(Part("neck.norm", "neck.norm", "norm"))
    return (*parts, Part("classifier", "classifier", "linear"))


def _paddle_names(width_mult: float = 1.0, layout: Layout = "paddle") -> tuple[Part, ...] | None:
    """Name the layers as PaddleClas 2.6 does (``ppcls/arch/backbone/model_zoo``)."""
    if layout != "paddle":
        return None

    def named(ours: str, theirs: str) -> tuple[Part, Part]:
        return conv_norm(ours, f"{theirs}._conv", f"{theirs}._batch_norm")

    channels, rows, _ = scaled_table(width_mult)
    parts = [*named("stem", "conv1")]
    for index, row in enumerate(rows):
        ours, theirs = f"blocks.{index}", f"_ghostbottleneck_{index}"
        for layer in _layers(channels, row):
            if layer == "se":
                reduce, expand = f"{ours}.se.reduce.conv", f"{ours}.se.expand.conv"
                parts.append(Part(reduce, f"{theirs}.se_block.squeeze", "linear-as-conv"))
                parts.append(Part(expand, f"{theirs}.se_block.excitation", "linear-as-conv"))
            else:
                parts += named(f"{ours}.{layer}", f"{theirs}.{_PADDLE[layer]}")
        channels = row.channels
    parts += named("head", "conv_last")
    parts.append(Part("neck.linear", "fc_0._conv", "conv-as-linear"))
    parts.append(Part("neck.norm", "fc_0._batch_norm", "norm"))
    return (*parts, Part("classifier", "fc_1", "linear"))


_PADDLE = {
    "expand.primary": "ghost_module_1.primary_conv",
    "expand.cheap": "ghost_module_1.cheap_operation",
    "depthwise": "depthwise_conv",
    "project.primary": "ghost_module_2.primary_conv",
    "project.cheap": "ghost_module_2.cheap_operation",
    "shortcut.depthwise": "shortcut_depthwise",
    "shortcut.project": "shortcut_conv",
}


def _timm_names(width_mult: float = 1.0, layout: Layout = "paddle") -> tuple[Part, ...] | None:
    """Name the layers as timm's ``ghostnet_*`` do."""
    if layout != "timm":
        return None
    channels, rows, _ = scaled_table(width_mult)
    parts = [*conv_norm("stem", "conv_stem", "bn1")]
    for index, (row, (stage, place)) in enumerate(zip(rows, places(_COUNTS), strict=True)):
        ours, theirs = f"blocks.{index}", f"blocks.{stage}.{place}"
        for layer in _layers(channels, row):
            if layer == "se":
                reduce, expand = f"{ours}.se.reduce.conv", f"{ours}.se.expand.conv"
                parts.append(Part(reduce, f"{theirs}.se.conv_reduce", "conv"))
                parts.append(Part(expand, f"{theirs}.se.conv_expand", "conv"))
            else:
                conv, norm = _TIMM[layer]
                parts += conv_norm(f"{ours}.{layer}", f"{theirs}.{conv}", f"{theirs}.{norm}")
        channels = row.channels
    parts += conv_norm("head", f"blocks.{len(_COUNTS)}.0.conv", f"blocks.{len(_COUNTS)}.0.bn1")
    parts.append(Part("neck.linear", "conv_head", "conv-as-linear"))
    return (*parts, Part("classifier", "classifier", "linear"))


_COUNTS = (1, 1, 1, 1, 1, 1, 5, 1, 4)
_TIMM = {
    "expand.primary": ("ghost1.primary_conv.0", "ghost1.primary_conv.1"),
    "expand.cheap": ("ghost1.cheap_operation.0", "ghost1.cheap_operation.1"),
    "depthwise": ("conv_dw", "bn_dw"),
    "project.primary": ("ghost2.primary_conv.0", "ghost2.primary_conv.1"),
    "project.cheap": ("ghost2.cheap_operation.0", "ghost2.cheap_operation.1"),
    "shortcut.depthwise": ("shortcut.0", "shortcut.1"),
    "shortcut.project": ("shortcut.2", "shortcut.3"),
}


def _widths(width_mult: float = 1.0, **_: Any) -> dict[str, int]:
    stem, rows, head = scaled_table(width_mult)
    named = {
        f"blocks.{index}.project.primary.conv": row.channels // 2 for index, row in enumerate(rows)
    }
    return {"stem.conv": stem, **named, "head.conv": head}


FAMILY = Family(
    build=GhostNet,
    names={OWN: _own_names, PADDLE: _paddle_names, TIMM: _timm_names},
    widths=_widths,
    input_layer=GhostNet.input_layer,
    classifier_layer=GhostNet.classifier_layer,
)
