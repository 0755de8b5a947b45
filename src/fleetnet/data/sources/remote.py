"""Shards behind URLs: HTTP, S3, Google Cloud Storage, Azure, and files."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from fleetnet.amounts import count
from fleetnet.data.remote.shard_cache import ShardCache, usual_cache
from fleetnet.data.remote.store import SCHEMES
from fleetnet.data.sources.kind import SourceKind
from fleetnet.data.sources.options import SourceOptions
from fleetnet.data.sources.protocol import Source
from fleetnet.data.sources.remote_files import (
    PARQUET,
    RemoteShardFiles,
    as_path,
    find_shards,
)
from fleetnet.data.sources.remote_index import Form, Gathered, Indexed, index_at, indexed
from fleetnet.data.sources.remote_parquet import RemoteParquetSource
from fleetnet.data.sources.remote_shards import RemoteShards
from fleetnet.data.sources.shards import but_test, choose
from fleetnet.data.sources.split_names import with_test_if_it_fits
from fleetnet.data.sources.tar_columns import TarColumns
from fleetnet.data.sources.tar_index import Shard, check_kinds, index_shard
from fleetnet.data.sources.tar_source import TarSource, columns_of
from fleetnet.data.sources.webdataset import WebDatasetSource, reads_labels_as_usual
from fleetnet.labels import printable


class RemoteSource(TarSource):
    """Tar files of samples behind URLs.

    They are read as :class:`WebDatasetSource` reads those of this machine. A shard is fetched when
    one of its images is needed, or soon will be, and kept in a cache of bounded size. What is in
    the shards is known from the index that ``shards.json`` names; without one, all shards are
    fetched once, and what is in them is remembered.

    Args:
        data: what a user typed.
        options: as :class:`WebDatasetSource` takes them, and ``bad_shards``.
        found: the shards.

    Raises:
        FleetnetError: the package for such URLs is not installed.
        DataError: as for shards of this machine; or they cannot be fetched.
    """

    OPTIONS = (*WebDatasetSource.OPTIONS, "bad_shards")
    _reader: RemoteShards

    def __init__(self, data: str, options: SourceOptions, found: RemoteShardFiles) -> None:
        options.refuse_several_label_columns()
        cache = usual_cache()
        manifest, beside = found.manifest, None
        if (
            manifest is not None
            and manifest.index is not None
            and reads_labels_as_usual(replace(options, bad_shards=None))
        ):
            found = found._replace(root=as_path(found.folder))
            beside = index_at(found.folder, manifest, cache)
        chosen = choose(list(found.files), found.root)
        (columns, splits, used, bad), _, notes = with_test_if_it_fits(
            lambda files: _index(data, options, found, beside, files, cache),
            chosen,
            but_test(chosen),
        )
        super().__init__(
            columns,
            splits,
            RemoteShards(used, cache),
            description=f"WebDataset {printable(data)}, {count(len(used), 'shard')}",
            spec=options.spec(data),
            notes=[*notes, *bad],
        )

    @property
    def at_once(self) -> int:
        """How many shards may be read at once."""
        return self._reader.at_once

    def expect(self, shards: Sequence[int]) -> None:
        """Begin to fetch shards."""
        self._reader.expect(shards)


def open_remote(data: str, options: SourceOptions) -> Source:
    """Open shards behind a URL, a pattern or a folder of them.

    Raises:
        FleetnetError: the package for such URLs is not installed.
        DataError: there are none, one cannot be read, or an option does not apply to their kind.
    """
    found = find_shards(data, may_be_missing=options.bad_shards == "skip")
    if found.suffix == PARQUET:
        options.refuse_all_but(RemoteParquetSource.OPTIONS, "Parquet files behind a URL")
        return RemoteParquetSource(data, options, found)
    options.refuse_all_but(RemoteSource.OPTIONS, "tar files behind a URL")
    return RemoteSource(data, options, found)


def _index(
    data: str,
    options: SourceOptions,
    found: RemoteShardFiles,
    beside: TarColumns | None,
    chosen: list[tuple[Path, int]],
    cache: ShardCache,
) -> Indexed:
    """Return what is in the shards, from the index that lies beside them if there is one."""
    if beside is not None:
        names = [path.relative_to(found.root).as_posix() for path, _ in chosen]
        splits = np.array([split for _, split in chosen], np.int8)
        files = [found.files[path] for path, _ in chosen]
        return Indexed(beside.of_files(names), splits, files, [])
    key = options.label_column

    def columns(gathered: Gathered[Shard]) -> TarColumns:
        shards, urls, names, splits, known = gathered
        check_kinds(shards, urls)
        return columns_of(shards, names, splits, known, options, data, urls)

    form = Form(lambda path: index_shard(path, key), columns)
    return indexed(options, found, chosen, form, cache)


SOURCE = SourceKind(
    name="remote",
    title="shards behind a URL",
    open=open_remote,
    options=tuple(dict.fromkeys((*RemoteSource.OPTIONS, *RemoteParquetSource.OPTIONS))),
    words=tuple(f"{scheme}:" for scheme in SCHEMES if scheme != "hf"),
    rank=50,
)
