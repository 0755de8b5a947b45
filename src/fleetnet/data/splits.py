"""Which images are for training, validation and test."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from fleetnet.data.duplicates import exact_groups
from fleetnet.data.sources.protocol import Source
from fleetnet.data.sources.samples import TEST, TRAIN, VAL, Indices, SampleTable
from fleetnet.data.stratify import iterative, take
from fleetnet.errors import DataError
from fleetnet.reporting import Advance

__all__ = ["Indices", "Split", "check_classes", "shown_in_training", "split", "spread"]

_NONE: Indices = np.empty(0, np.intp)
_NONE.flags.writeable = False


class Split(NamedTuple):
    """Indices into a source's samples, each sorted; no index is in two splits."""

    train: Indices
    val: Indices
    dropped: Indices = _NONE
    """Training images that the source's own validation or test split has too; they are not used."""
    test: Indices = _NONE
    """Images of the source's own test split, which training never sees."""


def split(
    source: Source,
    val_fraction: float = 0.25,
    seed: int = 0,
    *,
    groups: Indices | None = None,
    advance: Advance = lambda _: None,
) -> Split:
    """Hold out a fraction of every class, the same images for the same seed and names.

    No image is in two splits, whatever its names: images of the same bytes stay together. If they
    have different labels, all of them are for training, so that no label of a validation image is
    contradicted. A source that assigns the splits itself (``train/`` and ``val/``) keeps them,
    except for training images that are in its validation or test split too: those are dropped.
    The rest of a source that has a test split is split as if there were none.

    Images with any number of labels are split by iterative stratification.

    Args:
        source: what to split.
        val_fraction: share of each class to hold out, above 0 and below 1; at least one image a
            class is held out and at least one trains.
        seed: of the shuffle.
        groups: ``intp[N]``, for each sample the index of the first one that must stay with it;
            found by :func:`fleetnet.data.duplicates.exact_groups` if None.
        advance: called with a count as images are compared, in all as many as there are.

    Raises:
        DataError: a class has a single image, or too few different ones to be on both sides.
    """
    table = SampleTable.of(source.samples)
    if groups is None:
        groups = exact_groups(source, advance)
    val, test = np.flatnonzero(table.splits == VAL), np.flatnonzero(table.splits == TEST)
    if len(val):
        train, dropped = _apart(source, table, groups, np.flatnonzero(table.splits == TRAIN))
        return Split(train, val, dropped, test)
    kept: Indices | None = None  # all
    dropped = _NONE
    if len(test):
        kept, dropped = _apart(source, table, groups, np.flatnonzero(table.splits != TEST))
        # What is left is split as if there were no test split.
        table, groups = table.take(kept), _renumbered(groups[kept])
    if source.multi_label:
        held_out = _by_label_sets(source, table, groups, val_fraction, seed)
    else:
        held_out = _by_class(source, table, groups, val_fraction, seed)
    train, val = np.flatnonzero(~held_out), np.flatnonzero(held_out)
    if kept is not None:
        train, val = kept[train], kept[val]
    return Split(train, val, dropped, test)


def check_classes(source: Source) -> None:
    """Refuse data that no classifier can be trained on; other uses of it may be fine.

    Raises:
        DataError: there is only one class, and each image has exactly one.
    """
    if len(source.classes) < 2 and not source.multi_label:
        raise DataError(
            f"{source.description} has only one class ('{source.classes[0]}'): a classifier needs "
            "at least two"
        )


def shown_in_training(
    source: Source, val_fraction: float, seed: int, *, advance: Advance = lambda _: None
) -> Indices:
    """Return the images that training shows; of data that cannot be split, those that it might.

    Args:
        source: as the other arguments, see :func:`split`.
        val_fraction: likewise.
        seed: likewise.
        advance: likewise.

    Raises:
        DataError: there are none.
    """
    try:
        found = split(source, val_fraction, seed, advance=advance).train
    except DataError:
        found = np.flatnonzero(~np.isin(SampleTable.of(source.samples).splits, (VAL, TEST)))
    if not len(found):
        raise DataError(f"{source.description} has no images to train on")
    return found


