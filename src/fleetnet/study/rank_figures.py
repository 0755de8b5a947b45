"""What a study of rank says: the mean rank ratio of each block, ratio and non-linearity."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

import numpy as np

from fleetnet.study.nonlinearities import NONLINEARITIES
from fleetnet.study.random_blocks import EXPANSION
from fleetnet.study.rank_plan import POINTS, RankSettings
from fleetnet.study.rank_study import RankLine


class Figure(NamedTuple):
    """A point of a plot.

    Attributes:
        block: the kind of network.
        ratio: of the input's channels to the output's.
        nonlinearity: by its name in tables.
        threshold: of the numerical rank.
        mean: of rank over the output's channels.
        error: standard error of the mean, over batches: the networks of a batch have one width.
            None of a single batch.
        networks: how many were measured.
    """

    block: str
    ratio: float
    nonlinearity: str
    threshold: float
    mean: float
    error: float | None
    networks: int


def rank_figures(lines: Sequence[RankLine], thresholds: Sequence[float]) -> list[Figure]:
    """Return the figures of every point at which something was measured."""
    return [
        _figure(block, ratio, name, threshold, [share[:, place] for share in shares])
        for block, ratio in POINTS
        for name in NONLINEARITIES
        if (shares := _shares(lines, block, ratio, name))
        for place, threshold in enumerate(thresholds)
    ]


def _shares(lines: Iterable[RankLine], block: str, ratio: float, name: str) -> list[Any]:
    """Return rank over channels of each batch, ``float64[networks, thresholds]``."""
    return [
        np.array(line.ranks[name]) / line.outputs
        for line in lines
        if (line.block, line.ratio) == (block, ratio)
    ]


def _figure(block: str, ratio: float, name: str, threshold: float, batches: list[Any]) -> Figure:
    everything = np.concatenate(batches)
    means = np.array([batch.mean() for batch in batches])
    error = float(means.std(ddof=1)) / len(means) ** 0.5 if len(means) > 1 else None
    mean = float(everything.mean())
    return Figure(block, ratio, name, threshold, mean, error, len(everything))


def rank_json(figures: Iterable[Figure], settings: RankSettings) -> dict[str, Any]:
    """Return a study as JSON values."""
    return {
        "format": "fleetnet-study-rank",
        "format_version": 1,
        "settings": settings.model_dump(mode="json"),
        "expansion": EXPANSION,
        "figures": [
            {
                **figure._asdict(),
                "mean": round(figure.mean, 5),
                "error": None if figure.error is None else round(figure.error, 6),
            }
            for figure in figures
        ],
    }
