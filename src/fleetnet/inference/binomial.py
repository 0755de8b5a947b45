"""What a share of a sample of images says about all images."""

from __future__ import annotations

import math

CHANCE = 0.01
"""A network fails if its sample would come about by chance less often than this."""
DOUBT = 0.05
"""The probability that the true share is below :func:`at_least`."""


def binomial_tail(trials: int, least: int, probability: float) -> float:
    """Return the probability of at least ``least`` successes in ``trials``."""
    if least <= 0:
        return 1.0
    if least > trials or probability <= 0:
        return 0.0
    if probability >= 1:
        return 1.0
    terms = (
        math.lgamma(trials + 1)
        - math.lgamma(count + 1)
        - math.lgamma(trials - count + 1)
        + count * math.log(probability)
        + (trials - count) * math.log1p(-probability)
        for count in range(least, trials + 1)
    )
    return min(1.0, math.fsum(map(math.exp, terms)))


def explained_by_chance(trials: int, failures: int, rate: float) -> bool:
    """Tell whether so many failures are plausible if a share of ``rate`` of all trials fails."""
    return binomial_tail(trials, failures, rate) >= CHANCE


def at_least(trials: int, failures: int) -> float:
    """Return a lower bound for the share of successes, with 95 % confidence.

    The exact lower bound of a binomial proportion (Clopper and Pearson 1934), one-sided.
    """
    if failures >= trials:
        return 0.0
    low, high = 0.0, 1.0
    while high - low > 1e-6:
        middle = (low + high) / 2
        if binomial_tail(trials, trials - failures, middle) < DOUBT:
            low = middle
        else:
            high = middle
    return low


def enough_to_show(share: float) -> int:
    """Return how many trials without a failure show ``share``, see :func:`at_least`."""
    return 1 if share >= 1 else math.ceil(math.log(DOUBT) / math.log(share))
