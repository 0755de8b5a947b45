"""Into which bins values fall: numbers by where the reference's own lie, classes in groups."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from fleetnet.evaluation.drift.divergence import Counts

BINS = 10
"""Bins between a statistic's smallest and largest value; two more are for what lies outside."""
GROUPS = 20
"""Of more classes, several share a bin: one for each of a thousand would measure chance."""

Numbers = npt.NDArray[np.float64]


def edges_of(values: Numbers) -> tuple[float, ...]:
    """Return the upper edges of all bins but the last, which has none.

    Each bin between has about the same number of the values; the first and the last have none. Of
    values that are all the same there are three bins: less, the same, more.

    Args:
        values: at least one, finite.
    """
    inner = np.quantile(values, np.linspace(0, 1, BINS + 1)[1:], method="inverted_cdf")
    below = np.nextafter(values.min(), -np.inf)
    return tuple(np.unique([below, *inner]).tolist())


def bins_of(values: Numbers, edges: tuple[float, ...]) -> npt.NDArray[np.intp]:
    """Return the bin of each value."""
    return np.searchsorted(np.asarray(edges), values, side="left")


def groups_of(counts: Counts) -> tuple[int, ...]:
    """Return a group for each class: its own, or groups of about equal size of many classes.

    So a class that takes over shows, however rare it was.

    Args:
        counts: how often each class was the answer.
    """
    if len(counts) <= GROUPS:
        return tuple(range(len(counts)))
    groups = np.zeros(len(counts), np.intp)
    filled, members = np.zeros(GROUPS), np.zeros(GROUPS)
    for index in np.argsort(-counts, kind="stable"):
        group = np.lexsort((members, filled))[0]
        groups[index] = group
        filled[group] += counts[index]
        members[group] += 1
    return tuple(groups.tolist())
