"""Which images train and which are held out."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from fleetnet.data.sources import Source
from fleetnet.errors import DataError

Indices = npt.NDArray[np.intp]


class Split(NamedTuple):
    """Indices into a source's samples, each sorted; no index is in both."""

    train: Indices
    val: Indices


def split(source: Source, val_fraction: float = 0.25, seed: int = 0) -> Split:
    """Hold out a fraction of every class, the same images for the same seed and names.

    A source that assigns the parts itself (``train/`` and ``val/``) keeps its own.

    Args:
        source: what to split.
        val_fraction: share of each class to hold out, above 0 and below 1; at least one image a
            class is held out and at least one trains.
        seed: of the shuffle.

    Raises:
        DataError: a class has a single image.
    """
    samples = source.samples
    if any(sample.part for sample in samples):
        parts = np.array([sample.part for sample in samples])
        return Split(np.flatnonzero(parts == "train"), np.flatnonzero(parts == "val"))
    labels = np.array([sample.label for sample in samples])
    train: list[Indices] = []
    val: list[Indices] = []
    for label, name in enumerate(source.classes):
        members = np.flatnonzero(labels == label)
        if len(members) < 2:
            raise DataError(
                f"class '{name}' has a single image: at least two are needed, one to train on "
                "and one to hold out"
            )
        shuffled = np.random.default_rng([seed, label]).permutation(members)
        held_out = min(max(round(len(members) * val_fraction), 1), len(members) - 1)
        val.append(shuffled[:held_out])
        train.append(shuffled[held_out:])
    return Split(np.sort(np.concatenate(train)), np.sort(np.concatenate(val)))
