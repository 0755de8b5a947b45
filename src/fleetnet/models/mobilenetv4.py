"""MobileNetV4's convolutional networks (Qin et al. 2024, https://arxiv.org/abs/2404.10518).

The universal inverted bottleneck has two depthwise convolutions, one before the expansion and one
after it, either of which may be absent: with the second alone it is MobileNetV2's block, with the
first alone ConvNeXt's, with none a feed-forward network, with both "extra depthwise". The paper's
tables say which is where. PaddleClas and timm have the same networks.
"""

from __future__ import annotations

from typing import Literal, NamedTuple

from torch import Tensor, nn

from fleetnet.models.base import Family, Rounded
from fleetnet.models.chain import Chain
from fleetnet.models.layers import (
    ConvNormAct,
    DropPath,
    LinearNormAct,
    make_divisible,
    widen_depthwise,
)
from fleetnet.models.names import OWN, PADDLE, TIMM, Part, conv_norm, own_conv_norm, places

Size = Literal["small", "medium", "large"]


class Conv(NamedTuple):
    """A row that is a convolution."""

    kernel_size: int
    channels: int
    stride: int = 1


class Fused(NamedTuple):
    """A row whose expansion is a convolution of several pixels, with no depthwise one (fused)."""

    kernel_size: int
    channels: int
    expand_ratio: float
    stride: int = 1


class Universal(NamedTuple):
    """A row that is a universal inverted bottleneck; a kernel of 0 is absent."""

    before: int
    """Kernel of the depthwise convolution before the expansion."""
    after: int
    """Kernel of the one after it, which has the stride."""
    channels: int
    expand_ratio: float
    stride: int = 1


Row = Conv | Fused | Universal
HEAD = Conv(1, 960)
NECK = 1280
STEMS: dict[Size, int] = {"small": 32, "medium": 32, "large": 24}
TABLES: dict[Size, tuple[tuple[Row, ...], ...]] = {
    # By stages, as PaddleClas and timm have them.
    "small": (
        (Conv(3, 32, 2), Conv(1, 32)),
        (Conv(3, 96, 2), Conv(1, 64)),
        (
            Universal(5, 5, 96, 3, 2),
            *[Universal(0, 3, 96, 2)] * 4,
            Universal(3, 0, 96, 4),
        ),
        (
            Universal(3, 3, 128, 6, 2),
            Universal(5, 5, 128, 4),
            Universal(0, 5, 128, 4),
            Universal(0, 5, 128, 3),
            *[Universal(0, 3, 128, 4)] * 2,
        ),
        (HEAD,),
    ),
    "medium": (
        (Fused(3, 48, 4, 2),),
        (Universal(3, 5, 80, 4, 2), Universal(3, 3, 80, 2)),
        (
            Universal(3, 5, 160, 6, 2),
            *[Universal(3, 3, 160, 4)] * 2,
            Universal(3, 5, 160, 4),
            Universal(3, 3, 160, 4),
            Universal(3, 0, 160, 4),
            Universal(0, 0, 160, 2),
            Universal(3, 0, 160, 4),
        ),
        (
            Universal(5, 5, 256, 6, 2),
            Universal(5, 5, 256, 4),
            *[Universal(3, 5, 256, 4)] * 2,
            Universal(0, 0, 256, 4),
            Universal(3, 0, 256, 4),
            Universal(3, 5, 256, 2),
            Universal(5, 5, 256, 4),
            *[Universal(0, 0, 256, 4)] * 2,
            Universal(5, 0, 256, 2),
        ),
        (HEAD,),
    ),
    "large": (
        (Fused(3, 48, 4, 2),),
        (Universal(3, 5, 96, 4, 2), Universal(3, 3, 96, 4)),
        (
            Universal(3, 5, 192, 4, 2),
            *[Universal(3, 3, 192, 4)] * 3,
            Universal(3, 5, 192, 4),
            *[Universal(5, 3, 192, 4)] * 5,
            Universal(3, 0, 192, 4),
        ),
        (
            Universal(5, 5, 512, 4, 2),
            *[Universal(5, 5, 512, 4)] * 3,
            Universal(5, 0, 512, 4),
            Universal(5, 3, 512, 4),
            *[Universal(5, 0, 512, 4)] * 2,
            Universal(5, 3, 512, 4),
            Universal(5, 5, 512, 4),
            *[Universal(5, 0, 512, 4)] * 3,
        ),
        (HEAD,),
    ),
}
RELU = nn.ReLU


