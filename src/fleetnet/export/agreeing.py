"""Two files of one network, whose answers have to agree."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from fleetnet.errors import FleetnetError
from fleetnet.export.separate import Worker
from fleetnet.export.targets.target import Run
from fleetnet.inference.engines import Logits, Pixels

_ALIKE = 1e-3
"""Largest difference of a logit, as part of the largest logit where that is above 1."""


@dataclass(frozen=True)
class Agreeing:
    """Runs two files, and gives the answers of the first, whose time is what counts.

    Attributes:
        first: runs one.
        second: runs the other.
        what: names both in a message.
    """

    first: Run
    second: Run
    what: str

    def __call__(self, pixels: Pixels) -> Logits:
        """Map ``uint8[N, crop, crop, 3]`` to logits ``float32[N, K]``.

        Raises:
            FleetnetError: the two differ.
        """
        found = self.first(pixels)
        apart = float(np.abs(found - self.second(pixels)).max())
        if not apart <= _ALIKE * max(1.0, float(np.abs(found).max())):
            raise FleetnetError(f"{self.what} differ: logits by up to {apart:.2g}")
        return found

    def close(self) -> None:
        """End the processes that run the files, if any do; may be called again."""
        for run in (self.first, self.second):
            if isinstance(run, Worker):
                run.close()
