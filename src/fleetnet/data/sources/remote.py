"""Shards behind URLs: HTTP, S3, Google Cloud Storage, Azure, and files."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, replace
from glob import has_magic
from pathlib import Path
from typing import NamedTuple
from urllib.parse import urlsplit

import numpy as np
import numpy.typing as npt

from fleetnet.amounts import count
from fleetnet.data.remote.prefetcher import Prefetcher
from fleetnet.data.remote.shard_cache import ShardCache, fetch_whole, usual_cache
from fleetnet.data.remote.store import (
    ASKED_AT_ONCE,
    SCHEMES,
    FetchError,
    RemoteFile,
    content_of,
    info_of,
    listed,
    matching,
)
from fleetnet.data.sources.kind import SourceKind
from fleetnet.data.sources.labels import KnownClasses
from fleetnet.data.sources.options import SourceOptions
from fleetnet.data.sources.shard_manifest import (
    MANIFEST,
    MAX_BYTES,
    ShardManifest,
    columns_that_fit,
    manifest_from,
)
from fleetnet.data.sources.shards import but_test, choose, common_root, expand
from fleetnet.data.sources.split_names import with_test_if_it_fits
from fleetnet.data.sources.tar_columns import TarColumns, load
from fleetnet.data.sources.tar_index import Shard, check_kinds, index_shard
from fleetnet.data.sources.tar_source import TarSource, columns_of
from fleetnet.data.sources.webdataset import (
    CLASSES_FILE,
    SUFFIX,
    WebDatasetSource,
    check_key,
    reads_labels_as_usual,
)
from fleetnet.errors import DataError, ImageError, following
from fleetnet.files import atomic_file
from fleetnet.labels import printable
from fleetnet.reporting import Note
from fleetnet.threads import map_in_threads

FETCHED_AT_ONCE = 4
"""Shards that are fetched at once to be indexed."""


class RemoteShards:
    """Reads shards from elsewhere through the cache.

    Args:
        files: by their numbers.
        cache: of them.
    """

    def __init__(self, files: Sequence[RemoteFile], cache: ShardCache) -> None:
        self._files = files
        self._cache = cache
        self._begin()

    def _begin(self) -> None:
        self._prefetcher = Prefetcher(lambda shard: self._cache.fetch(self._files[shard]))
        self._last = -1
        self.at_once = self._cache.at_once(max(file.size for file in self._files))
        """How many may be read at once."""

    def read_at(self, shard: int, offset: int, size: int) -> bytes:
        """Return bytes of a shard."""
        self._go_on_after(shard)
        try:
            return self._cache.read_at(self._files[shard], offset, size)
        except FetchError as error:
            raise ImageError(str(error), code="unreadable") from None

    def expect(self, shards: Sequence[int]) -> None:
        """Begin to fetch shards."""
        self._prefetcher.want(shards)

    def name(self, shard: int) -> str:
        """Return a shard's URL."""
        return self._files[shard].url

    def _go_on_after(self, shard: int) -> None:
        """Expect the next shard where they are read one after another, as in an evaluation."""
        before, self._last = self._last, shard
        if shard == before + 1 < len(self._files) - 1 and self.at_once > 1:
            self._prefetcher.want([shard + 1])

    def __getstate__(self) -> tuple[Sequence[RemoteFile], ShardCache]:
        return self._files, self._cache

    def __setstate__(self, state: tuple[Sequence[RemoteFile], ShardCache]) -> None:
        self._files, self._cache = state
        self._begin()


