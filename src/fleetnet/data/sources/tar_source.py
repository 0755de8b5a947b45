"""Samples in tar files, wherever the files are."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

import numpy as np
import numpy.typing as npt

from fleetnet.data.sources.labels import KnownClasses, LabelError, LabelReader
from fleetnet.data.sources.options import SourceOptions
from fleetnet.data.sources.samples import Indices, SampleTable, join_names
from fleetnet.data.sources.tar_columns import Digests, TarColumns
from fleetnet.data.sources.tar_index import Shard
from fleetnet.errors import DataError, ImageError, at
from fleetnet.image_bytes import MAX_BYTES


class ShardReader(Protocol):
    """Reads from the middle of shards, which are numbered."""

    def read_at(self, shard: int, offset: int, size: int) -> bytes:
        """Return ``size`` bytes of a shard from ``offset``, fewer where it ends before.

        Raises:
            ImageError: it cannot be read.
        """
        ...

    def name(self, shard: int) -> str:
        """Return a shard's name, for people."""
        ...


class TarSource:
    """Labelled images in tar files.

    Args:
        columns: of all samples.
        splits: ``int8[shards]``, the split of each shard.
        reader: of the shards, numbered as in the columns.
        description: a short one, for people.
        spec: by which it is opened again.
        notes: on how the data was understood.
    """

    def __init__(
        self,
        columns: TarColumns,
        splits: npt.NDArray[np.int8],
        reader: ShardReader,
        *,
        description: str,
        spec: dict[str, str],
        notes: Sequence[str] = (),
    ) -> None:
        self._columns = columns
        self._splits = splits
        self._reader = reader
        self.description = description
        self.spec = spec
        self.notes = tuple(notes)
        self._make_table()

    def _make_table(self) -> None:
        self._samples = self._columns.table(self._splits)

    @property
    def samples(self) -> SampleTable:
        """All labelled images, in the order of the shards."""
        return self._samples

    @property
    def classes(self) -> tuple[str, ...]:
        """Names of the classes."""
        return self._columns.classes

    @property
    def multi_label(self) -> bool:
        """Whether a sample may have any number of labels."""
        return self._columns.multi_label

    @property
    def shards(self) -> Indices:
        """``intp[N]``: the shard of each sample."""
        return self._columns.shards

    @property
    def digests(self) -> Digests | None:
        """What the bytes of each image are known by, where nobody has to read them for that."""
        return self._columns.digests

    def read(self, index: int) -> bytes:
        """Return the encoded bytes of sample ``index``."""
        size = self.size(index)
        if not size:
            raise ImageError("the file is empty", code="empty")
        if size > MAX_BYTES:
            raise ImageError(f"the file is larger than {MAX_BYTES // 2**20} MiB", code="too-large")
        return self._read_at(index, int(self._columns.offsets[index]), size)

    def size(self, index: int) -> int:
        """Return the image's size, as the tar says."""
        return int(self._columns.sizes[index])

    def read_end(self, index: int, count: int) -> bytes:
        """Return the last ``count`` bytes of the image."""
        size = self.size(index)
        count = min(count, size)
        return self._read_at(index, int(self._columns.offsets[index]) + size - count, count)

    def _read_at(self, index: int, offset: int, size: int) -> bytes:
        shard = int(self.shards[index])
        data = self._reader.read_at(shard, offset, size)
        if len(data) < size:
            raise ImageError(f"{self._reader.name(shard)} is shorter than it was", code="truncated")
        return data

    def __getstate__(self) -> dict[str, object]:
        """Leave out the table, whose columns another process maps itself."""
        return {name: value for name, value in self.__dict__.items() if name != "_samples"}

    def __setstate__(self, state: dict[str, object]) -> None:
        self.__dict__.update(state)
        self._make_table()


def columns_of(
    shards: Sequence[Shard],
    files: Sequence[str],
    splits: npt.NDArray[np.int8],
    known: KnownClasses | None,
    options: SourceOptions,
    data: str,
    places: Sequence[str],
    joint: str = "/",
) -> TarColumns:
    """Return what was found in shards as columns.

    Args:
        shards: what is in each.
        files: their names below their common folder.
        splits: ``int8[shards]``, the split of each.
        known: the classes, if a file names them.
        options: of the source.
        data: what a user typed, for messages.
        places: what messages call each shard.
        joint: between a shard's name and a sample's.

    Raises:
        DataError: a label is wrong, or there are none.
    """
    reader = LabelReader(known, options.multi_label, options.label_separator or ",")
    names: list[str] = []
    for below, place, shard in zip(files, places, shards, strict=True):
        for name, label in zip(shard.names, shard.labels, strict=True):
            names.append(f"{below}{joint}{name}")
            try:
                reader.add_value(label)
            except LabelError as error:
                raise at(f"{place}: {name}", error, DataError, file=place, member=name) from None
    counts = [len(shard.names) for shard in shards]
    try:
        classes, labels, label_ends = reader.finish(np.repeat(splits, counts))
    except DataError as error:
        raise at(data, error, DataError, file=data) from None
    joined, name_ends = join_names(names)
    return TarColumns(
        files=tuple(files),
        bytes=tuple(shard.bytes for shard in shards),
        classes=classes,
        multi_label=options.multi_label is not None,
        names=np.frombuffer(joined, np.uint8),
        name_ends=name_ends,
        labels=labels,
        label_ends=label_ends,
        shards=np.repeat(np.arange(len(shards)), counts),
        offsets=np.array([n for shard in shards for n in shard.offsets], np.int64),
        sizes=np.array([n for shard in shards for n in shard.sizes], np.int64),
    )
