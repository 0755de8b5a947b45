"""Which shards there are behind a URL, and what the manifest beside them says."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from glob import has_magic
from pathlib import Path
from typing import NamedTuple
from urllib.parse import urlsplit

from fleetnet.data.remote.store import (
    ASKED_AT_ONCE,
    FetchError,
    RemoteFile,
    content_of,
    info_of,
    listed,
    matching,
)
from fleetnet.data.sources.shard_manifest import MANIFEST, MAX_BYTES, ShardManifest, manifest_from
from fleetnet.data.sources.shards import common_root, expand
from fleetnet.errors import DataError
from fleetnet.threads import map_in_threads

TAR, PARQUET = ".tar", ".parquet"
SUFFIXES = (TAR, PARQUET)
"""Of shards; the first that a folder without a manifest has is read."""


class RemoteShardFiles(NamedTuple):
    """Shards as if they were files, so that names and folders mean what they mean there.

    Attributes:
        suffix: of all of them.
        folder: URL of the folder that was named, or that all are in, in which a manifest lies.
        root: the folder that all are in.
        root_url: its URL.
        files: by their paths.
        manifest: what ``shards.json`` beside them says; None if there is none.
    """

    suffix: str
    folder: str
    root: Path
    root_url: str
    files: dict[Path, RemoteFile]
    manifest: ShardManifest | None


def find_shards(data: str, *, may_be_missing: bool = False) -> RemoteShardFiles:
    """Return the shards that a URL, a pattern or a folder names.

    Args:
        data: what a user typed.
        may_be_missing: give a shard that cannot be asked about no bytes, in place of an error.

    Raises:
        DataError: there are none, or they cannot be found.
    """
    suffix = next((suffix for suffix in SUFFIXES if data.lower().endswith(suffix)), None)
    words = [data] if suffix is None else list(expand(data))
    folder = data.rstrip("/") if suffix is None else _common_folder(words)
    manifest = manifest_at(folder)
    if manifest is not None:
        kind = TAR if manifest.kind == "webdataset" else PARQUET
        files = _listed_in(manifest, folder, None if suffix is None else words, kind)
        suffix = kind
    elif suffix is None:
        suffix, files = _in_folder(folder)
    elif has_magic(_path_of(data)):
        files = sorted({file for word in words for file in matching(word, suffix)})
    else:
        ask = _asking(may_be_missing=may_be_missing)
        files = sorted(map_in_threads(ask, set(words), ASKED_AT_ONCE))
    if not files:
        raise DataError(f"no files match {data} that end in {suffix}")
    return shards_among(files, suffix, folder, manifest)


def shards_among(
    files: Sequence[RemoteFile], suffix: str, folder: str, manifest: ShardManifest | None = None
) -> RemoteShardFiles:
    """Return files of one suffix as shards, with the folder that they are in."""
    by_path = {as_path(file.url): file for file in files}
    root = common_root(list(by_path))
    path, file = next(iter(by_path.items()))
    root_url = file.url.removesuffix(f"/{path.relative_to(root).as_posix()}")
    return RemoteShardFiles(suffix, folder, root, root_url, by_path, manifest)


def as_path(url: str) -> Path:
    """Return a URL as a path: of its host, then of what lies there."""
    return Path("/" + url.partition("://")[2].strip("/"))


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


def _in_folder(folder: str) -> tuple[str, list[RemoteFile]]:
    """Return the shards of a folder without a manifest, and how they end.

    Raises:
        DataError: there are none.
    """
    for suffix in SUFFIXES:
        if files := listed(folder, suffix):
            return suffix, files
    raise DataError(f"no files in {folder} that end in {' or '.join(SUFFIXES)}")


def _asking(*, may_be_missing: bool) -> Callable[[str], RemoteFile]:
    """Return what asks about a shard; one that is missing and may be has no bytes."""

    def ask(url: str) -> RemoteFile:
        try:
            return info_of(url)
        except FetchError:
            if not may_be_missing:
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


def _listed_in(
    manifest: ShardManifest, folder: str, words: Sequence[str] | None, suffix: str
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
    if words is None or any(has_magic(_path_of(word)) for word in words):
        wanted = words and {file.url for word in words for file in matching(word, suffix)}
        return [file for url, file in known.items() if wanted is None or url in wanted]
    missing = next((word for word in words if word not in known), None)
    if missing is not None:
        raise FetchError(f"{missing} is not among the shards that {folder}/{MANIFEST} lists")
    return [known[word] for word in words]
