"""Which images are the same file twice."""

from __future__ import annotations

from collections.abc import Iterable
from functools import partial

import numpy as np
import numpy.typing as npt

from fleetnet.data.contents import content_of, digest_of
from fleetnet.data.reading import for_each
from fleetnet.data.sources.protocol import HasDigests, ReadsEnds, Source
from fleetnet.data.sources.samples import Indices
from fleetnet.errors import ImageError
from fleetnet.reporting import Advance

END = 4 * 2**10
"""Bytes from the end of an image that are compared before the whole: the beginning holds tables
that all images of a camera have in common."""


def exact_groups(source: Source, advance: Advance = lambda _: None) -> Indices:
    """Group samples whose encoded bytes are identical.

    Sizes are compared first; then the ends of images that share a size, where the source can read
    an end without the rest; only images that agree in both are read whole and compared by their
    digests. An image that cannot be read is in a group of its own. Where the source knows the
    digests of all images, none is read.

    Args:
        source: whose images to compare.
        advance: called with a count as images are done, in all as many as there are.

    Returns:
        ``intp[N]``: for each sample, the index of the first one with the same bytes.
    """
    count = len(source.samples)
    groups = np.arange(count)
    if isinstance(source, HasDigests) and source.digests is not None:
        advance(count)
        return _first_equal(source.digests)
    sizes = np.array([n for _, n in for_each(source, partial(_size, source), groups)], np.int64)
    suspects = _sharing(groups, sizes)
    advance(count - len(suspects))
    if isinstance(source, ReadsEnds):
        end = partial(_end, source, sizes)
        suspects = _sharing_ends(for_each(source, end, suspects), advance)
        advance = _ignore
    first: dict[bytes, int] = {}
    for index, digest in for_each(source, partial(_digest, source), suspects):
        if digest is not None:
            groups[index] = first.setdefault(digest, index)
        advance(1)
    return groups


def _first_equal(digests: npt.NDArray[np.uint8]) -> Indices:
    """Return for each row the index of the first one that is equal."""
    halves = np.ascontiguousarray(digests).view(np.uint64)
    ordered = np.sort(halves[:, 0])
    twice = np.unique(ordered[1:][ordered[1:] == ordered[:-1]])
    del ordered
    groups = np.arange(len(halves))
    # Only what shares a half can be equal: nearly nothing, so the rest need not be put in order.
    suspects = np.flatnonzero(np.isin(halves[:, 0], twice)) if len(twice) else groups[:0]
    groups[suspects] = suspects[_first_among(halves[suspects])]
    return groups


def _first_among(halves: npt.NDArray[np.uint64]) -> Indices:
    order = np.lexsort((halves[:, 1], halves[:, 0]))  # stable: the first of equals comes first
    ordered = halves[order]
    begins = np.r_[True, (ordered[1:] != ordered[:-1]).any(axis=1)][: len(order)]
    groups = np.empty(len(order), np.intp)
    groups[order] = order[np.flatnonzero(begins)][np.cumsum(begins) - 1]
    return groups


def _sharing_ends(keys_of_ends: Iterable[tuple[int, int | None]], advance: Advance) -> Indices:
    """Return the indices whose image has the size and the end of another's."""
    readable: list[int] = []
    keys: list[int] = []
    for index, key in keys_of_ends:
        if key is not None:
            readable.append(index)
            keys.append(key)
        advance(1)
    return _sharing(np.array(readable, np.intp), np.array(keys, np.uint64))


def _sharing(indices: Indices, keys: npt.NDArray[np.integer]) -> Indices:
    """Return those of the indices whose key is another's too."""
    _, inverse, counts = np.unique(keys, return_inverse=True, return_counts=True)
    shared: npt.NDArray[np.bool_] = counts[inverse] > 1
    return indices[shared]


def _size(source: Source, index: int) -> int:
    size = source.size(index)
    return -1 if size is None else size


def _end(source: ReadsEnds, sizes: npt.NDArray[np.int64], index: int) -> int | None:
    """Return a number that follows from the size and the end of an image."""
    try:
        return content_of(sizes[index].tobytes() + source.read_end(index, END))
    except ImageError:
        return None


def _digest(source: Source, index: int) -> bytes | None:
    try:
        return digest_of(source.read(index))
    except ImageError:
        return None


def _ignore(_: int) -> None:
    pass
