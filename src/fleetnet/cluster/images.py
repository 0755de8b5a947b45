"""The images of a part, read where the part is classified."""

from __future__ import annotations

import io
import os
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from fleetnet.cluster.parts import Part
from fleetnet.data.remote.shard_cache import ShardCache, usual_cache
from fleetnet.data.remote.store import (
    ASKED_AT_ONCE,
    FetchError,
    RemoteFile,
    UnreachableError,
    fetch,
    is_remote,
)
from fleetnet.data.shard_images import (
    ReadAt,
    fetched_rows,
    images_among,
    member_image,
    rows_of,
    too_large,
)
from fleetnet.data.sources.shards import Handle
from fleetnet.data.sources.tar_index import Member
from fleetnet.errors import DataError, ImageError
from fleetnet.image_bytes import MAX_BYTES, StoredImage
from fleetnet.threads import map_in_threads


class Broken:
    """Stands for an image that cannot be had; reading it says why.

    Args:
        error: the reason.
    """

    def __init__(self, error: ImageError) -> None:
        self._error = error

    def read(self, _size: int, /) -> bytes:
        """Raise the reason."""
        raise self._error


class Named(NamedTuple):
    """An image with the name that its row has."""

    name: str
    image: str | bytes | Broken


def images_of(part: Part, base: str) -> Iterator[Named]:
    """Yield a part's images, in order.

    A shard that is damaged gives the images before the damage, and itself as one that is broken.

    Args:
        part: what to read.
        base: the folder that paths are relative to, which need not be this process's.

    Raises:
        FetchError: a shard cannot be had, or the store of images does not answer.
    """
    if part.kind != "images":
        for shard in part.files:
            yield from _in_shard(shard, part.kind, base)
        return
    for file, image in map_in_threads(
        lambda file: (file, _loose(file, base)), part.files, ASKED_AT_ONCE
    ):
        yield Named(file.url, image)


def _loose(file: RemoteFile, base: str) -> str | bytes | Broken:
    """Return an image's path, or what a store has at its URL."""
    if not is_remote(file.url):
        return os.path.join(base, file.url)  # noqa: PTH118 - a Path would drop what is odd in it
    if file.size > MAX_BYTES:
        return Broken(too_large())
    content = io.BytesIO()
    try:
        fetch(file, content)
    except UnreachableError:
        raise
    except FetchError as error:
        return Broken(ImageError(str(error), code="unreadable"))
    return content.getvalue()


def _in_shard(shard: RemoteFile, kind: str, base: str) -> Iterator[Named]:
    try:
        yield from (_in_tar if kind == "tar" else _in_parquet)(shard, base)
    except FetchError:
        raise
    except DataError as error:
        yield Named(shard.url, Broken(ImageError(str(error), code="damaged")))


def _in_parquet(shard: RemoteFile, base: str) -> Iterator[Named]:
    if is_remote(shard.url):
        yield from map(_named, fetched_rows(shard, shard.url, usual_cache()))
        return
    path = Path(base, shard.url)
    try:
        yield from map(_named, rows_of(path, shard.url))
    except FileNotFoundError:
        raise DataError(f"{path} does not exist", file=str(path)) from None


def _in_tar(shard: RemoteFile, base: str) -> Iterator[Named]:
    """Yield the images of a tar file, with labels or without.

    Raises:
        DataError: it is damaged, after the images before the damage.
    """
    members: list[Member] = []
    damage: DataError | None = None
    cache = usual_cache()
    while True:
        path = _place(shard, base, cache)
        try:
            members.extend(images_among(path))
            read_at = _reader(shard, path, cache)
            break
        except DataError as error:
            damage, read_at = error, _reader(shard, path, cache)
            break
        except FileNotFoundError:
            if not is_remote(shard.url):
                raise DataError(f"{path} does not exist", file=str(path)) from None
            members = []  # another process has just needed its place in the cache
        except OSError as error:
            raise DataError(f"cannot read {path}: {error.strerror or error}") from None
    for member in members:
        yield _named(member_image(shard.url, member, read_at))
    if damage is not None:
        raise damage


def _named(image: StoredImage) -> Named:
    try:
        return Named(image.name, image.content)
    except ImageError as error:
        return Named(image.name, Broken(error))


def _place(shard: RemoteFile, base: str, cache: ShardCache) -> Path:
    """Return where a shard is on this machine, fetched if it is elsewhere."""
    return cache.fetch(shard) if is_remote(shard.url) else Path(base, shard.url)


def _reader(shard: RemoteFile, path: Path, cache: ShardCache) -> ReadAt:
    if is_remote(shard.url):
        return lambda offset, size: cache.read_at(shard, offset, size)
    return Handle(path).read_at
