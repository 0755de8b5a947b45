"""Shapes of channels over the blocks of a network: how wide each is beside the others."""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from fleetnet.models.mobilenetv2 import STAGES
from fleetnet.models.rexnet import channel_ramp

BLOCKS = sum(stage.repeats for stage in STAGES)
"""Strides and depth are MobileNetV2's throughout: only the channels differ."""
REFERENCE = "reference"
"""The kind of shapes that nobody drew."""
_LEAST = 0.02
"""Of the first block's channels, as a share of the last one's."""


class Shape(NamedTuple):
    """A shape of channels.

    Attributes:
        name: in tables.
        kind: ``linear``, ``piecewise``, ``stages``, or ``reference``.
        widths: relative, one for each block; they never fall.
    """

    name: str
    kind: str
    widths: tuple[float, ...]


def references() -> tuple[Shape, ...]:
    """Return MobileNetV2's stages and ReXNet's ramp, which goes on in its step to 17 blocks."""
    stages = [float(stage.channels) for stage in STAGES for _ in range(stage.repeats)]
    ramp = channel_ramp(1.0)
    line = np.linspace(ramp[0], ramp[0] + (ramp[-1] - ramp[0]) / (len(ramp) - 1) * (BLOCKS - 1),
                       BLOCKS)  # fmt: skip
    return (
        Shape("MobileNetV2", REFERENCE, tuple(stages)),
        Shape("ReXNet ramp", REFERENCE, tuple(map(float, line))),
    )


def random_shapes(networks: int, seed: int) -> tuple[Shape, ...]:
    """Return shapes of all kinds in turn."""
    dice = random.Random(seed)  # noqa: S311 - not a secret
    kinds = list(_KINDS.items())
    drawn = []
    for number in range(networks):
        kind, draw = kinds[number % len(kinds)]
        drawn.append(Shape(f"{kind} {number // len(kinds) + 1}", kind, draw(dice)))
    return tuple(drawn)


def _linear(dice: random.Random) -> tuple[float, ...]:
    return _through([0, BLOCKS - 1], [dice.uniform(_LEAST, 1.0), 1.0])


def _piecewise(dice: random.Random) -> tuple[float, ...]:
    """Draw two or three lines that meet."""
    knees = dice.randint(1, 2)
    places = sorted(dice.sample(range(2, BLOCKS - 2), knees))
    heights = sorted(dice.uniform(_LEAST, 1.0) for _ in range(knees + 1))
    return _through([0, *places, BLOCKS - 1], [*heights, 1.0])


def _stages(dice: random.Random) -> tuple[float, ...]:
    """Draw a width for each stage, evenly on a logarithmic scale as people choose them."""
    heights = sorted(_LEAST ** dice.uniform(0.0, 1.0) for _ in STAGES[1:])
    heights = [*heights, 1.0]
    return tuple(
        height for stage, height in zip(STAGES, heights, strict=True) for _ in range(stage.repeats)
    )


_KINDS: dict[str, Callable[[random.Random], tuple[float, ...]]] = {
    "linear": _linear,
    "piecewise": _piecewise,
    "stages": _stages,
}


def _through(places: list[int], heights: list[float]) -> tuple[float, ...]:
    """Return the line through points, at every block."""
    return tuple(map(float, np.interp(range(BLOCKS), places, heights)))
