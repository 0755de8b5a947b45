"""WebDataset: tar files whose members ``key.jpg`` and ``key.cls`` make a sample."""

from __future__ import annotations

import json
import tarfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple, cast

import numpy as np

from fleetnet.amounts import count
from fleetnet.data.sources.kind import SourceKind
from fleetnet.data.sources.labels import KnownClasses, LabelError, LabelReader
from fleetnet.data.sources.lru_cache import LruCache, one
from fleetnet.data.sources.options import SourceOptions
from fleetnet.data.sources.samples import SampleTable
from fleetnet.data.sources.shards import Handle, but_test, choose, common_root, files_of, shards_in
from fleetnet.data.sources.split_names import with_test_if_it_fits
from fleetnet.errors import DataError, ImageError, at
from fleetnet.images import MAX_BYTES, is_image_name
from fleetnet.labels import printable
from fleetnet.threads import map_in_threads

SUFFIX = ".tar"
COMPRESSED = (".tar.gz", ".tgz", ".tar.bz2", ".tar.xz", ".tar.zst")
CLASSES_FILE = "classes.txt"
OPEN_FILES = 64
THREADS = 8
"""Shards that are indexed at once: on a network disk most of the time is the latency of each
header."""
_LABELS = ("cls", "json", "txt")
"""Kinds of members that hold labels; the first that a shard's first sample has is used."""
_MAX_LABEL = 2**20
_BLOCK = 512
_MAGIC = {b"\x1f\x8b": "gzip", b"BZ": "bzip2", b"\xfd7": "xz", b"\x28\xb5": "zstandard"}


class _Member(NamedTuple):
    """A file in a tar: its name before and after the last dot, and the place of its content."""

    key: str
    kind: str
    offset: int
    size: int


class _Sample(NamedTuple):
    """Members that belong together: a key, its images (normally one) and its labels by kind."""

    key: str
    images: list[_Member]
    labels: dict[str, _Member]


class _Shard(NamedTuple):
    names: list[str]
    offsets: list[int]
    sizes: list[int]
    labels: list[object]
    kind: str


class WebDatasetSource:
    """Tar files of samples, indexed by their headers and read at any place.

    A sample is the members that share a key, the name up to the first dot after the last slash: one
    image, and a label in ``key.cls``, in ``key.json`` under ``label`` or in ``key.txt``. If every
    image of a key has a label of the same name up to the last dot (``img.v2.jpg`` and
    ``img.v2.cls``), each image is a sample with that label. Samples are numbered in the order of
    the files, so reading in order is sequential. Shards with train or val in their names are the
    splits of the data.

    Args:
        data: a file, a pattern (``{000..003}`` is expanded) or a folder.
        options: ``classes`` (``classes.txt`` beside the shards if None and there is one),
            ``label_columns`` (the key in the JSON), ``multi_label`` and ``label_separator`` (a
            comma if None).

    Raises:
        DataError: no shards; one is compressed, damaged, truncated or holds links; a key occurs
            twice; a sample has no label or a wrong one.
    """

    OPTIONS = ("classes", "label_columns", "multi_label", "label_separator")

    def __init__(self, data: str, options: SourceOptions | None = None) -> None:
        options = options or SourceOptions()
        if len(options.label_columns) > 1:
            raise DataError(
                "a WebDataset has its label under one key: give one in label_columns=",
                arguments=["label_columns"],
            )
        found = files_of(data, SUFFIX)
        root = common_root(found)
        chosen = choose(found, root)
        _, _, self.notes = with_test_if_it_fits(
            lambda files: self._open(data, options, root, files), chosen, but_test(chosen)
        )
        self._handles: LruCache[Path, Handle] = LruCache(OPEN_FILES, one)

    def _open(
        self, data: str, options: SourceOptions, root: Path, chosen: list[tuple[Path, int]]
    ) -> None:
        """Index the shards."""
        self._files = [file for file, _ in chosen]
        self.description = (
            f"WebDataset {printable(Path(data).absolute().name)}, {count(len(chosen), 'shard')}"
        )
        self.spec = options.spec(Path(data).absolute())
        self.multi_label = options.multi_label is not None
        beside = root / CLASSES_FILE
        known = KnownClasses.read(options.classes or (beside if beside.is_file() else None))
        reader = LabelReader(known, options.multi_label, options.label_separator or ",")
        key = options.label_columns[0] if options.label_columns else None
        shards = _index(self._files, key)
        names: list[str] = []
        for file, shard in zip(self._files, shards, strict=True):
            below = file.absolute().relative_to(root).as_posix()
            for name, label in zip(shard.names, shard.labels, strict=True):
                names.append(f"{below}/{name}")
                try:
                    reader.add_value(label)
                except LabelError as error:
                    place = f"{file}: {name}"
                    raise at(place, error, DataError, file=str(file), member=name) from None
        counts = [len(shard.names) for shard in shards]
        self.shards = np.repeat(np.arange(len(shards)), counts)
        self._offsets = np.array([n for shard in shards for n in shard.offsets], np.int64)
        self._sizes = np.array([n for shard in shards for n in shard.sizes], np.int64)
        splits = np.repeat(np.array([split for _, split in chosen], np.int8), counts)
        try:
            self.classes, values, ends = reader.finish(splits)
        except DataError as error:
            raise at(data, error, DataError, file=data) from None
        self.samples = SampleTable(names, values, ends, splits)

    def read(self, index: int) -> bytes:
        """Return the encoded bytes of sample ``index``."""
        size = int(self._sizes[index])
        if not size:
            raise ImageError("the file is empty", code="empty")
        if size > MAX_BYTES:
            raise ImageError(f"the file is larger than {MAX_BYTES // 2**20} MiB", code="too-large")
        return self._read_at(index, int(self._offsets[index]), size)

    def size(self, index: int) -> int:
        """Return the image's size, as the tar says."""
        return int(self._sizes[index])

    def read_end(self, index: int, count: int) -> bytes:
        """Return the last ``count`` bytes of the image."""
        size = int(self._sizes[index])
        count = min(count, size)
        return self._read_at(index, int(self._offsets[index]) + size - count, count)

    def _read_at(self, index: int, offset: int, size: int) -> bytes:
        path = self._files[self.shards[index]]
        try:
            data = self._handles.get(path, lambda: Handle(path)).read_at(offset, size)
        except OSError as error:
            raise ImageError(error.strerror or str(error)) from None
        if len(data) < size:
            raise ImageError(f"{path.name} is shorter than it was", code="truncated")
        return data


