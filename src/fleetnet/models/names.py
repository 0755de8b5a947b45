"""The names of a network's layers here and in other projects that have the same network.

Importing this does not import PyTorch.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal, NamedTuple

Kind = Literal["conv", "norm", "linear", "conv-as-linear", "linear-as-conv"]


class Part(NamedTuple):
    """A layer: its name here and its name there."""

    ours: str
    theirs: str
    kind: Kind


@dataclass(frozen=True, eq=False)
class Source:
    """A project whose weights are read and written here.

    Attributes:
        name: the project's name for people.
        word: its name on the command line.
        norm_leaves: their names of a norm's tensors, if they differ from PyTorch's.
        transposes_linear: whether a linear layer's weight is ``[in, out]`` there.
        preprocess: how images are prepared for weights of unknown origin in this layout: a name
            in ``weights/published.toml``.
    """

    name: str
    word: str
    norm_leaves: Mapping[str, str] = field(default_factory=dict)
    transposes_linear: bool = False
    preprocess: str = "timm"


OWN = Source("Fleetnet", "fleetnet")
"""Our own names."""
PADDLE = Source(
    "PaddleClas",
    "paddle",
    norm_leaves={"running_mean": "_mean", "running_var": "_variance"},
    transposes_linear=True,
    preprocess="paddle",
)
TIMM = Source("timm", "timm")
TORCHVISION = Source("torchvision", "torchvision", preprocess="torchvision-v1")
CLOVAAI = Source("clovaai", "clovaai")


def conv_norm(ours: str, conv: str, norm: str) -> tuple[Part, Part]:
    """Return the two parts of one of our ``ConvNormAct`` layers."""
    return Part(f"{ours}.conv", conv, "conv"), Part(f"{ours}.norm", norm, "norm")


def own_conv_norm(name: str) -> tuple[Part, Part]:
    """Return the two parts of one of our ``ConvNormAct`` layers with our names for theirs."""
    return conv_norm(name, f"{name}.conv", f"{name}.norm")


def places(counts: Sequence[int], first: int = 0) -> tuple[tuple[int, int], ...]:
    """Number stages from ``first`` and the blocks in each from 0, for all blocks in order.

    Args:
        counts: how many blocks each stage has.
        first: number of the first stage.
    """
    stages = enumerate(counts, first)
    return tuple((stage, place) for stage, count in stages for place in range(count))


def efficientnet_names(repeats: Sequence[int]) -> tuple[Part, ...]:
    """Name a chain of inverted residuals as timm's builder of EfficientNets does.

    timm's MobileNetV2, MnasNet and EfficientNet-Lite are built by it. The first block has no
    expansion.

    Args:
        repeats: how many blocks each stage has.
    """
    parts = [*conv_norm("stem", "conv_stem", "bn1")]
    for index, (stage, repeat) in enumerate(places(repeats)):
        ours, theirs = f"blocks.{index}", f"blocks.{stage}.{repeat}"
        if index > 0:
            parts += conv_norm(f"{ours}.expand", f"{theirs}.conv_pw", f"{theirs}.bn1")
            parts += conv_norm(f"{ours}.depthwise", f"{theirs}.conv_dw", f"{theirs}.bn2")
            parts += conv_norm(f"{ours}.project", f"{theirs}.conv_pwl", f"{theirs}.bn3")
        else:
            parts += conv_norm(f"{ours}.depthwise", f"{theirs}.conv_dw", f"{theirs}.bn1")
            parts += conv_norm(f"{ours}.project", f"{theirs}.conv_pw", f"{theirs}.bn2")
    parts += conv_norm("head", "conv_head", "bn2")
    return (*parts, Part("classifier", "classifier", "linear"))
