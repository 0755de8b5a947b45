"""The index of tar files whose members ``key.jpg`` and ``key.cls`` make a sample."""

from __future__ import annotations

import json
import tarfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple, cast

from fleetnet.amounts import count
from fleetnet.data.sources.labels import LabelError
from fleetnet.data.sources.shards import Handle
from fleetnet.data.sources.watched import long_work
from fleetnet.errors import DataError, at
from fleetnet.formats import is_image_name
from fleetnet.threads import map_in_threads

THREADS = 8
"""Shards that are indexed at once: on a network disk most of the time is the latency of each
header."""
_LABELS = ("cls", "json", "txt")
"""Kinds of members that hold labels; the first that a shard's first sample has is used."""
_MAX_LABEL = 2**20
_BLOCK = 512
_MAGIC = {b"\x1f\x8b": "gzip", b"BZ": "bzip2", b"\xfd7": "xz", b"\x28\xb5": "zstandard"}


class Member(NamedTuple):
    """A file in a tar: its name before and after the last dot, and the place of its content."""

    key: str
    kind: str
    offset: int
    size: int


class Sample(NamedTuple):
    """Members that belong together: a key, its images (normally one) and its labels by kind."""

    key: str
    images: list[Member]
    labels: dict[str, Member]


class Shard(NamedTuple):
    """What is in a shard: of each sample its image's name and place, and its label."""

    names: list[str]
    offsets: list[int]
    sizes: list[int]
    labels: list[object]
    kind: str
    """Of the members that hold the labels."""
    bytes: int
    """How many the file has."""


def index_shards(files: list[Path], key: str | None) -> list[Shard]:
    """Read the headers and labels of all shards, a few shards at once."""
    workers = min(THREADS, len(files))
    advance = long_work("indexing shards", len(files))
    shards = []
    for shard in map_in_threads(lambda file: index_shard(file, key), files, workers):
        shards.append(shard)
        advance(1)
    check_kinds(shards, [str(file) for file in files])
    return shards


def check_kinds(shards: Sequence[Shard], files: Sequence[str]) -> None:
    """Refuse shards that have their labels in different kinds of members, or no samples at all.

    Args:
        shards: what is in each.
        files: what messages call them.
    """
    kinds = {shard.kind: file for file, shard in zip(files, shards, strict=True) if shard.kind}
    if len(kinds) > 1:
        (one, first), (other, second), *_ = kinds.items()
        raise DataError(f"{first} has its labels in .{one} and {second} in .{other}")
    if not kinds:
        raise DataError(f"no samples in {files[0]}: its members must be key.jpg and key.cls")


def index_shard(path: Path, key: str | None) -> Shard:
    """Read the headers of a shard and the labels between them.

    Raises:
        DataError: it cannot be read, is damaged, or a sample has no label.
    """
    try:
        found = _samples_of(path, members_of(path), Handle(path), key)
        return found._replace(bytes=path.stat().st_size)
    except OSError as error:
        raise DataError(
            f"cannot read {path}: {error.strerror or error}", code="unreadable", file=str(path)
        ) from None


def _samples_of(
    path: Path, members: Iterator[tuple[str, Member]], handle: Handle, key: str | None
) -> Shard:
    shard = Shard([], [], [], [], "", 0)
    seen: set[str] = set()
    kinds = _LABELS if key is None else ("json",)
    for name, images, labels in _samples_among(members, kinds, path):
        if name in seen:
            raise DataError(f"{path}: the key '{name}' occurs twice", file=str(path))
        seen.add(name)
        if not images:
            continue
        if len(images) > 1:
            raise DataError(
                f"{path}: '{name}' has {count(len(images), 'image')}; one is expected (a key ends "
                "at the first dot)",
                file=str(path),
            )
        (image,) = images
        kind = shard.kind or next((one for one in kinds if one in labels), "")
        if kind not in labels:
            wanted = f".{kind}" if kind else " or ".join(f".{one}" for one in kinds)
            raise DataError(f"{path}: '{name}' has no label ({wanted})", file=str(path))
        shard = shard._replace(kind=kind)
        try:
            label = _label(handle, labels[kind], key or "label")
        except LabelError as error:
            member = f"{name}.{kind}"
            place = f"{path}: {member}"
            raise at(place, error, DataError, file=str(path), member=member) from None
        shard.names.append(f"{image.key}.{image.kind}")
        shard.offsets.append(image.offset)
        shard.sizes.append(image.size)
        shard.labels.append(label)
    return shard


