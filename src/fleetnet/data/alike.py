"""Which images of a data set are alike: files of the same bytes, and near duplicates."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from fleetnet.data.findings import Alike, NearDuplicates
from fleetnet.data.near_duplicates import near_pairs
from fleetnet.data.sources import Source
from fleetnet.data.sources.samples import TEST, TRAIN, VAL
from fleetnet.data.splits import Indices

MAX_PAIRS = 100_000
"""Near duplicates that are listed; if there are more, ``distance`` is too large for the data."""


class Marks:
    """Tells of images that are alike whether they are in different classes or splits."""

    def __init__(self, source: Source, splits: Indices) -> None:
        self.samples = source.samples
        self.splits = splits

    def alike(self, indices: Sequence[int] | Indices, distance: int | None = None) -> Alike:
        """Return what is said of images that are alike; ``distance`` is that of their hashes."""
        members = [self.samples[int(index)] for index in indices]
        splits = {int(self.splits[index]) for index in indices}
        return Alike(
            names=tuple(member.name for member in members),
            across_classes=len({frozenset(member.labels) for member in members}) > 1,
            across_split={TRAIN} < splits,
            distance=distance,
            across_test={TRAIN, TEST} <= splits,
            across_val={TRAIN, VAL} <= splits,
        )


def same_bytes(columns: npt.NDArray[np.void]) -> list[Indices]:
    """Return the groups of readable files of identical bytes, in the order of their first.

    Args:
        columns: of every image ``readable`` and ``digest``.
    """
    readable = np.flatnonzero(columns["readable"])
    digests = columns["digest"][readable]
    order = np.lexsort((digests[:, 1], digests[:, 0]))  # stable: a group's indices stay sorted
    digests = digests[order]
    starts = np.flatnonzero((digests[1:] != digests[:-1]).any(axis=1)) + 1
    groups = [group for group in np.split(readable[order], starts) if len(group) > 1]
    return sorted(groups, key=lambda group: int(group[0]))


def near_duplicates(
    columns: npt.NDArray[np.void], groups: list[Indices], distance: int, marks: Marks
) -> NearDuplicates:
    """Compare readable images that are not blank, only the first of identical files.

    Args:
        columns: of every image ``readable``, ``blank`` and ``hash``.
        groups: of identical files, as :func:`same_bytes` returns them.
        distance: in how many bits the hashes of near duplicates may differ.
        marks: tells where they are.
    """
    candidate = columns["readable"] & ~columns["blank"]
    for group in groups:
        candidate[group[1:]] = False
    indices = np.flatnonzero(candidate)
    found: list[Alike] = []
    complete = True
    for pairs in near_pairs(columns["hash"][indices], distance):
        room = MAX_PAIRS - len(found)
        if len(pairs.first) > room:
            complete = False
        ones, others = indices[pairs.first[:room]], indices[pairs.second[:room]]
        found += [
            marks.alike((one, other), int(bits))
            for one, other, bits in zip(ones, others, pairs.distance[:room], strict=True)
        ]
        if not complete:
            break
    found.sort(
        key=lambda pair: (
            not pair.across_split,
            not pair.across_classes,
            pair.distance,
            pair.names,
        )
    )
    return NearDuplicates(distance, tuple(found), complete)
