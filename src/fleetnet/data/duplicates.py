"""Which images are the same file twice."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Executor, ThreadPoolExecutor
from functools import partial
from typing import TypeVar

import numpy as np
import numpy.typing as npt

from fleetnet.data.sources.protocol import ReadsEnds, Source
from fleetnet.data.sources.samples import Indices
from fleetnet.errors import ImageError

END = 4 * 2**10
"""Bytes from the end of an image that are compared before the whole: at the beginning stand tables
that all images of a camera have in common."""
THREADS = 16
"""More than there are cores, because most of the time goes into waiting for the disk."""
_TOGETHER = 256

Advance = Callable[[int], None]
T = TypeVar("T")


def exact_groups(source: Source, advance: Advance = lambda _: None) -> Indices:
    """Group samples whose encoded bytes are identical.

    Sizes are compared first; then the ends of images that share a size, where the source can read
    ends alone; only images that agree in both are read whole, and compared by BLAKE2b of 128 bits.
    An image that cannot be read is like no other.

    Args:
        source: whose images to compare.
        advance: called with a count as images are done with, in all as many as there are.

    Returns:
        ``intp[N]``: for each sample, the index of the first one with the same bytes.
    """
    count = len(source.samples)
    groups = np.arange(count)
    pool = ThreadPoolExecutor(THREADS)
    each = partial(in_threads, pool, source.shards)
    try:
        sizes = np.array([size for _, size in each(partial(_size, source), groups)], np.int64)
        suspects = _sharing(groups, sizes)
        advance(count - len(suspects))
        if isinstance(source, ReadsEnds):
            suspects = _sharing_ends(each(partial(_end, source, sizes), suspects), advance)
            advance = _ignore
        first: dict[bytes, int] = {}
        for index, digest in each(partial(_whole, source), suspects):
            if digest is not None:
                groups[index] = first.setdefault(digest, index)
            advance(1)
    finally:
        pool.shutdown(cancel_futures=True)
    return groups


def _sharing_ends(ends: Iterable[tuple[int, int | None]], advance: Advance) -> Indices:
    """Return the indices whose end is another's too."""
    readable: list[int] = []
    keys: list[int] = []
    for index, end in ends:
        if end is not None:
            readable.append(index)
            keys.append(end)
        advance(1)
    return _sharing(np.array(readable, np.intp), np.array(keys, np.uint64))


def _sharing(indices: Indices, keys: npt.NDArray[np.integer]) -> Indices:
    """Return those of the indices whose key is another's too."""
    _, inverse, counts = np.unique(keys, return_inverse=True, return_counts=True)
    shared: npt.NDArray[np.bool_] = counts[inverse] > 1
    return indices[shared]


def in_threads(
    pool: Executor, shards: Indices | None, work: Callable[[int], T], indices: Indices
) -> Iterator[tuple[int, T]]:
    """Yield each index with what the work made of it, in order, done by several threads.

    A shard is read by one thread, from its beginning to its end.
    """
    if shards is None:
        bounds = np.arange(_TOGETHER, len(indices), _TOGETHER)
    else:
        bounds = np.flatnonzero(np.diff(shards[indices])) + 1

    def do(chunk: Indices) -> list[T]:
        return [work(int(index)) for index in chunk]

    chunks = np.split(indices, bounds)
    for chunk, results in zip(chunks, pool.map(do, chunks), strict=True):
        yield from zip(chunk.tolist(), results, strict=True)


def _size(source: Source, index: int) -> int:
    size = source.size(index)
    return -1 if size is None else size


def _end(source: ReadsEnds, sizes: npt.NDArray[np.int64], index: int) -> int | None:
    """Return a number that follows from the size and the end of an image."""
    try:
        end = source.read_end(index, END)
    except ImageError:
        return None
    digest = hashlib.blake2b(sizes[index].tobytes(), digest_size=8)
    digest.update(end)
    return int.from_bytes(digest.digest(), "big")


def _whole(source: Source, index: int) -> bytes | None:
    try:
        return hashlib.blake2b(source.read(index), digest_size=16).digest()
    except ImageError:
        return None


def _ignore(_: int) -> None:
    pass