def spread(indices: Indices, most: int) -> Indices:
    """Return at most so many indices from all over, in order.

    Samples lie class by class, so steps of one length reach as many classes as there is room for.
    """
    number = min(most, len(indices))
    steps = np.linspace(0, len(indices) - 1, number).round().astype(np.intp)
    return np.take(indices, steps)


def _apart(
    source: Source, table: SampleTable, groups: Indices, train: Indices
) -> tuple[Indices, Indices]:
    """Return the training images that no other split has, and those that one has too."""
    is_held_out = np.zeros(len(table), bool)
    is_held_out[groups[(table.splits == VAL) | (table.splits == TEST)]] = True
    leaks = is_held_out[groups[train]]
    kept, dropped = train[~leaks], train[leaks]
    before, after = (table.label_counts(indices, len(source.classes)) for indices in (train, kept))
    for label in np.flatnonzero((before > 0) & (after == 0)):
        raise DataError(
            f"every training image of class '{source.classes[label]}' is among the validation "
            "or test images too: none is left to train on"
        )
    return kept, dropped


def _renumbered(groups: Indices) -> Indices:
    """Return for each of some samples the index among them of the first one of its group."""
    _, first, inverse = np.unique(groups, return_index=True, return_inverse=True)
    return first[inverse]


def _by_class(
    source: Source, table: SampleTable, groups: Indices, fraction: float, seed: int
) -> npt.NDArray[np.bool_]:
    """Return which samples are held out, each having one label."""
    # Of a million images each of these columns is eight megabytes, so none is kept for long.
    by_label = np.argsort(table.values, kind="stable")
    counts = np.bincount(table.values, minlength=len(source.classes))
    bounds = np.cumsum(counts)[: len(source.classes) - 1]
    free = _labelled_alike(table, groups)
    is_unit = (groups == np.arange(len(table))) & free
    sizes = np.bincount(groups, minlength=len(table))
    chosen = np.zeros(len(table), bool)
    for label, members in enumerate(np.split(by_label, bounds)):
        if not len(members):
            continue  # a file of class names may list some that this data has no images of
        units = members[is_unit[members]]
        _check_separable(source.classes[label], members, units, free)
        shuffled = np.random.default_rng([seed, label]).permutation(units)
        target = min(max(round(len(members) * fraction), 1), len(members) - 1)
        chosen[take(shuffled, sizes[shuffled], target)] = True
    return chosen[groups]


def _by_label_sets(
    source: Source, table: SampleTable, groups: Indices, fraction: float, seed: int
) -> npt.NDArray[np.bool_]:
    """Return which samples are held out, each having any number of labels."""
    is_unit = (groups == np.arange(len(table))) & _labelled_alike(table, groups)
    units = np.flatnonzero(is_unit)
    if len(units) < 2:
        raise DataError(
            f"{source.description} has fewer than two different images: at least two are needed, "
            "one to train on and one to hold out"
        )
    weights = np.bincount(groups, minlength=len(table))[units]
    rows = [table.labels_of(int(unit)) for unit in units]
    chosen = np.zeros(len(table), bool)
    chosen[units] = iterative(rows, weights, fraction, np.random.default_rng(seed))
    return chosen[groups]


def _labelled_alike(table: SampleTable, groups: Indices) -> npt.NDArray[np.bool_]:
    """Return for each sample whether all images of its group have the same labels."""
    agrees = np.ones(len(table), bool)
    for index in np.flatnonzero(groups != np.arange(len(table))):
        if table.labels_of(int(index)) != table.labels_of(int(groups[index])):
            agrees[groups[index]] = False
    return agrees[groups]


def _check_separable(
    name: str, members: Indices, units: Indices, free: npt.NDArray[np.bool_]
) -> None:
    """Refuse a class that cannot have an image in both splits."""
    if len(members) == 1:
        raise DataError(
            f"class '{name}' has a single image: at least two are needed, one to train on and one "
            "to hold out"
        )
    if not len(units):
        raise DataError(
            f"every image of class '{name}' is in another class too, byte by byte: none can be "
            "held out"
        )
    if len(units) == 1 and free[members].all():
        raise DataError(
            f"all {len(members)} images of class '{name}' are identical: at least two different "
            "ones are needed, one to train on and one to hold out"
        )