class FusedBottleneck(nn.Module):
    """Expand by a convolution of several pixels and project by 1×1.

    Maps ``float32[N, in_channels, H, W]`` to ``float32[N, C, H/stride, W/stride]``. None of the
    tables' has a shortcut.
    """

    composed_of = ("expand", "project")

    def __init__(self, in_channels: int, row: Fused) -> None:
        super().__init__()
        hidden = make_divisible(in_channels * row.expand_ratio, 8)
        self.expand = ConvNormAct(in_channels, hidden, row.kernel_size, stride=row.stride, act=RELU)
        self.project = ConvNormAct(hidden, row.channels)

    def forward(self, x: Tensor) -> Tensor:
        """Return the block's output."""
        y: Tensor = self.project(self.expand(x))
        return y

    def widen(self, in_channels: int, rounded: Rounded) -> int:
        """Widen the weights with zeros, see :class:`fleetnet.models.base.Widening`."""
        return self.project.widen(self.expand.widen(in_channels, rounded), rounded)


class UniversalBottleneck(nn.Module):
    """Filter depthwise, expand by 1×1, filter depthwise, project, and add the input if it fits.

    Maps ``float32[N, in_channels, H, W]`` to ``float32[N, C, H/stride, W/stride]``.

    Args:
        in_channels: channels of the input.
        row: the table's row.
        drop_path: probability of dropping the residual branch in training.
    """

    composed_of = ("before", "expand", "after", "project")

    def __init__(self, in_channels: int, row: Universal, drop_path: float) -> None:
        super().__init__()
        hidden = make_divisible(in_channels * row.expand_ratio, 8)
        self.shortcut = row.stride == 1 and in_channels == row.channels
        self.before: nn.Module = nn.Identity()
        if row.before:
            self.before = ConvNormAct(in_channels, in_channels, row.before, groups=in_channels)
        self.expand = ConvNormAct(in_channels, hidden, act=RELU)
        self.after: nn.Module = nn.Identity()
        if row.after:
            self.after = ConvNormAct(
                hidden, hidden, row.after, stride=row.stride, groups=hidden, act=RELU
            )
        self.project = ConvNormAct(hidden, row.channels)
        self.drop_path = DropPath(drop_path)

    def forward(self, x: Tensor) -> Tensor:
        """Return the block's output."""
        y: Tensor = self.project(self.after(self.expand(self.before(x))))
        return x + self.drop_path(y) if self.shortcut else y

    def zero_residual(self) -> None:
        """Start as only the shortcut: the last batch norm gets zeros for its weight."""
        if self.shortcut:
            nn.init.zeros_(self.project.norm.weight)

    def widen(self, in_channels: int, rounded: Rounded) -> int:
        """Widen the weights with zeros, see :class:`fleetnet.models.base.Widening`."""
        if isinstance(self.before, ConvNormAct):
            widen_depthwise(self.before.conv, in_channels)
        hidden = self.expand.widen(in_channels, rounded)
        if isinstance(self.after, ConvNormAct):
            widen_depthwise(self.after.conv, hidden)
        return self.project.widen(hidden, rounded)


def _block(in_channels: int, row: Row, drop_path: float) -> nn.Module:
    if isinstance(row, Conv):
        return ConvNormAct(in_channels, row.channels, row.kernel_size, stride=row.stride, act=RELU)
    if isinstance(row, Fused):
        return FusedBottleneck(in_channels, row)
    return UniversalBottleneck(in_channels, row, drop_path)


def _rows(size: Size) -> tuple[Row, ...]:
    return tuple(row for stage in TABLES[size] for row in stage)


