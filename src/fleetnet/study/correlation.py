"""How two figures of the same networks go together, with how sure that is."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from fleetnet.evaluation.bootstrap import NORMAL_QUANTILE, Interval

Floats = npt.NDArray[np.float64]
RESAMPLES = 2000
LEAST = 5
"""Networks below which no interval means anything."""


class Correlation(NamedTuple):
    """Coefficients with intervals of 95 %.

    Attributes:
        networks: of how many.
        pearson: how nearly the points are on a line.
        pearson_interval: by Fisher's transformation, for points of a normal distribution.
        spearman: how nearly the order is the same.
        spearman_interval: by the bootstrap.
    """

    networks: int
    pearson: float
    pearson_interval: Interval
    spearman: float
    spearman_interval: Interval

    @property
    def in_words(self) -> str:
        """What that says, without more than it says."""
        both = (self.pearson_interval, self.spearman_interval)
        if any(low <= 0 <= high for low, high in both):
            which = (
                "both intervals hold"
                if all(low <= 0 <= high for low, high in both)
                else ("one of the intervals holds")
            )
            return f"{which} 0: these networks do not show that the two go together"
        more = self.pearson > 0
        return "rank and accuracy go together" if more else "more rank goes with less accuracy"


def correlation(first: Floats, second: Floats, seed: int = 0) -> Correlation | None:
    """Return the correlation of two figures, ``float64[N]`` each.

    None if there are fewer than five networks, or one of the figures is the same for all.
    """
    if len(first) < LEAST or np.ptp(first) == 0 or np.ptp(second) == 0:
        return None
    linear = pearson(first, second)
    return Correlation(
        len(first),
        linear,
        fisher(linear, len(first)),
        spearman(first, second),
        _bootstrapped(spearman, first, second, seed),
    )


def pearson(first: Floats, second: Floats) -> float:
    """Return the coefficient of Pearson."""
    return float(np.clip(np.corrcoef(first, second)[0, 1], -1.0, 1.0))


def spearman(first: Floats, second: Floats) -> float:
    """Return the coefficient of Spearman: Pearson's of the ranks, equal ones sharing theirs."""
    return pearson(_ranked(first), _ranked(second))


def fisher(coefficient: float, points: int) -> Interval:
    """Return the interval of Pearson's coefficient of so many points (Fisher 1915)."""
    if abs(coefficient) == 1.0:
        return Interval(coefficient, coefficient)
    centre, half = math.atanh(coefficient), NORMAL_QUANTILE / math.sqrt(points - 3)
    return Interval(math.tanh(centre - half), math.tanh(centre + half))


def _ranked(values: Floats) -> Floats:
    _, inverse, counts = np.unique(values, return_inverse=True, return_counts=True)
    last = np.cumsum(counts)
    shared: Floats = (last - (counts - 1) / 2).astype(np.float64)
    return shared[inverse]


def _bootstrapped(
    coefficient: Callable[[Floats, Floats], float], first: Floats, second: Floats, seed: int
) -> Interval:
    rng = np.random.default_rng(seed)
    found = []
    for _ in range(RESAMPLES):
        drawn = rng.integers(0, len(first), len(first))
        one, two = first[drawn], second[drawn]
        if np.ptp(one) and np.ptp(two):
            found.append(coefficient(one, two))
    low, high = np.quantile(found, [0.025, 0.975])
    return Interval(float(low), float(high))
