"""The last few things that a process opened, kept in case they are wanted again."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable, Hashable
from typing import Generic, TypeVar

K = TypeVar("K", bound=Hashable)
V = TypeVar("V")


class LruCache(Generic[K, V]):
    """A cache that drops what was not wanted for longest; it is empty in another process.

    Args:
        limit: the weight of all that is kept, at most; the last thing wanted is always kept.
        weigh: gives a thing's weight.
    """

    def __init__(self, limit: int, weigh: Callable[[V], int]) -> None:
        self._limit = limit
        self._weigh = weigh
        self._kept: OrderedDict[K, V] = OrderedDict()
        self._weight = 0
        self._lock = threading.Lock()

    def get(self, key: K, make: Callable[[], V]) -> V:
        """Return what is kept under ``key``, or make it; two threads may make it at once."""
        with self._lock:
            if key in self._kept:
                self._kept.move_to_end(key)
                return self._kept[key]
        made = make()
        with self._lock:
            if key not in self._kept:
                self._kept[key] = made
                self._weight += self._weigh(made)
            while self._weight > self._limit and len(self._kept) > 1:
                _, dropped = self._kept.popitem(last=False)
                self._weight -= self._weigh(dropped)
        return made

    def __getstate__(self) -> tuple[int, Callable[[V], int]]:
        return self._limit, self._weigh

    def __setstate__(self, state: tuple[int, Callable[[V], int]]) -> None:
        LruCache.__init__(self, *state)


def unit_weight(_: object) -> int:
    """Weigh everything the same."""
    return 1
