"""Statistics of many timed runs of the same work."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

_MAD_TO_SIGMA = 1.4826
"""Median absolute deviation to the standard deviation of normally distributed values."""
_MEDIAN_TO_MEAN = 1.2533
"""Standard error of a median over that of a mean, of normally distributed values."""


@dataclass(frozen=True)
class Timing:
    """Times of one piece of work, in seconds.

    Attributes:
        runs: how many were timed.
        rounds: how many, spread over the whole measurement.
        best: the quickest.
        p25: lower quartile.
        p50: median.
        p75: upper quartile.
        p95: 95th percentile.
        uncertainty: half the 95 % interval of the median as a share of it, from the spread of the
            rounds' medians, because the runs of a round share its noise; infinite for one round.
    """

    runs: int
    rounds: int
    best: float
    p25: float
    p50: float
    p75: float
    p95: float
    uncertainty: float


def summarise(rounds: Sequence[Sequence[float]]) -> Timing:
    """Summarise the times of each round, in seconds; every round has at least one.

    Percentiles are of all runs, interpolated linearly between ranks.
    """
    times = np.concatenate([np.asarray(times, np.float64) for times in rounds])
    p25, p50, p75, p95 = (float(value) for value in np.quantile(times, (0.25, 0.5, 0.75, 0.95)))
    return Timing(
        runs=len(times),
        rounds=len(rounds),
        best=float(times.min()),
        p25=p25,
        p50=p50,
        p75=p75,
        p95=p95,
        uncertainty=uncertainty(rounds),
    )


def uncertainty(rounds: Sequence[Sequence[float]]) -> float:
    """Return half the 95 % interval of the median as a share of it; infinite for one round.

    The scale is the median absolute deviation, which a few noisy rounds do not inflate.
    """
    if len(rounds) < 2:
        return math.inf
    medians = np.array([np.median(times) for times in rounds])
    centre = float(np.median(medians))
    if centre == 0.0:
        return math.inf
    sigma = _MAD_TO_SIGMA * float(np.median(np.abs(medians - centre)))
    return 1.96 * _MEDIAN_TO_MEAN * sigma / math.sqrt(len(rounds)) / centre
