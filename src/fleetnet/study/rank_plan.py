"""Which random networks are measured: the same ones wherever a study begins again."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from typing import Literal, NamedTuple

from pydantic import BaseModel, ConfigDict, Field

from fleetnet.study.random_blocks import BLOCKS

RATIOS = tuple(step / 10 for step in range(1, 11))
POINTS = tuple((block, ratio) for block in BLOCKS for ratio in RATIOS)
LARGEST_BATCH = 8
THRESHOLDS = (0.1, 0.03, 0.01, 0.001)
LEAST_CHANNELS, MOST_CHANNELS = 16, 64
"""Of the output. They are drawn for each batch, the same ones at every point of the plots."""


class RankSettings(BaseModel):
    """What determines a study.

    Attributes:
        networks: how many random networks, over all blocks and ratios.
        seed: of the drawing.
        thresholds: of the numerical rank.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    study: Literal["rank"] = "rank"
    version: Literal[1] = 1
    networks: int = Field(ge=len(POINTS), le=10_000_000)
    seed: int = Field(ge=0, lt=2**63)
    thresholds: tuple[float, ...] = THRESHOLDS


class Batch(NamedTuple):
    """Networks of one shape that are measured at once.

    Attributes:
        block: its name.
        ratio: of the input's channels to the output's.
        number: of the batch among those of this block and ratio.
        networks: how many.
        outputs: channels of the output.
        seed: of the weights and images.
    """

    block: str
    ratio: float
    number: int
    networks: int
    outputs: int
    seed: int

    @property
    def inputs(self) -> int:
        """Channels of the input."""
        return max(round(self.ratio * self.outputs), 1)

    @property
    def key(self) -> tuple[str, float, int]:
        """What distinguishes the batch from the others of a study."""
        return self.block, self.ratio, self.number


def batches(settings: RankSettings) -> Iterator[Batch]:
    """Yield the batches so that the points of the plots fill evenly.

    What a batch draws follows only from the seed and its own place, not from those before it.
    Batches of one number have outputs of one width, so that points differ by nothing else.
    """
    each, rest = divmod(settings.networks, len(POINTS))
    left = {point: each + (place < rest) for place, point in enumerate(POINTS)}
    number = 0
    while any(left.values()):
        for block, ratio in POINTS:
            networks = min(left[block, ratio], LARGEST_BATCH)
            if networks:
                left[block, ratio] -= networks
                yield _batch(settings.seed, block, ratio, number, networks)
        number += 1


def _batch(seed: int, block: str, ratio: float, number: int, networks: int) -> Batch:
    outputs = LEAST_CHANNELS + _drawn(seed, number) % (MOST_CHANNELS - LEAST_CHANNELS + 1)
    return Batch(block, ratio, number, networks, outputs, _drawn(seed, block, ratio, number))


def _drawn(*place: object) -> int:
    """Return a number that looks random, and is always the same for a place."""
    text = "/".join(map(str, place))
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "big") >> 1
