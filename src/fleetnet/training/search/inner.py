"""The part of a source that training may see, as a source of its own."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from fleetnet.data.sources import Source
from fleetnet.data.sources.protocol import HasDigests, ReadsEnds, labelled_of
from fleetnet.data.sources.samples import Indices, SampleTable

_FETCHING = ("at_once", "expect")


class InnerSource:
    """Some images of a source, which belong to no split any more.

    A search splits these again, so that what chooses is not what the result is measured on.

    Args:
        whole: the source.
        chosen: which of its images, sorted.
    """

    def __init__(self, whole: Source, chosen: Indices) -> None:
        self._whole, self._chosen = whole, chosen
        self.description = f"the training part of {whole.description}"
        self.spec: dict[str, str] = {}
        self.classes, self.multi_label = whole.classes, whole.multi_label
        table = SampleTable.of(whole.samples).take(chosen)
        self.samples = SampleTable(
            [table.name(place) for place in range(len(table))], table.values, table.ends
        )
        self.shards = None if whole.shards is None else whole.shards[chosen]
        labelled = labelled_of(whole)
        self.labelled = len(chosen) if labelled is None else int((chosen < labelled).sum())

    @property
    def digests(self) -> npt.NDArray[np.uint8] | None:
        """``uint8[N, 16]`` of the images' bytes, if the whole source knows them."""
        known = self._whole.digests if isinstance(self._whole, HasDigests) else None
        return None if known is None else known[self._chosen]

    def read(self, index: int) -> bytes:
        """Return the encoded bytes of sample ``index``."""
        return self._whole.read(int(self._chosen[index]))

    def size(self, index: int) -> int | None:
        """Return how many bytes that would be, if it is known."""
        return self._whole.size(int(self._chosen[index]))

    def read_end(self, index: int, count: int) -> bytes:
        """Return the last ``count`` bytes of an image."""
        place = int(self._chosen[index])
        if isinstance(self._whole, ReadsEnds):
            return self._whole.read_end(place, count)
        return self._whole.read(place)[-count:]

    def __getattr__(self, name: str) -> Any:
        # Shards keep their numbers, so whoever fetches them can be asked as before.
        if name in _FETCHING:
            return getattr(self._whole, name)
        raise AttributeError(name)
