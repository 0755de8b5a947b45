"""Watching how far requests are from the data that a network was evaluated on.

The last images are kept as the bins that they fell into, some bytes each, so memory is bounded and
a comparison costs nothing while nobody asks for it.
"""

from __future__ import annotations

import bisect
import threading
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

import numpy as np

from fleetnet.errors import FleetnetError
from fleetnet.evaluation.drift.divergence import Counts, jensen_shannon, stability_index
from fleetnet.evaluation.drift.reference import Distribution, Reference
from fleetnet.evaluation.drift.statistics import CLASS, CONFIDENCE, PICTURE, Figures


class Drift(NamedTuple):
    """How far a statistic of the window is from the reference's.

    Attributes:
        statistic: its name.
        stability_index: as :func:`fleetnet.evaluation.drift.divergence.stability_index`.
        jensen_shannon: as :func:`fleetnet.evaluation.drift.divergence.jensen_shannon`.
    """

    statistic: str
    stability_index: float
    jensen_shannon: float


class _Window:
    """The bins that the last values of some statistics fell into."""

    def __init__(self, expected: Mapping[str, Counts], size: int) -> None:
        self.seen = 0
        self._size = size
        self._expected = dict(expected)
        # Lists and bytes: for single numbers they take a tenth of the time of arrays.
        self._counts = [[0] * len(counts) for counts in self._expected.values()]
        self._rings = [bytearray(size) for _ in self._expected]

    def add(self, bins: Sequence[int]) -> None:
        """Put in one value's bin of each statistic, in place of the oldest's."""
        place, full = self.seen % self._size, self.seen >= self._size
        for entry, counts, ring in zip(bins, self._counts, self._rings, strict=True):
            if full:
                counts[ring[place]] -= 1
            counts[entry] += 1
            ring[place] = entry
        self.seen += 1

    @property
    def filled(self) -> int:
        """How many values are in the window."""
        return min(self.seen, self._size)

    def found(self) -> list[tuple[str, Counts, Counts]]:
        """Return the names, and the reference's counts and these."""
        return [
            (name, expected, np.array(counts, np.int64))
            for (name, expected), counts in zip(self._expected.items(), self._counts, strict=True)
        ]


class Watch:
    """The last images of a version of a model; its methods may be called from any thread.

    Args:
        reference: that they are compared with.
        window: how many images are kept.
        least: fewer are not compared.
    """

    def __init__(self, reference: Reference, window: int, least: int) -> None:
        self.least = least
        numbers = reference.numbers
        self._lock = threading.Lock()
        self._edges = [numbers[name].edges for name in PICTURE]
        self._confidence = numbers[CONFIDENCE].edges
        self._groups = reference.answers.groups
        self._pictures = _Window({name: _counts(numbers[name]) for name in PICTURE}, window)
        self._answers = _Window(
            {
                CLASS: np.array(reference.answers.counts, np.int64),
                CONFIDENCE: _counts(numbers[CONFIDENCE]),
            },
            window,
        )

    def saw(self, figures: Figures) -> None:
        """Count a picture, by :func:`fleetnet.evaluation.drift.statistics.measure`."""
        bins = [
            bisect.bisect_left(edges, value)
            for edges, value in zip(self._edges, figures.tolist(), strict=True)
        ]
        with self._lock:
            self._pictures.add(bins)

    def answered(self, index: int, probability: float) -> None:
        """Count an answer: the most probable class, and its probability."""
        bins = [self._groups[index], bisect.bisect_left(self._confidence, probability)]
        with self._lock:
            self._answers.add(bins)

    @property
    def images(self) -> int:
        """How many answers are compared."""
        with self._lock:
            return self._answers.filled

    def drift(self) -> Iterator[Drift]:
        """Yield how far each statistic is; nothing of those that too few images were seen of."""
        with self._lock:
            found = [
                each
                for window in (self._answers, self._pictures)
                if window.filled >= self.least
                for each in window.found()
            ]
        for name, expected, counts in found:
            yield Drift(name, stability_index(expected, counts), jensen_shannon(expected, counts))


@dataclass(frozen=True)
class Watching:
    """What is watched.

    Attributes:
        references: files, by ``NAME/VERSION`` or ``NAME``.
        window: how many of a version's last images are compared.
        least: fewer are not.
    """

    references: Mapping[str, Path] = field(default_factory=dict)
    window: int = 1000
    least: int = 200

    def watch(self, name: str, version: str, classes: tuple[str, ...], bundle: str) -> Watch | None:
        """Return what watches a version of a model; None if there is no reference for it.

        Args:
            name: of the model.
            version: of the model.
            classes: of its network.
            bundle: SHA-256 of its bundle, which a reference for this very version has to be of.

        Raises:
            FleetnetError: the reference cannot be read, or is one of another network.
        """
        exact = self.references.get(f"{name}/{version}")
        path = exact or self.references.get(name)
        if path is None:
            return None
        reference = Reference.load(path)
        reference.check_fits(classes, str(path))
        if exact is not None and reference.bundle not in (None, bundle):
            raise FleetnetError(
                f"{path} is the reference of another bundle ({str(reference.bundle)[:12]}…) than "
                f"version {version} of the model '{name}' ({bundle[:12]}…): make one with "
                "'fleetnet evaluate' of this one"
            )
        return Watch(reference, self.window, self.least)


def _counts(distribution: Distribution) -> Counts:
    return np.array(distribution.counts, np.int64)
