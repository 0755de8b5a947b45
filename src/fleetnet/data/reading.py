"""Images of a source, read by several threads, each shard from its beginning to its end."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TypeVar

import numpy as np

from fleetnet.data.sources.protocol import Fetches, Source
from fleetnet.data.sources.samples import Indices
from fleetnet.threads import map_in_threads

THREADS = 16
"""More than there are cores, because most of the time goes into waiting for the disk."""
_TOGETHER = 256

Result = TypeVar("Result")


def for_each(
    source: Source, function: Callable[[int], Result], indices: Indices
) -> Iterator[tuple[int, Result]]:
    """Yield each index with ``function(index)``, in order, computed by several threads.

    Args:
        source: of the images. One thread at a time reads a shard, in the order of the indices.
        function: reads an image and returns what is of interest.
        indices: of the images; those of a shard are neighbours.
    """
    if source.shards is None:
        bounds = np.arange(_TOGETHER, len(indices), _TOGETHER)
    else:
        bounds = np.flatnonzero(np.diff(source.shards[indices])) + 1

    def results_of(chunk: list[int]) -> list[tuple[int, Result]]:
        return [(index, function(index)) for index in chunk]

    chunks = (chunk.tolist() for chunk in np.split(indices, bounds))
    threads = min(source.at_once, THREADS) if isinstance(source, Fetches) else THREADS
    for results in map_in_threads(results_of, chunks, threads):
        yield from results
