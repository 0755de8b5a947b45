"""Holding out a fraction of images so that every label keeps its share."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from fleetnet.data.sources.samples import Indices


def take(units: Indices, weights: Indices, target: int) -> Indices:
    """Choose units, in their order, whose weights add up to ``target`` or just below.

    Args:
        units: ``intp[U]``, in the order of preference.
        weights: ``intp[U]``, how many images each unit stands for.
        target: how many images are wanted.

    Returns:
        Some of the units; only the lightest if all are heavier than the target.
    """
    if (weights == 1).all():
        return units[:target]
    chosen = np.zeros(len(units), bool)
    left = target
    for place, weight in enumerate(weights.tolist()):
        if weight <= left:
            chosen[place] = True
            left -= weight
    if not chosen.any():
        chosen[np.argmin(weights)] = True
    return units[chosen]


def iterative(
    rows: Sequence[tuple[int, ...]],
    weights: Indices,
    fraction: float,
    rng: np.random.Generator,
) -> npt.NDArray[np.bool_]:
    """Choose the units to hold out where a unit has any number of labels.

    Iterative stratification into two splits (Sechidis, Tsoumakas and Vlahavas 2011, algorithm 1):
    the label with the fewest units left comes first; each of its units goes to the split that still
    wants most of that label, at a tie to the one that wants most units, then by chance. A label of
    two units or more wants at least one in each split; one of a single unit is for training.

    Args:
        rows: the labels of each of U units.
        weights: ``intp[U]``, how many images each unit stands for.
        fraction: share of the images to hold out.
        rng: decides the order and the ties.

    Returns:
        ``bool[U]``, which units are held out.
    """
    dealer = _Dealer(rows, weights, fraction, rng)
    remaining = np.array([len(units) for units in dealer.members])
    while (remaining > 0).any():
        label = int(np.argmin(np.where(remaining > 0, remaining, np.iinfo(np.int64).max)))
        for unit in dealer.members[label]:
            if not dealer.dealt[unit]:
                dealer.deal(unit, label)
                for other in rows[unit]:
                    remaining[other] -= 1
    for unit in dealer.order:
        if not dealer.dealt[unit]:
            dealer.deal(unit, None)  # it has no labels
    return dealer.held_out


class _Dealer:
    """Two splits, training and held out, and what each still wants of every label and in all."""

    def __init__(
        self,
        rows: Sequence[tuple[int, ...]],
        weights: Indices,
        fraction: float,
        rng: np.random.Generator,
    ) -> None:
        self._rows = rows
        self._weights = weights.tolist()
        self._rng = rng
        self.order: list[int] = rng.permutation(len(rows)).tolist()
        self.dealt = [False] * len(rows)
        self.held_out = np.zeros(len(rows), bool)
        labels = 1 + max((label for row in rows for label in row), default=-1)
        self.members: list[list[int]] = [[] for _ in range(labels)]
        for unit in self.order:
            for label in rows[unit]:
                self.members[label].append(unit)
        self._wants = [self._shares(units, fraction) for units in self.members]
        self._wants_in_all = self._shares(self.order, fraction)

    def _shares(self, units: Sequence[int], fraction: float) -> list[float]:
        """Return how many images the training and the held-out split want of some units."""
        total = sum(self._weights[unit] for unit in units)
        held_out = min(max(total * fraction, 1.0), total - 1.0) if len(units) > 1 else 0.0
        return [total - held_out, held_out]

    def deal(self, unit: int, label: int | None) -> None:
        """Give a unit to the split that wants it most."""
        train, held_out = self._wants_in_all if label is None else self._wants[label]
        if train == held_out:
            train, held_out = self._wants_in_all
        chosen = int(self._rng.random() < 0.5 if train == held_out else train < held_out)
        self.dealt[unit] = True
        self.held_out[unit] = bool(chosen)
        self._wants_in_all[chosen] -= self._weights[unit]
        for other in self._rows[unit]:
            self._wants[other][chosen] -= self._weights[unit]
