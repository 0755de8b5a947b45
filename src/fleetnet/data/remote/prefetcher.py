"""Fetching shards before they are needed."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable, Sequence

from fleetnet.errors import FleetnetError

THREADS = 2
IDLE_S = 60.0
"""After which a thread with nothing to fetch ends."""


class Prefetcher:
    """Fetches what is wanted next, by threads that do not keep the process.

    Args:
        fetch: a shard by its number; an error is left to whoever reads the shard.
    """

    def __init__(self, fetch: Callable[[int], object]) -> None:
        self._fetch = fetch
        self._wanted: list[int] = []
        self._taken: set[int] = set()
        self._running = 0
        self._changed = threading.Condition()

    def want(self, shards: Sequence[int]) -> None:
        """Say which shards come next, in that order; what was wanted before is forgotten."""
        with self._changed:
            self._wanted = list(shards)
            self._taken &= set(shards)
            missing = [shard for shard in self._wanted if shard not in self._taken]
            while missing and self._running < THREADS:
                self._running += 1
                threading.Thread(target=self._run, name="prefetch", daemon=True).start()
            self._changed.notify_all()

    def _run(self) -> None:
        while (shard := self._next()) is not None:
            with contextlib.suppress(FleetnetError, OSError):
                self._fetch(shard)

    def _next(self) -> int | None:
        """Return what to fetch; None if nothing was wanted for a while."""
        with self._changed:
            while True:
                for shard in self._wanted:
                    if shard not in self._taken:
                        self._taken.add(shard)
                        return shard
                if not self._changed.wait(IDLE_S):
                    self._running -= 1
                    return None