class RemoteSource(TarSource):
    """Tar files of samples behind URLs.

    They are read as :class:`WebDatasetSource` reads those of this machine. A shard is fetched when
    one of its images is needed, or soon will be, and kept in a cache of bounded size. What is in
    the shards is known from the index that ``shards.json`` names; without one, all shards are
    fetched once, and what is in them is remembered.

    Args:
        data: a URL of a shard, a pattern (``s3://bucket/{000..999}.tar``) or a folder.
        options: as :class:`WebDatasetSource` takes them, and ``bad_shards``.

    Raises:
        FleetnetError: the package for such URLs is not installed.
        DataError: as for shards of this machine; or they cannot be fetched.
    """

    OPTIONS = (*WebDatasetSource.OPTIONS, "bad_shards")
    _reader: RemoteShards

    def __init__(self, data: str, options: SourceOptions | None = None) -> None:
        options = options or SourceOptions()
        check_key(options)
        cache = usual_cache()
        found = _find(data, cache, options)
        chosen = choose(list(found.files), found.root)
        (columns, splits, used, bad), _, notes = with_test_if_it_fits(
            lambda files: _index(data, options, found, files, cache), chosen, but_test(chosen)
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


class _Found(NamedTuple):
    """Shards as if they were files, so that names and folders mean what they mean there."""

    root: Path
    root_url: str
    files: dict[Path, RemoteFile]
    columns: TarColumns | None
    """The index that lies beside them."""


def _find(data: str, cache: ShardCache, options: SourceOptions) -> _Found:
    """Return the shards that a URL, a pattern or a folder names, and their index if there is one.

    Raises:
        DataError: there are none, or they cannot be found.
    """
    is_folder = not data.lower().endswith(SUFFIX)
    words = [data] if is_folder else list(expand(data))
    folder = data.rstrip("/") if is_folder else _common_folder(words)
    manifest = manifest_at(folder)
    if manifest is not None:
        files = _listed_in(manifest, folder, None if is_folder else words)
    elif is_folder:
        files = listed(folder, SUFFIX)
    elif has_magic(_path_of(data)):
        files = sorted({file for word in words for file in matching(word, SUFFIX)})
    else:
        files = sorted(map_in_threads(_asking(options), set(words), ASKED_AT_ONCE))
    if not files:
        raise DataError(f"no files {'in' if is_folder else 'match'} {data} that end in {SUFFIX}")
    by_path = {_as_path(file.url): file for file in files}
    root = common_root(list(by_path))
    index = None
    if (
        manifest is not None
        and manifest.index is not None
        and reads_labels_as_usual(replace(options, bad_shards=None))
    ):
        root = _as_path(folder)
        index = _index_at(folder, manifest, cache)
    path, file = next(iter(by_path.items()))
    root_url = file.url.removesuffix(f"/{path.relative_to(root).as_posix()}")
    return _Found(root, root_url, by_path, index)


def _as_path(url: str) -> Path:
    return Path("/" + url.partition("://")[2].strip("/"))


def _asking(options: SourceOptions) -> Callable[[str], RemoteFile]:
    """Return what asks about a shard; one that is missing and may be has no bytes."""

    def ask(url: str) -> RemoteFile:
        try:
            return info_of(url)
        except FetchError:
            if options.bad_shards != "skip":
                raise
            return RemoteFile(url, 0)

    return ask


def _path_of(url: str) -> str:
    return urlsplit(url).path


def _common_folder(urls: Sequence[str]) -> str:
    """Return the folder that all URLs are in, up to the first sign that stands for others."""
    parts = [url.split("/") for url in urls]
    common = []
    for level in zip(*(part[:-1] for part in parts), strict=False):
        if len(set(level)) > 1 or has_magic(level[0]):
            break
        common.append(level[0])
    return "/".join(common)


def manifest_at(folder: str) -> ShardManifest | None:
    """Return what ``shards.json`` in a folder behind a URL says; None if there is none.

    Raises:
        DataError: it is wrong.
    """
    try:
        content = content_of(f"{folder}/{MANIFEST}", MAX_BYTES)
    except FetchError:
        return None  # a server may refuse what it does not have; the shards say what is wrong
    return None if content is None else manifest_from(content, f"{folder}/{MANIFEST}")


def _listed_in(
    manifest: ShardManifest, folder: str, words: Sequence[str] | None
) -> list[RemoteFile]:
    """Return the shards of a manifest, all or those that are named.

    Raises:
        DataError: one that is named is not among them.
    """
    known = {
        f"{folder}/{entry.name}": RemoteFile(
            f"{folder}/{entry.name}", entry.bytes, sha256=entry.sha256
        )
        for entry in manifest.shards
    }
    if manifest.kind != "webdataset":
        raise DataError(
            f"{folder} has Parquet files, which are not read from elsewhere: copy the folder here"
        )
    if words is None or any(has_magic(_path_of(word)) for word in words):
        wanted = words and {file.url for word in words for file in matching(word, SUFFIX)}
        return [file for url, file in known.items() if wanted is None or url in wanted]
    missing = next((word for word in words if word not in known), None)
    if missing is not None:
        raise FetchError(f"{missing} is not among the shards that {folder}/{MANIFEST} lists")
    return [known[word] for word in words]


def _index_at(folder: str, manifest: ShardManifest, cache: ShardCache) -> TarColumns:
    """Return the index that a manifest names, fetched once.

    It is kept beside the cache of shards, not in it, because it is mapped as long as data is open.
    """
    entry = manifest.index
    assert entry is not None  # noqa: S101 - the caller asks
    url = f"{folder}/{entry.name}"
    path = _indexes(cache) / f"{entry.sha256}.npz"
    fetch_whole(RemoteFile(url, entry.bytes, sha256=entry.sha256), path)
    return columns_that_fit(_mapped(path), manifest, url)


def _indexes(cache: ShardCache) -> Path:
    return cache.folder.parent / "indexes"


def _mapped(path: Path) -> TarColumns:
    try:
        return load(path)
    except OSError as error:
        raise DataError(f"cannot read {path}: {error.strerror or error}") from None


def _index(
    data: str,
    options: SourceOptions,
    found: _Found,
    chosen: list[tuple[Path, int]],
    cache: ShardCache,
) -> tuple[TarColumns, npt.NDArray[np.int8], list[RemoteFile], list[str]]:
    """Return what is in the shards, the split of each, the shards, and notes on those left out."""
    paths = [path for path, _ in chosen]
    files = [found.files[path] for path in paths]
    names = [path.relative_to(found.root).as_posix() for path in paths]
    splits = np.array([split for _, split in chosen], np.int8)
    if found.columns is not None:
        return found.columns.of_files(names), splits, files, []
    known = _classes(options, found, cache)
    kept = _indexes(cache) / f"{_key(files, options, known)}.npz"
    if kept.exists():
        columns = _mapped(kept)
        return columns, *_those_in(columns, names, splits, files), []
    key = options.label_columns[0] if options.label_columns else None
    shards: list[Shard | DataError] = list(
        map_in_threads(
            lambda file: _shard(file, key, cache),
            files,
            min(cache.at_once(max(file.size for file in files)), FETCHED_AT_ONCE),
        )
    )
    bad = [shard for shard in shards if isinstance(shard, DataError)]
    good = [n for n, shard in enumerate(shards) if not isinstance(shard, DataError)]
    if bad and (options.bad_shards != "skip" or not good):
        if options.bad_shards == "skip":
            raise bad[0]
        raise following(
            bad[0],
            f"{bad[0]}; go on without it with bad_shards='skip'",
            DataError,
            arguments=["bad_shards"],
        )
    whole = [shard for shard in shards if not isinstance(shard, DataError)]
    urls = [files[n].url for n in good]
    check_kinds(whole, urls)
    columns = columns_of(whole, [names[n] for n in good], splits[good], known, options, data, urls)
    if not bad:
        columns.save(kept)
        columns = _mapped(kept)
    notes = [Note.of(error, f"a shard is left out: {error}") for error in bad]
    return columns, splits[good], [files[n] for n in good], list(notes)


def _those_in(
    columns: TarColumns,
    names: Sequence[str],
    splits: npt.NDArray[np.int8],
    files: Sequence[RemoteFile],
) -> tuple[npt.NDArray[np.int8], list[RemoteFile]]:
    numbers = [names.index(name) for name in columns.files]
    return splits[numbers], [files[number] for number in numbers]


def _shard(file: RemoteFile, key: str | None, cache: ShardCache) -> Shard | DataError:
    """Return what is in a shard, or what is wrong with it; messages name its URL."""
    if not file.size:
        return FetchError(f"{file.url} does not exist, or is empty", file=file.url)
    while True:
        try:
            path = cache.fetch(file)
        except FetchError as error:
            return error
        try:
            return index_shard(path, key)
        except DataError as error:
            if path.exists():  # it may have had to go meanwhile
                words = str(error).replace(str(path), file.url)
                return following(error, words, DataError, file=file.url)


def _classes(options: SourceOptions, found: _Found, cache: ShardCache) -> KnownClasses | None:
    """Return the classes that a file names: that of the options, or the one beside the shards."""
    if options.classes is not None:
        return KnownClasses.read(options.classes)
    try:
        content = content_of(f"{found.root_url}/{CLASSES_FILE}", MAX_BYTES)
    except FetchError:
        content = None
    if content is None:
        return None
    path = _indexes(cache) / f"{hashlib.sha256(content).hexdigest()}-{CLASSES_FILE}"
    with atomic_file(path) as file:
        file.write_bytes(content)
    known = KnownClasses.read(path)
    return None if known is None else known._replace(origin=CLASSES_FILE)


def _key(files: Iterable[RemoteFile], options: SourceOptions, known: KnownClasses | None) -> str:
    """Return a word for what an index depends on."""
    facts = [list(files), asdict(replace(options, bad_shards=None)), known and known.names]
    return hashlib.sha256(json.dumps(facts).encode()).hexdigest()


SOURCE = SourceKind(
    name="remote",
    title="shards behind a URL",
    open=RemoteSource,
    options=RemoteSource.OPTIONS,
    words=tuple(f"{scheme}:" for scheme in SCHEMES),
    rank=50,
)
