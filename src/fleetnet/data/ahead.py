"""Telling a source what is read next, where it has to fetch that."""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Iterator

import numpy as np

from fleetnet.data.sampling import Draw, InOrder, Shuffled
from fleetnet.data.sources.protocol import Fetches, Source
from fleetnet.data.sources.samples import Indices

SHARDS = 8
"""That are expected beyond those of the next batch, if so many may be kept."""
BATCHES = 64
"""That are looked at for this, at most."""


def announced(source: Source, order: InOrder | Shuffled) -> InOrder | Shuffled | Announced:
    """Return an order that tells the source what comes, where the source has to fetch it."""
    shards = source.shards
    if isinstance(source, Fetches) and shards is not None:
        return Announced(order, source, shards)
    return order


class Announced:
    """The batches of another order, and word of them to the source before they are needed.

    Args:
        order: of images.
        source: that has to fetch their shards.
        shards: ``intp[N]``, the shard of each of its samples.
    """

    def __init__(self, order: InOrder | Shuffled, source: Fetches, shards: Indices) -> None:
        self._order = order
        self._source = source
        self._shards = shards

    @property
    def images(self) -> int:
        """How many images an epoch has."""
        return self._order.images

    @property
    def batch_size(self) -> int:
        """Images in a batch."""
        return self._order.batch_size

    def draws(self, epoch: int) -> Iterator[Draw]:
        """Yield the batches of an epoch, counted from 1."""
        ahead = max(min(SHARDS, self._source.at_once // 2), 1)
        coming = self._order.draws(epoch)
        window: deque[tuple[Draw, list[int]]] = deque()
        held: Counter[int] = Counter()
        while True:
            while len(window) < BATCHES and len(held) - _first(window) < ahead:
                draw = next(coming, None)
                if draw is None:
                    break
                window.append((draw, _in_order(self._shards[draw.indices])))
                held.update(window[-1][1])
            if not window:
                return
            self._source.expect(
                list(dict.fromkeys(shard for _, shards in window for shard in shards))
            )
            draw, shards = window.popleft()
            held -= Counter(shards)
            yield draw


def _first(window: deque[tuple[Draw, list[int]]]) -> int:
    return len(window[0][1]) if window else 0


def _in_order(shards: Indices) -> list[int]:
    """Return each shard once, as they first occur."""
    present, first = np.unique(shards, return_index=True)
    numbers: list[int] = present[np.argsort(first)].tolist()
    return numbers