class MobileNetV4(Chain):
    """The blocks of a table, and a layer after the pool.

    Args:
        num_classes: length of the logits.
        size: which of the tables.
        in_channels: channels of the images, 3 for RGB.
        dropout: probability of dropping an input of the classifier in training.
        drop_path: stochastic depth of the last block; earlier ones grow linearly to it from 0.
    """

    def __init__(
        self,
        num_classes: int = 1000,
        *,
        size: Size = "small",
        in_channels: int = 3,
        dropout: float = 0.0,
        drop_path: float = 0.0,
    ) -> None:
        rows, channels = _rows(size), STEMS[size]
        stem = ConvNormAct(in_channels, channels, 3, stride=2, act=RELU)
        blocks = nn.Sequential()
        for index, row in enumerate(rows):
            blocks.append(_block(channels, row, drop_path * index / (len(rows) - 1)))
            channels = row.channels
        super().__init__(
            stem,
            blocks,
            num_classes,
            num_features=channels,
            neck=LinearNormAct(channels, NECK, act=RELU, bias=False),
            neck_width=NECK,
            dropout=dropout,
        )


def _layers(row: Row) -> tuple[str, ...]:
    """Return the names here of the convolutions of a row, in the order they run."""
    if isinstance(row, Conv):
        return ("",)
    if isinstance(row, Fused):
        return (".expand", ".project")
    before, after = row.before and ".before", row.after and ".after"
    return tuple(layer for layer in (before, ".expand", after, ".project") if layer)


def _own_names(size: Size) -> tuple[Part, ...]:
    blocks = [f"blocks.{n}{layer}" for n, row in enumerate(_rows(size)) for layer in _layers(row)]
    return (
        *(part for name in ("stem", *blocks) for part in own_conv_norm(name)),
        Part("neck.linear", "neck.linear", "linear"),
        Part("neck.norm", "neck.norm", "norm"),
        Part("classifier", "classifier", "linear"),
    )


_UNIVERSAL = {".before": "dw_start", ".expand": "pw_exp", ".after": "dw_mid", ".project": "pw_proj"}


def _paddle_names(size: Size) -> tuple[Part, ...]:
    """Name the layers as PaddleClas 2.6 does (``ppcls/arch/backbone/legendary_models``)."""
    fused = {".expand": "conv_exp", ".project": "conv_pwl"}
    parts = [*conv_norm("stem", "conv_stem.conv", "conv_stem.bn")]
    for index, row in enumerate(_rows(size)):
        words = fused if isinstance(row, Fused) else _UNIVERSAL
        for layer in _layers(row):
            name = f"blocks.{index}"
            theirs = f"{name}.{words[layer]}" if layer else name
            parts += conv_norm(f"{name}{layer}", f"{theirs}.conv", f"{theirs}.bn")
    return (
        *parts,
        Part("neck.linear", "conv_head.conv", "conv-as-linear"),
        Part("neck.norm", "conv_head.bn", "norm"),
        Part("classifier", "classifier", "linear"),
    )


def _timm_names(size: Size) -> tuple[Part, ...]:
    """Name the layers as timm's ``mobilenetv4_conv_*`` do, which number blocks within stages."""
    fused = {".expand": ("conv_exp", "bn1"), ".project": ("conv_pwl", "bn2")}
    parts = [*conv_norm("stem", "conv_stem", "bn1")]
    found = zip(places([len(rows) for rows in TABLES[size]]), _rows(size), strict=True)
    for index, ((stage, place), row) in enumerate(found):
        theirs = f"blocks.{stage}.{place}"
        for layer in _layers(row):
            conv, norm = ("conv", "bn1") if isinstance(row, Conv) else fused.get(layer, ("", ""))
            if isinstance(row, Universal):
                conv, norm = (f"{_UNIVERSAL[layer]}.{leaf}" for leaf in ("conv", "bn"))
            parts += conv_norm(f"blocks.{index}{layer}", f"{theirs}.{conv}", f"{theirs}.{norm}")
    return (
        *parts,
        Part("neck.linear", "conv_head", "conv-as-linear"),
        Part("neck.norm", "norm_head", "norm"),
        Part("classifier", "classifier", "linear"),
    )


def _widths(size: Size) -> dict[str, int]:
    last = {f"blocks.{n}{_layers(row)[-1]}.conv": row.channels for n, row in enumerate(_rows(size))}
    return {"stem.conv": STEMS[size], **last}


FAMILY = Family(
    build=MobileNetV4,
    names={OWN: _own_names, PADDLE: _paddle_names, TIMM: _timm_names},
    widths=_widths,
    input_layer=MobileNetV4.input_layer,
    classifier_layer=MobileNetV4.classifier_layer,
)
