"""Sources that go wrong, in a module of their own so that worker processes can import them."""

from __future__ import annotations

import os
import signal
from pathlib import Path

from fleetnet.data.sources import FolderSource, Sample
from fleetnet.data.sources.samples import SampleTable


class ManyLabels(FolderSource):
    """A folder whose images have the labels that their numbers say."""

    multi_label = True

    def __init__(self, root: Path) -> None:
        super().__init__(root)
        self.samples = SampleTable.of(
            [
                Sample(sample.name, tuple(label for label in range(3) if number >> label & 1))
                for number, sample in enumerate(self.samples)
            ]
        )


class Deadly(FolderSource):
    """A folder whose tenth image kills the process that reads it, as the kernel would."""

    def read(self, index: int) -> bytes:
        if index == 10:
            os.kill(os.getpid(), signal.SIGKILL)
        return super().read(index)


class Exhausted(FolderSource):
    """A folder that asks for more memory than there is."""

    def read(self, _index: int) -> bytes:
        raise MemoryError


class Buggy(FolderSource):
    """A folder with a mistake of ours in it."""

    def read(self, _index: int) -> bytes:
        raise RuntimeError("a mistake")
