"""The one process of a service on a cluster that adds up what its replicas have counted."""

from __future__ import annotations

import itertools
import time
from collections.abc import Callable

from fleetnet.serving.workers.figures import Figures, Whole

SILENT = 15.0
"""Seconds without a word after which a replica is taken for one that died."""


class Sums:
    """Adds up the metrics of replicas, which have numbers in the order in which they came.

    Args:
        clock: in seconds.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._whole = Whole(0)
        self._next = itertools.count()
        self._numbers: dict[str, int] = {}
        self._heard: dict[str, float] = {}

    async def seen(self, replica: str, figures: Figures, ended: bool) -> None:
        """Take what a replica has counted until now.

        Args:
            replica: its name.
            figures: what it has counted.
            ended: whether it is the last time.
        """
        if replica not in self._numbers:
            self._numbers[replica] = next(self._next)
        self._heard[replica] = self._clock()
        self._whole.seen(self._numbers[replica], figures)
        if ended:
            self._end(replica, died=False)

    async def text(self) -> bytes:
        """Return the metrics of all in Prometheus's text format."""
        now = self._clock()
        for replica in [one for one, heard in self._heard.items() if now - heard > SILENT]:
            self._end(replica, died=True)
        return self._whole.text()

    def _end(self, replica: str, *, died: bool) -> None:
        del self._heard[replica]
        self._whole.ended(self._numbers.pop(replica), died=died)