def _samples_among(
    members: Iterator[tuple[str, Member]], kinds: Sequence[str], path: Path
) -> Iterator[Sample]:
    """Yield the samples that members make, by WebDataset's rule or by names to the last dot.

    Raises:
        DataError: an image has a label by each of the two.
    """
    for key, group in _grouped(members):
        images = [member for member in group if is_image_name(f"x.{member.kind}")]
        by_key: dict[str, dict[str, Member]] = {key: {}}
        for member in group:
            by_key.setdefault(member.key, {})[member.kind] = member
        dotted = [image.key for image in images if image.key != key]
        if (
            not dotted
            or len({image.key for image in images}) < len(images)
            or any(by_key[image.key].keys().isdisjoint(kinds) for image in images)
        ):
            yield Sample(key, images, by_key[key])
        elif len(dotted) == len(images) and not by_key[key].keys().isdisjoint(kinds):
            raise DataError(
                f"{path}: '{dotted[0]}' has a label of its own and one of '{key}', where "
                "WebDataset ends a key, at the first dot: write names without other dots",
                file=str(path),
            )
        else:
            for image in images:
                yield Sample(image.key, [image], by_key[image.key])


def _label(handle: Handle, member: Member, key: str) -> object:
    """Read the label in a member."""
    if member.size > _MAX_LABEL:
        raise LabelError(f"{member.size:,} bytes are no label")
    try:
        text = handle.read_at(member.offset, member.size).decode("utf-8-sig")
        if member.kind != "json":
            return text.strip()
        content = json.loads(text)
    except (ValueError, RecursionError):
        raise LabelError("is damaged") from None
    if not isinstance(content, dict) or key not in content:
        raise LabelError(
            f"has no '{key}': name the label's key with label_columns=", arguments=["label_columns"]
        )
    return content[key]


def _grouped(members: Iterator[tuple[str, Member]]) -> Iterator[tuple[str, list[Member]]]:
    """Yield each key with its members, which are consecutive."""
    current: str | None = None
    group: list[Member] = []
    for key, member in members:
        if key != current:
            if current is not None:
                yield current, group
            current, group = key, []
        group.append(member)
    if current is not None:
        yield current, group


def members_of(path: Path) -> Iterator[tuple[str, Member]]:
    """Yield the key of each file in a tar and where the file is, without reading it.

    Raises:
        DataError: it is compressed, damaged or truncated, or holds anything but files and folders.
    """
    try:
        with path.open("rb") as file:
            magic = file.read(2)
            if magic in _MAGIC:
                raise DataError(
                    f"{path} is compressed ({_MAGIC[magic]}): decompress it, since images inside "
                    "could not be read one at a time",
                    file=str(path),
                )
            file.seek(0)
            with tarfile.open(fileobj=file, mode="r:") as tar:
                while (member := tar.next()) is not None:
                    cast("Any", tar).members = []  # it would keep every header in memory
                    if member.isdir():
                        continue
                    if not member.isreg() or member.issparse():
                        raise DataError(
                            f"{path}: '{member.name}' is a link or no plain file: refused",
                            file=str(path),
                        )
                    folder, slash, base = member.name.rpartition("/")
                    stem, dot, _ = base.partition(".")
                    if stem and dot:  # neither hidden nor without an extension
                        key, _, kind = member.name.rpartition(".")
                        found = Member(key, kind.lower(), member.offset_data, member.size)
                        yield folder + slash + stem, found
                # tarfile ends at a damaged header too; the real end is a block of zeros.
                file.seek(tar.offset)
                if file.read(_BLOCK) != bytes(_BLOCK):
                    raise DataError(
                        f"{path} is damaged or truncated at byte {tar.offset:,}: write it again",
                        file=str(path),
                    )
    except (tarfile.TarError, ValueError, OverflowError, RecursionError) as error:
        raise DataError(f"{path} is no tar file, or is damaged: {error}", file=str(path)) from None
