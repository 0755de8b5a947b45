"""What one way to compute loses against another on the same images, with confidence bounds.

Only the images that the two answer differently say anything about the difference, so it is known
far better than each of the two figures.
"""

from __future__ import annotations

import math

import numpy as np

from fleetnet.evaluation.bootstrap import Interval, Statistic, resampled
from fleetnet.inference.judging import CONFIDENCE_Z

RESAMPLES = 1000


def loss_of_share(worse: int, better: int, images: int) -> Interval:
    """Return bounds for the loss of a share, each with 95 % confidence.

    The score interval for paired proportions (Tango 1998), which is honest for few images and
    where none differs: then the loss is below ``z² / (n + z²)``.

    Args:
        worse: how many images were right before and are wrong now.
        better: how many were wrong before and are right now.
        images: how many there are.
    """
    return Interval(-_upper(better, worse, images), _upper(worse, better, images))


def _upper(worse: float, better: float, images: float) -> float:
    """Return the loss at which the score statistic reaches its 5 % quantile."""
    low, high = (worse - better) / images, 1.0
    while high - low > 1e-7:
        middle = (low + high) / 2
        if _score(worse, better, images, middle) > -CONFIDENCE_Z:
            low = middle
        else:
            high = middle
    return high


def _score(worse: float, better: float, images: float, loss: float) -> float:
    """Return Tango's statistic: how far what was counted is from a loss, in standard errors."""
    # The most likely share of images that get better, if the loss is that.
    square = 2 * images
    linear = -worse - better + (2 * images - worse + better) * loss
    constant = -better * loss * (1 - loss)
    gained = (math.sqrt(max(linear**2 - 4 * square * constant, 0.0)) - linear) / (2 * square)
    variance = images * (2 * gained + loss * (1 - loss))
    distance = worse - better - images * loss
    return distance / math.sqrt(variance) if variance > 0 else math.copysign(math.inf, distance)


def loss_by_bootstrap(before: Statistic, after: Statistic, images: int, seed: int = 0) -> Interval:
    """Return bounds for the loss of any figure, each with 95 % confidence.

    The percentile bootstrap over images (Efron 1979); both figures are of the same resamples.
    Resamples in which one is undefined do not count.
    """
    drawn = np.concatenate(
        [before(weights) - after(weights) for weights in resampled(images, RESAMPLES, seed)]
    )
    drawn = drawn[np.isfinite(drawn)]
    if not len(drawn):
        return Interval(-1.0, 1.0)
    low, high = np.quantile(drawn, [0.05, 0.95])
    return Interval(float(low), float(high))


MOST_NEEDED = 10**8
"""Numbers of images beyond this are not worth telling."""


def needed_for_share(worse: int, better: int, images: int, allowed: float) -> int | None:
    """Return about how many images would show that a share loses less than is allowed.

    More images are taken to differ as often as those that were counted.

    Args:
        worse: as in :func:`loss_of_share`.
        better: likewise.
        images: likewise.
        allowed: the largest loss that passes.

    Returns:
        None if no number would, because the loss itself is not below what is allowed.
    """
    if worse - better >= allowed * images:
        return None
    low, high = 1.0, float(MOST_NEEDED)
    while high / low > 1.001:
        middle = math.sqrt(low * high)
        share = middle / images
        if _upper(worse * share, better * share, middle) <= allowed:
            high = middle
        else:
            low = middle
    return None if high == MOST_NEEDED else math.ceil(high)


def needed_by_spread(loss: float, high: float, images: int, allowed: float) -> int | None:
    """Return the same for any figure, whose bounds come closer with the root of the number.

    Args:
        loss: as measured.
        high: its upper bound.
        images: how many it was measured on.
        allowed: the largest loss that passes.
    """
    if loss >= allowed:
        return None
    return math.ceil(images * ((high - loss) / (allowed - loss)) ** 2)
