"""A source of bytes in memory, for tests of what is done with sources."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from fleetnet.data.sources import Sample, Source, SplitName
from fleetnet.errors import ImageError


class Listed:
    """Samples made of what each one's labels are, with or without contents.

    Args:
        labels: of each sample.
        contents: the bytes of each sample, None being one that cannot be read; without, no two
            samples are alike, and none may be read.
        splits: of each sample.
        sized: whether sizes are known without reading.
        shards: the shard of each sample.
    """

    description = "a list"

    def __init__(
        self,
        labels: Sequence[tuple[int, ...]],
        contents: Sequence[bytes | None] | None = None,
        *,
        splits: Sequence[SplitName | None] | None = None,
        classes: int | None = None,
        sized: bool = True,
        multi_label: bool = False,
        shards: npt.NDArray[np.intp] | None = None,
    ) -> None:
        self.spec: dict[str, str] = {}
        self.multi_label = multi_label
        self.shards = shards
        self.classes = tuple(
            f"class {label}"
            for label in range(classes or 1 + max(max(row, default=0) for row in labels))
        )
        self.samples = [
            Sample(f"sample {number}", row, splits[number] if splits else None)
            for number, row in enumerate(labels)
        ]
        self._contents = contents
        self._sized = sized
        self.reads: list[int] = []

    def read(self, index: int) -> bytes:
        self.reads.append(index)
        data = self._contents[index] if self._contents else None
        if data is None:
            raise ImageError("cannot be read")
        return data

    def size(self, index: int) -> int | None:
        if self._contents is None:
            return index
        data = self._contents[index]
        return len(data) if self._sized and data is not None else None


class ListedWithEnds(Listed):
    """The same, but the ends can be read separately."""

    def read_end(self, index: int, count: int) -> bytes:
        data = self._contents[index] if self._contents else None
        if data is None:
            raise ImageError("cannot be read")
        return data[-count:]


def counted(counts: Sequence[int]) -> Listed:
    """Return a source with so many samples of each class, no two alike."""
    return Listed([(label,) for label, count in enumerate(counts) for _ in range(count)])


def read_all(source: Source) -> list[bytes]:
    """Read every sample, in whatever process this is called."""
    return [source.read(index) for index in range(len(source.samples))]
