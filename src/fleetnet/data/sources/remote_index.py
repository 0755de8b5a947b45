"""What is in shards from elsewhere, found out once and remembered."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Generic, NamedTuple, TypeVar

import numpy as np
import numpy.typing as npt

from fleetnet.data.remote.shard_cache import ShardCache, fetch_whole
from fleetnet.data.remote.store import FetchError, RemoteFile, content_of
from fleetnet.data.sources.labels import KnownClasses
from fleetnet.data.sources.options import SourceOptions
from fleetnet.data.sources.remote_files import RemoteShardFiles
from fleetnet.data.sources.shard_manifest import MAX_BYTES, ShardManifest, columns_that_fit
from fleetnet.data.sources.tar_columns import TarColumns, load
from fleetnet.data.sources.watched import long_work
from fleetnet.data.sources.webdataset import CLASSES_FILE
from fleetnet.errors import DataError, following
from fleetnet.files import atomic_file
from fleetnet.reporting import Note
from fleetnet.threads import map_in_threads

FETCHED_AT_ONCE = 4
"""Shards that are fetched at once to be indexed."""
Content = TypeVar("Content")


class Gathered(NamedTuple, Generic[Content]):
    """What was found in shards, for :attr:`Form.columns`.

    Attributes:
        contents: of each shard.
        urls: of each.
        names: of each below the common folder.
        splits: ``int8[shards]``, the split of each.
        known: the classes, if a file names them.
    """

    contents: list[Content]
    urls: list[str]
    names: list[str]
    splits: npt.NDArray[np.int8]
    known: KnownClasses | None


class Form(NamedTuple, Generic[Content]):
    """How shards of one kind are read.

    Attributes:
        look: returns what is in a shard of this machine.
        columns: returns what was found in several as columns.
    """

    look: Callable[[Path], Content]
    columns: Callable[[Gathered[Content]], TarColumns]


class Indexed(NamedTuple):
    """Shards, and what is in them.

    Attributes:
        columns: of their samples.
        splits: ``int8[shards]``, the split of each.
        files: the shards.
        notes: on those that were left out.
    """

    columns: TarColumns
    splits: npt.NDArray[np.int8]
    files: list[RemoteFile]
    notes: list[Note]


def indexed(
    options: SourceOptions,
    found: RemoteShardFiles,
    chosen: Sequence[tuple[Path, int]],
    form: Form[Content],
    cache: ShardCache,
) -> Indexed:
    """Return what is in shards; all are fetched unless that was done before.

    Args:
        options: of the source.
        found: the shards.
        chosen: which of them, each with its split.
        form: of the shards.
        cache: of the shards.

    Raises:
        DataError: one cannot be read, and none may be left out.
    """
    paths = [path for path, _ in chosen]
    files = [found.files[path] for path in paths]
    names = [path.relative_to(found.root).as_posix() for path in paths]
    splits = np.array([split for _, split in chosen], np.int8)
    known = _classes(options, found, cache)
    kept = _folder(cache) / f"{_key(files, names, options, known)}.npz"
    columns = _kept(kept)
    if columns is not None:
        numbers = [names.index(name) for name in columns.files]
        return Indexed(columns, splits[numbers], [files[number] for number in numbers], [])
    contents = _contents(files, form.look, cache)
    bad = [content for content in contents if isinstance(content, DataError)]
    good = [n for n, content in enumerate(contents) if not isinstance(content, DataError)]
    if bad and (options.bad_shards != "skip" or not good):
        raise _stopping(bad[0], options)
    whole = [content for content in contents if not isinstance(content, DataError)]
    gathered = Gathered(
        whole, [files[n].url for n in good], [names[n] for n in good], splits[good], known
    )
    columns = form.columns(gathered)
    if not bad:
        columns.save(kept)
        columns = mapped(kept)
    notes = [Note.of(error, f"a shard is left out: {error}") for error in bad]
    return Indexed(columns, splits[good], [files[n] for n in good], notes)


def index_at(folder: str, manifest: ShardManifest, cache: ShardCache) -> TarColumns:
    """Return the index that a manifest names, fetched once.

    It is kept beside the cache of shards, not in it, because it is mapped as long as data is open.
    """
    entry = manifest.index
    assert entry is not None  # noqa: S101 - the caller asks
    url = f"{folder}/{entry.name}"
    path = _folder(cache) / f"{entry.sha256}.npz"
    file = RemoteFile(url, entry.bytes, sha256=entry.sha256)
    fetch_whole(file, path)
    found = _kept(path)
    if found is None:  # damaged since it was fetched, or as it was written
        fetch_whole(file, path)
        found = mapped(path)
    return columns_that_fit(found, manifest, url)


def _kept(path: Path) -> TarColumns | None:
    """Return an index that was kept; None if there is none, or a damaged one, which is removed.

    Raises:
        DataError: it cannot be read.
    """
    if not path.exists():
        return None
    try:
        return load(path)
    except DataError:
        path.unlink(missing_ok=True)
        return None
    except OSError as error:
        raise DataError(f"cannot read {path}: {error.strerror or error}") from None


def mapped(path: Path) -> TarColumns:
    """Return an index that was kept.

    Raises:
        DataError: it cannot be read.
    """
    try:
        return load(path)
    except OSError as error:
        raise DataError(f"cannot read {path}: {error.strerror or error}") from None


def _folder(cache: ShardCache) -> Path:
    return cache.folder.parent / "indexes"


def _contents(
    files: Sequence[RemoteFile],
    look: Callable[[Path], Content],
    cache: ShardCache,
) -> list[Content | DataError]:
    """Fetch all shards, a few at once, and look into them."""
    at_once = min(cache.at_once(max(file.size for file in files)), FETCHED_AT_ONCE)
    advance = long_work("indexing shards", len(files))
    contents: list[Content | DataError] = []
    for content in map_in_threads(lambda file: _look(file, look, cache), files, at_once):
        contents.append(content)
        advance(1)
    return contents


def _look(
    file: RemoteFile, look: Callable[[Path], Content], cache: ShardCache
) -> Content | DataError:
    """Return what is in a shard, or what is wrong with it; messages name its URL."""
    if not file.size:
        return FetchError(f"{file.url} does not exist, or is empty", file=file.url)
    while True:
        try:
            path = cache.fetch(file)
        except FetchError as error:
            return error
        try:
            return look(path)
        except DataError as error:
            if path.exists():  # it may have had to go meanwhile
                words = str(error).replace(str(path), file.url)
                return following(error, words, DataError, file=file.url)


def _stopping(error: DataError, options: SourceOptions) -> DataError:
    if options.bad_shards == "skip":
        return error
    return following(
        error,
        f"{error}; go on without it with bad_shards='skip'",
        DataError,
        arguments=["bad_shards"],
    )


def _classes(
    options: SourceOptions, found: RemoteShardFiles, cache: ShardCache
) -> KnownClasses | None:
    """Return the classes that a file names: that of the options, or the one beside the shards."""
    if options.classes is not None:
        return KnownClasses.read(options.classes)
    try:
        content = content_of(f"{found.root_url}/{CLASSES_FILE}", MAX_BYTES)
    except FetchError:
        content = None
    if content is None:
        return None
    path = _folder(cache) / f"{hashlib.sha256(content).hexdigest()}-{CLASSES_FILE}"
    with atomic_file(path) as file:
        file.write_bytes(content)
    known = KnownClasses.read(path)
    return None if known is None else known._replace(origin=CLASSES_FILE)


def _key(
    files: Iterable[RemoteFile],
    names: Sequence[str],
    options: SourceOptions,
    known: KnownClasses | None,
) -> str:
    """Return a word for what an index depends on."""
    facts = [list(files), names, asdict(replace(options, bad_shards=None)), known and known.names]
    return hashlib.sha256(json.dumps(facts).encode()).hexdigest()
