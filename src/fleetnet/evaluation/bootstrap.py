"""Confidence intervals: how far figures may be off because other images could have been drawn."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from fleetnet.evaluation.metrics import CHUNK_VALUES, Floats, divided, mean_over

LEVEL = 0.95
NORMAL_QUANTILE = 1.959963984540054
"""The normal distribution's 97.5 % quantile, for :data:`LEVEL`."""
Statistic = Callable[[Floats], Floats]
"""Maps weights of the images, ``float64[B, N]``, to a figure for each row, ``float64[B]``."""


class Interval(NamedTuple):
    """A confidence interval, at :data:`LEVEL` unless it says otherwise."""

    low: float
    high: float


def intervals(
    statistics: Mapping[str, Statistic], images: int, resamples: int, seed: int = 0
) -> dict[str, Interval]:
    """Return percentile bootstrap intervals of figures (Efron 1979).

    Each resample draws as many images as there are, with replacement; all figures use the same
    resamples. A figure that is undefined in all of them is left out.

    Args:
        statistics: figures by name.
        images: ``N``.
        resamples: how many, such as 1000; none means no intervals.
        seed: of the drawing.
    """
    if not resamples:
        return {}
    values: dict[str, list[Floats]] = {name: [] for name in statistics}
    for weights in resampled(images, resamples, seed):
        for name, statistic in statistics.items():
            values[name].append(statistic(weights))
    tail = (1 - LEVEL) / 2
    found: dict[str, Interval] = {}
    for name, chunks in values.items():
        drawn = np.concatenate(chunks)
        drawn = drawn[np.isfinite(drawn)]
        if len(drawn):
            low, high = np.quantile(drawn, [tail, 1 - tail])
            found[name] = Interval(float(low), float(high))
    return found


def resampled(images: int, resamples: int, seed: int) -> Iterator[Floats]:
    """Yield how often each image was drawn in each resample, ``float64[B, images]`` in chunks."""
    rng = np.random.default_rng(seed)
    step = max(CHUNK_VALUES // images, 1)
    for start in range(0, resamples, step):
        count = min(step, resamples - start)
        drawn = rng.integers(0, images, (count, images))
        drawn += np.arange(count)[:, None] * images
        counts = np.bincount(drawn.ravel(), minlength=count * images)
        yield counts.reshape(count, images).astype(np.float64)


def mean_of(values: npt.NDArray[np.generic]) -> Statistic:
    """Return the statistic that is the mean of a value of each image, ``[N]``."""
    column = values.astype(np.float64)
    return lambda weights: np.asarray(weights @ column / len(column))


def class_means(
    labels: npt.NDArray[np.integer], predicted: npt.NDArray[np.integer], classes: int
) -> tuple[Statistic, Statistic]:
    """Return the statistics balanced accuracy and macro F1 of ``int[N]`` labels and answers."""
    by_label, by_answer = Grouped(labels, classes), Grouped(predicted, classes)
    right = (labels == predicted).astype(np.float64)

    def balanced_accuracy(weights: Floats) -> Floats:
        support = by_label.sums(weights)
        return mean_over(divided(by_label.sums(weights * right), support), support > 0)

    def macro_f1(weights: Floats) -> Floats:
        support = by_label.sums(weights)
        hits, answers = by_label.sums(weights * right), by_answer.sums(weights)
        return mean_over(divided(2 * hits, support + answers), support > 0)

    return balanced_accuracy, macro_f1


class Grouped:
    """Images sorted by group once, so that summing weights by group is fast."""

    def __init__(self, groups: npt.NDArray[np.integer], count: int) -> None:
        self._count = count
        self._order = np.argsort(groups, kind="stable")
        self._present, self._starts = np.unique(groups[self._order], return_index=True)

    def sums(self, weights: Floats) -> Floats:
        """Sum ``float64[B, N]`` to ``float64[B, count]``."""
        sums = np.zeros((len(weights), self._count))
        sums[:, self._present] = np.add.reduceat(weights[:, self._order], self._starts, axis=1)
        return sums


def wilson(hits: int, images: int) -> Interval:
    """Return the score interval of a share (Wilson 1927), which is valid for few images too.

    With three of three images right, the bootstrap's interval would have no width; this one has.
    """
    z = NORMAL_QUANTILE
    share, ratio = hits / images, z * z / images
    centre = (share + ratio / 2) / (1 + ratio)
    half = z * math.sqrt(share * (1 - share) / images + ratio / (4 * images)) / (1 + ratio)
    return Interval(max(centre - half, 0.0), min(centre + half, 1.0))