def _index(files: list[Path], key: str | None) -> list[_Shard]:
    """Read the headers and labels of all shards, a few shards at once."""
    workers = min(THREADS, len(files))
    shards = list(map_in_threads(lambda file: _index_shard(file, key), files, workers))
    kinds = {shard.kind: file for file, shard in zip(files, shards, strict=True) if shard.kind}
    if len(kinds) > 1:
        (one, first), (other, second), *_ = kinds.items()
        raise DataError(f"{first} has its labels in .{one} and {second} in .{other}")
    if not kinds:
        raise DataError(f"no samples in {files[0]}: its members must be key.jpg and key.cls")
    return shards


def _index_shard(path: Path, key: str | None) -> _Shard:
    """Read the headers of a shard and the labels between them."""
    try:
        return _samples_of(path, _members(path), Handle(path), key)
    except OSError as error:
        raise DataError(
            f"cannot read {path}: {error.strerror or error}", code="unreadable", file=str(path)
        ) from None


def _samples_of(
    path: Path, members: Iterator[tuple[str, _Member]], handle: Handle, key: str | None
) -> _Shard:
    shard = _Shard([], [], [], [], "")
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
    members: Iterator[tuple[str, _Member]], kinds: Sequence[str], path: Path
) -> Iterator[_Sample]:
    """Yield the samples that members make, by WebDataset's rule or by names to the last dot.

    Raises:
        DataError: an image has a label by each of the two.
    """
    for key, group in _grouped(members):
        images = [member for member in group if is_image_name(f"x.{member.kind}")]
        by_key: dict[str, dict[str, _Member]] = {key: {}}
        for member in group:
            by_key.setdefault(member.key, {})[member.kind] = member
        dotted = [image.key for image in images if image.key != key]
        if (
            not dotted
            or len({image.key for image in images}) < len(images)
            or any(by_key[image.key].keys().isdisjoint(kinds) for image in images)
        ):
            yield _Sample(key, images, by_key[key])
        elif len(dotted) == len(images) and not by_key[key].keys().isdisjoint(kinds):
            raise DataError(
                f"{path}: '{dotted[0]}' has a label of its own and one of '{key}', where "
                "WebDataset ends a key, at the first dot: write names without other dots",
                file=str(path),
            )
        else:
            for image in images:
                yield _Sample(image.key, [image], by_key[image.key])


def _label(handle: Handle, member: _Member, key: str) -> object:
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


def _grouped(members: Iterator[tuple[str, _Member]]) -> Iterator[tuple[str, list[_Member]]]:
    """Yield each key with its members, which are consecutive."""
    current: str | None = None
    group: list[_Member] = []
    for key, member in members:
        if key != current:
            if current is not None:
                yield current, group
            current, group = key, []
        group.append(member)
    if current is not None:
        yield current, group


def _members(path: Path) -> Iterator[tuple[str, _Member]]:
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
                        found = _Member(key, kind.lower(), member.offset_data, member.size)
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


def _decompress(data: str) -> str | None:
    """Return what to do with compressed shards."""
    if (folder := Path(data)).is_dir():
        suffix = next((suffix for suffix in COMPRESSED if shards_in(folder, suffix)), None)
        what = f"{folder} has shards that are compressed ({suffix}): decompress them to .tar"
    else:
        suffix = next((suffix for suffix in COMPRESSED if data.lower().endswith(suffix)), None)
        what = f"{data} is compressed: decompress it to .tar"
    return f"{what}, since images inside could not be read one at a time" if suffix else None


SOURCE = SourceKind(
    name="tar",
    title="tar files",
    open=WebDatasetSource,
    options=WebDatasetSource.OPTIONS,
    suffixes=(SUFFIX,),
    holds=lambda folder: bool(shards_in(folder, SUFFIX)),
    instead=_decompress,
    rank=30,
)
