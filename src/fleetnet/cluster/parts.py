"""What is to be classified, in parts, each of which is the work of one process at a time."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Sequence
from glob import has_magic
from pathlib import Path
from typing import Literal, NamedTuple
from urllib.parse import urlsplit

from fleetnet.data.remote.store import (
    ASKED_AT_ONCE,
    RemoteFile,
    found_below,
    info_of,
    is_remote,
    listed,
    matching,
)
from fleetnet.data.sources.hub import SCHEME, find_on_hub
from fleetnet.data.sources.remote_files import manifest_at
from fleetnet.data.sources.shards import expand, files_of, is_pattern, shards_in
from fleetnet.errors import DataError
from fleetnet.formats import USUAL, is_image_name
from fleetnet.image_bytes import STDIN
from fleetnet.image_files import check_given, find_images
from fleetnet.left_out import LeftOut
from fleetnet.threads import map_in_threads

PartKind = Literal["images", "tar", "parquet"]
SHARDS: tuple[PartKind, ...] = ("tar", "parquet")
"""Kinds of files that hold many images, which are called as their names end."""
PER_PART = 1000


class Part(NamedTuple):
    """Images that are answered together.

    Attributes:
        kind: of its files.
        files: images, or one shard; those of this machine have no size and no version unless they
            are shards.
    """

    kind: PartKind
    files: tuple[RemoteFile, ...]

    def to_json(self) -> bytes:
        """Return it as text."""
        return json.dumps([self.kind, [_shortest(file) for file in self.files]]).encode()

    @classmethod
    def from_json(cls, text: bytes) -> Part:
        """Return the part that :meth:`to_json` wrote."""
        kind, files = json.loads(text)
        return cls(kind, tuple(RemoteFile(*file) for file in files))


def parts_of(sources: Sequence[str], per_part: int, left_out: LeftOut) -> Iterator[Part]:
    """Yield all parts, in an order that follows from the sources and what is there.

    Args:
        sources: what a user typed: images, folders, globs, tar and Parquet files, or URLs of any.
        per_part: how many images a part has; a shard is a part of its own.
        left_out: counts what is skipped.

    Raises:
        DataError: a source has no images, or cannot be listed.
    """
    if STDIN in sources:
        raise DataError("standard input is one image, for which no cluster is needed")
    check_given(source for source in sources if not is_remote(source) and not is_pattern(source))
    loose: list[RemoteFile] = []
    for kind, file in _files(sources, left_out):
        if kind != "images":
            yield Part(kind, (file,))
            continue
        loose.append(file)
        if len(loose) == per_part:
            yield Part(kind, tuple(loose))
            loose = []
    if loose:
        yield Part("images", tuple(loose))


def _shortest(file: RemoteFile) -> list[str | int]:
    """Return a file's fields without those at the end that are empty."""
    fields: list[str | int] = list(file)
    while len(fields) > 2 and not fields[-1]:
        fields.pop()
    return fields


def _files(sources: Iterable[str], left_out: LeftOut) -> Iterator[tuple[PartKind, RemoteFile]]:
    for source in sources:
        find = _remote_files if is_remote(source) else _local_files
        yield from find(source, left_out)


def _kind_of(name: str) -> PartKind:
    return next((kind for kind in SHARDS if name.lower().endswith(f".{kind}")), "images")


def _local_files(source: str, left_out: LeftOut) -> Iterator[tuple[PartKind, RemoteFile]]:
    """Yield the files of this machine that a path or pattern names, as they are written."""
    kind, shards = _kind_of(source), list[Path]()
    if Path(source).is_dir():
        for kind in SHARDS:
            if shards := shards_in(Path(source), f".{kind}"):
                break
    elif kind != "images":
        shards = files_of(source, f".{kind}")
    for shard in shards:
        yield kind, RemoteFile(str(shard), shard.stat().st_size)
    if not shards:
        for image in find_images([source], left_out, lenient=True):
            yield "images", RemoteFile(image, 0)


def _remote_files(source: str, left_out: LeftOut) -> Iterator[tuple[PartKind, RemoteFile]]:
    """Yield the files behind a URL, or in a folder behind one.

    Raises:
        DataError: there are none.
    """
    if source.startswith(SCHEME):
        there = find_on_hub(source)
        yield from (("parquet", there.found.files[path]) for path, _ in there.chosen)
        return
    path = urlsplit(source).path
    kind = _kind_of(path)
    if kind != "images" or is_image_name(path):
        words = list(expand(source))
        globs = [word for word in words if has_magic(urlsplit(word).path)]
        single = [word for word in words if word not in globs]
        files = [
            *map_in_threads(info_of, single, ASKED_AT_ONCE),
            *(file for word in globs for file in matching(word, f".{kind}" * (kind in SHARDS))),
        ]
    elif has_magic(path):
        kind, files = "images", matching(source, "")
    else:
        kind, files = _in_folder(source.rstrip("/"))
    count = 0
    for file in files:
        if kind != "images" or is_image_name(file.url):
            count += 1
            yield kind, file
        else:
            left_out.add_file(file.url.rpartition("/")[2])
    if not count:
        raise DataError(f"no images in {source} (looked for {USUAL}, .tar and .parquet)")


def _in_folder(folder: str) -> tuple[PartKind, list[RemoteFile]]:
    """Return what is in a folder: shards as ``shards.json`` lists them, others, or images."""
    manifest = manifest_at(folder)
    if manifest is not None:
        kind: PartKind = "tar" if manifest.kind == "webdataset" else "parquet"
        return kind, [
            RemoteFile(f"{folder}/{entry.name}", entry.bytes, sha256=entry.sha256)
            for entry in manifest.shards
        ]
    for kind in SHARDS:
        if shards := listed(folder, f".{kind}"):
            return kind, shards
    return "images", found_below(folder)
