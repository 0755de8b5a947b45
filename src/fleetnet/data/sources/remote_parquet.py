"""Parquet files behind URLs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

import numpy as np

from fleetnet.amounts import count
from fleetnet.data.remote.shard_cache import usual_cache
from fleetnet.data.sources.features import Features
from fleetnet.data.sources.labels import MultiLabel
from fleetnet.data.sources.options import SourceOptions
from fleetnet.data.sources.parquet import (
    ParquetFile,
    ParquetSource,
    check_same_columns,
    image_leaf,
    look_into,
    new_group_cache,
    read_group,
)
from fleetnet.data.sources.remote_files import RemoteShardFiles
from fleetnet.data.sources.remote_index import Form, Gathered, indexed
from fleetnet.data.sources.remote_shards import RemoteShards
from fleetnet.data.sources.samples import SampleTable
from fleetnet.data.sources.shards import but_test, choose
from fleetnet.data.sources.split_names import with_test_if_it_fits
from fleetnet.data.sources.tar_columns import TarColumns
from fleetnet.data.sources.tar_index import Shard
from fleetnet.data.sources.tar_source import columns_of
from fleetnet.labels import printable

if TYPE_CHECKING:
    import pyarrow as pa


class RemoteParquetSource(ParquetSource):
    """Parquet files behind URLs, read as :class:`ParquetSource` reads those of this machine.

    A file is fetched when one of its images is needed, or soon will be, and kept in a cache of
    bounded size. All are fetched once to find out what is in them, which is remembered.

    Args:
        data: what a user typed.
        options: as :class:`ParquetSource` takes them, and ``bad_shards``.
        found: the files.
        title: what the description begins with.
        chosen: which of them, each with its split; None to follow their names.
        features: what is known of the columns, where the files do not say it.
        notes: on how they were found.

    Raises:
        FleetnetError: a package is not installed.
        DataError: as for files of this machine; or they cannot be fetched.
    """

    OPTIONS = (*ParquetSource.OPTIONS, "bad_shards")

    def __init__(
        self,
        data: str,
        options: SourceOptions,
        found: RemoteShardFiles,
        title: str = "Parquet",
        *,
        chosen: list[tuple[Path, int]] | None = None,
        features: Features | None = None,
        notes: Sequence[str] = (),
    ) -> None:
        options.refuse_several_label_columns()
        cache = usual_cache()
        form = Form(lambda path: look_into(path, options, features), _columns_of(data, options))
        chosen = choose(list(found.files), found.root) if chosen is None else chosen
        (columns, splits, used, bad), _, more = with_test_if_it_fits(
            lambda files: indexed(options, found, files, form, cache), chosen, but_test(chosen)
        )
        self.description = f"{title} {printable(data)}, {count(len(used), 'file')}"
        self.spec = options.spec(data)
        self.notes = (*notes, *more, *bad)
        self.classes = columns.classes
        self.multi_label = columns.multi_label
        self._asked, self._features = options, features
        self._known = columns
        self._splits = splits
        self._reader = RemoteShards(used, cache)
        self._begin()

    def _begin(self) -> None:
        """Find where the row groups begin, which the columns have in place of offsets."""
        files, numbers = self._known.shards, self._known.offsets
        begins = np.flatnonzero((np.diff(files) != 0) | (np.diff(numbers) != 0)) + 1
        self._starts = np.concatenate([[0], begins, [len(files)]])
        first = self._starts[:-1]
        self._place = np.stack([files[first], numbers[first]], axis=1)
        self.shards = np.repeat(np.arange(len(first)), np.diff(self._starts))
        self.samples: SampleTable = self._known.table(self._splits)
        self._recent = new_group_cache()

    def _leaf(self, schema: pa.Schema) -> str:
        return image_leaf(schema, self._asked.image_column, self._features)

    @property
    def at_once(self) -> int:
        """How many files may be read at once."""
        return self._reader.at_once

    def expect(self, shards: Sequence[int]) -> None:
        """Begin to fetch the files of row groups."""
        files = self._place[np.asarray(shards, np.intp), 0].tolist()
        self._reader.expect(list(dict.fromkeys(files)))

    def _read_group(self, group: int) -> Any:
        """Return the images of a row group, encoded."""
        file, number = self._place[group].tolist()
        rows = int(self._starts[group + 1] - self._starts[group])

        def read(opened: BinaryIO) -> Any:
            return read_group(opened, self._reader.name(file), number, rows, self._leaf)

        return self._reader.read(file, read)

    def __getstate__(self) -> dict[str, object]:
        """Leave out what another process maps or finds itself."""
        left = ("samples", "shards", "_recent", "_starts", "_place")
        return {name: value for name, value in self.__dict__.items() if name not in left}

    def __setstate__(self, state: dict[str, object]) -> None:
        self.__dict__.update(state)
        self._begin()


def _columns_of(data: str, options: SourceOptions) -> Any:
    """Return what makes one set of columns of the contents of files."""

    def columns(gathered: Gathered[ParquetFile]) -> TarColumns:
        contents, urls, names, splits, beside = gathered
        check_same_columns([content.columns for content in contents], urls)
        found = contents[0].columns
        kind: MultiLabel | None = options.multi_label or ("names" if found.several else None)
        known = beside if options.classes is not None else found.known or beside
        sizes = [sum(content.groups) for content in contents]
        shards = [
            Shard(
                names=[str(row) for row in range(size)],
                offsets=np.repeat(np.arange(len(content.groups)), content.groups).tolist(),
                sizes=[0] * size,
                labels=content.labels,
                kind="",
                bytes=content.bytes,
            )
            for content, size in zip(contents, sizes, strict=True)
        ]
        asked = replace(options, multi_label=kind)
        return columns_of(shards, names, splits, known, asked, data, urls, joint="#")

    return columns
