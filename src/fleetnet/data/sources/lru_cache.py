"""A cache of the last few things that a process opened."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable, Hashable
from typing import Generic, TypeVar

K = TypeVar("K", bound=Hashable)
V = TypeVar("V")


class LruCache(Generic[K, V]):
    """A least-recently-used cache; it is empty in another process.

    Args:
        limit: greatest total size of the values; the last one is always kept.
        size_of: gives a value's size.
    """

    def __init__(self, limit: int, size_of: Callable[[V], int]) -> None:
        self._limit = limit
        self._size_of = size_of
        self._kept: OrderedDict[K, V] = OrderedDict()
        self._size = 0
        self._lock = threading.Lock()

    def get(self, key: K, make: Callable[[], V]) -> V:
        """Return the value of ``key``, or make it; two threads may make it at once."""
        with self._lock:
            if key in self._kept:
                self._kept.move_to_end(key)
                return self._kept[key]
        made = make()
        with self._lock:
            if key not in self._kept:
                self._kept[key] = made
                self._size += self._size_of(made)
            while self._size > self._limit and len(self._kept) > 1:
                _, dropped = self._kept.popitem(last=False)
                self._size -= self._size_of(dropped)
        return made

    def __getstate__(self) -> tuple[int, Callable[[V], int]]:
        return self._limit, self._size_of

    def __setstate__(self, state: tuple[int, Callable[[V], int]]) -> None:
        LruCache.__init__(self, *state)


def one(_: object) -> int:
    """Count every value as one."""
    return 1
