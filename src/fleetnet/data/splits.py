"""Which images train and which are held out."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from fleetnet.data.duplicates import Advance, exact_groups
from fleetnet.data.sources.protocol import Source
from fleetnet.data.sources.samples import TRAIN, VAL, Indices, SampleTable
from fleetnet.data.stratify import iterative, take
from fleetnet.errors import DataError

__all__ = ["Indices", "Split", "split"]

_NONE: Indices = np.empty(0, np.intp)
_NONE.flags.writeable = False


class Split(NamedTuple):
    """Indices into a source's samples, each sorted; no index is in two of them."""

    train: Indices
    val: Indices
    dropped: Indices = _NONE
    """Training images of the source's own split that it also holds out, and so are not used."""


def split(
    source: Source,
    val_fraction: float = 0.25,
    seed: int = 0,
    *,
    groups: Indices | None = None,
    advance: Advance = lambda _: None,
) -> Split:
    """Hold out a fraction of every class, the same images for the same seed and names.

    An image never is on both sides, under whatever names it occurs: images of the same bytes stay
    together. Where they have different labels, they all train, so that what is held out has no
    image whose label is contradicted. A source that assigns the parts itself (``train/`` and
    ``val/``) keeps its own, but for training images that it holds out as well: those are dropped.

    Images with any number of labels are dealt out by iterative stratification.

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
    if table.parts.any():
        return _by_parts(source, table, groups)
    if source.multi_label:
        held_out = _by_label_sets(source, table, groups, val_fraction, seed)
    else:
        held_out = _by_class(source, table, groups, val_fraction, seed)
    return Split(np.flatnonzero(~held_out), np.flatnonzero(held_out))


def _by_parts(source: Source, table: SampleTable, groups: Indices) -> Split:
    """Keep the source's own parts, less the training images that are held out too."""
    train, val = np.flatnonzero(table.parts == TRAIN), np.flatnonzero(table.parts == VAL)
    is_held_out = np.zeros(len(table), bool)
    is_held_out[groups[val]] = True
    leaks = is_held_out[groups[train]]
    kept, dropped = train[~leaks], train[leaks]
    before, after = (table.label_counts(indices, len(source.classes)) for indices in (train, kept))
    for label in np.flatnonzero((before > 0) & (after == 0)):
        raise DataError(
            f"every training image of class '{source.classes[label]}' is among the validation "
            "images too: none is left to train on"
        )
    return Split(kept, val, dropped)


def _by_class(
    source: Source, table: SampleTable, groups: Indices, fraction: float, seed: int
) -> npt.NDArray[np.bool_]:
    """Return which samples are held out, each having one label."""
    sizes = np.bincount(groups, minlength=len(table))
    free = _of_one_mind(table, groups)
    is_unit = (groups == np.arange(len(table))) & free
    by_label = np.argsort(table.values, kind="stable")
    bounds = np.searchsorted(table.values[by_label], np.arange(1, len(source.classes)))
    chosen = np.zeros(len(table), bool)
    for label, members in enumerate(np.split(by_label, bounds)):
        if not len(members):
            continue  # a file of classes may name some that this data has no images of
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
    is_unit = (groups == np.arange(len(table))) & _of_one_mind(table, groups)
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


def _of_one_mind(table: SampleTable, groups: Indices) -> npt.NDArray[np.bool_]:
    """Return for each sample whether all images of its group have the same labels."""
    agrees = np.ones(len(table), bool)
    for index in np.flatnonzero(groups != np.arange(len(table))):
        if table.labels_of(int(index)) != table.labels_of(int(groups[index])):
            agrees[groups[index]] = False
    return agrees[groups]


def _check_separable(
    name: str, members: Indices, units: Indices, free: npt.NDArray[np.bool_]
) -> None:
    """Refuse a class that cannot have an image on each side."""
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
