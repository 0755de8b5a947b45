"""The images in shards, one after another, with labels or without."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from fleetnet.data.remote.prefetcher import Prefetcher
from fleetnet.data.remote.shard_cache import ShardCache, usual_cache
from fleetnet.data.remote.store import FetchError, RemoteFile, is_remote
from fleetnet.data.sources.hub import SCHEME, find_on_hub
from fleetnet.data.sources.parquet import stored_images
from fleetnet.data.sources.remote_files import PARQUET, SUFFIXES, find_shards
from fleetnet.data.sources.shards import (
    Handle,
    common_root,
    expand,
    files_of,
    is_pattern,
    shards_in,
)
from fleetnet.data.sources.tar_index import Member, members_of
from fleetnet.errors import DataError, ImageError
from fleetnet.formats import is_image_name
from fleetnet.image_bytes import MAX_BYTES, StoredImage

ReadAt = Callable[[int, int], bytes]


def images_in(data: str) -> Iterator[StoredImage]:
    """Yield the images of a shard, a pattern of shards or a folder of them, here or behind a URL.

    Their names are those that samples have in the index of shards: ``0001.tar/cat/3.jpg``, or
    ``0001.parquet#17`` for a row. Only one image is held at a time, of Parquet files one row group;
    the next shard is fetched while one is read. A shard that cannot be read gives the images before
    the damage, then itself as an image that says why.

    Args:
        data: what a user typed.

    Raises:
        DataError: there are no shards.
    """
    yield from _remote(data) if is_remote(data) else _local(data)


def _local(data: str) -> Iterator[StoredImage]:
    files, suffix = _files(data)
    root = common_root(files)
    for file in files:
        name = file.absolute().relative_to(root).as_posix()
        images = rows_of(file, name) if suffix == PARQUET else _members(file, name)
        yield from _with_damage(images, name, str(file), name)


def _files(data: str) -> tuple[list[Path], str]:
    """Return the shards of this machine, and how they end; one that is named need not exist."""
    if Path(data).is_dir():
        found = ((shards_in(Path(data), suffix), suffix) for suffix in SUFFIXES)
        return next(((files, suffix) for files, suffix in found if files))
    suffix = next(suffix for suffix in SUFFIXES if data.lower().endswith(suffix))
    if is_pattern(data) and any(sign in data for sign in "*?["):
        return files_of(data, suffix), suffix
    return [Path(word) for word in (expand(data) if is_pattern(data) else [data])], suffix


def _remote(data: str) -> Iterator[StoredImage]:
    cache = usual_cache()
    if data.startswith(SCHEME):
        there = find_on_hub(data)
        found = there.found._replace(
            files={path: there.found.files[path] for path, _ in there.chosen}
        )
    else:
        found = find_shards(data, may_be_missing=True)
    files = list(found.files.values())
    names = [path.relative_to(found.root).as_posix() for path in found.files]
    prefetcher = Prefetcher(lambda shard: cache.fetch(files[shard]))
    several = cache.at_once(max(file.size for file in files)) > 1
    read = fetched_rows if found.suffix == PARQUET else _fetched_members
    for number, (file, name) in enumerate(zip(files, names, strict=True)):
        if several and number + 1 < len(files):
            prefetcher.want([number, number + 1])
        if file.size:
            here = str(cache.place(file))
            yield from _with_damage(read(file, name, cache), name, here, file.url)
        else:
            yield StoredImage(name, ImageError(f"{file.url} does not exist, or is empty"))


def _with_damage(
    images: Iterator[StoredImage], name: str, path: str, place: str
) -> Iterator[StoredImage]:
    """Yield images, and then, if the shard is damaged there, the shard itself.

    Args:
        images: of a shard.
        name: of the shard.
        path: as messages of what reads it call it.
        place: as a person calls it.
    """
    try:
        yield from images
    except DataError as error:
        why = str(error).replace(path, place)
        yield StoredImage(name, ImageError(why, code="damaged"))
    except OSError as error:
        yield StoredImage(name, ImageError(error.strerror or str(error), code="unreadable"))


def rows_of(file: Path, name: str) -> Iterator[StoredImage]:
    """Yield the images of a Parquet file that is called ``name``.

    Raises:
        DataError: it is damaged, after the images before the damage.
        FileNotFoundError: it is not there.
    """
    for row, data in enumerate(stored_images(file)):
        if not data:
            why = ImageError("the row has no bytes of an image in it", code="empty")
            yield StoredImage(f"{name}#{row}", why)
        else:
            yield StoredImage(f"{name}#{row}", data if len(data) <= MAX_BYTES else too_large())


def fetched_rows(file: RemoteFile, name: str, cache: ShardCache) -> Iterator[StoredImage]:
    """Yield the images of a Parquet file from elsewhere, which stays open meanwhile.

    Args:
        file: the file.
        name: what it is called.
        cache: of such files.

    Raises:
        DataError: it is damaged, after the images before the damage; or cannot be fetched.
    """
    done = 0
    while True:
        try:
            for image in itertools.islice(rows_of(cache.fetch(file), name), done, None):
                yield image
                done += 1
        except FileNotFoundError:
            continue  # another process has just needed its place
        return


def _members(file: Path, name: str) -> Iterator[StoredImage]:
    """Yield the images of a tar file."""
    handle = Handle(file)
    for member in images_among(file):
        yield member_image(name, member, handle.read_at)


def _fetched_members(file: RemoteFile, name: str, cache: ShardCache) -> Iterator[StoredImage]:
    """Yield the images of a tar file from elsewhere.

    It is opened for each image, so that one that had to go meanwhile takes no space.

    Raises:
        DataError: it is damaged, after the images before the damage; or cannot be fetched.
    """

    def read_at(offset: int, size: int) -> bytes:
        try:
            return cache.read_at(file, offset, size)
        except FetchError as error:
            raise ImageError(str(error), code="unreadable") from None

    members: list[Member] = []
    damage: DataError | None = None
    while True:
        members.clear()
        path = cache.fetch(file)
        try:
            members.extend(images_among(path))
        except FileNotFoundError:
            continue  # another process has just needed its place
        except DataError as error:
            damage = error
        break
    for member in members:
        yield member_image(name, member, read_at)
    if damage is not None:
        raise damage


def images_among(file: Path) -> Iterator[Member]:
    """Yield where the images of a tar file lie, without reading them.

    Raises:
        DataError: it is damaged, after the images before the damage.
        OSError: it cannot be read.
    """
    for _, member in members_of(file):
        if is_image_name(f"x.{member.kind}"):
            yield member


def member_image(shard: str, member: Member, read_at: ReadAt) -> StoredImage:
    """Return an image that lies in a tar file, or why it cannot be had.

    Args:
        shard: what the tar file is called.
        member: where the image lies.
        read_at: reads bytes from an offset on.
    """
    name = f"{shard}/{member.key}.{member.kind}"
    return StoredImage(name, _content(member, read_at))


def _content(member: Member, read_at: ReadAt) -> bytes | ImageError:
    if member.size > MAX_BYTES:
        return too_large()
    try:
        data = read_at(member.offset, member.size)
    except ImageError as error:
        return error
    except OSError as error:
        return ImageError(error.strerror or str(error))
    if not data:
        return ImageError("the file is empty", code="empty")
    if len(data) < member.size:
        return ImageError("the shard ends before the image does", code="truncated")
    return data


def too_large() -> ImageError:
    """Say of an image that nobody reads so many bytes of one."""
    return ImageError(f"the file is larger than {MAX_BYTES // 2**20} MiB", code="too-large")


def holds_shards(folder: Path) -> Sequence[Path]:
    """Return the shards of a folder, of the first kind that it has.

    Raises:
        DataError: it cannot be read.
    """
    return next((found for suffix in SUFFIXES if (found := shards_in(folder, suffix))), [])
