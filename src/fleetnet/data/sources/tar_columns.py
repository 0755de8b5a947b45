"""What is known of the samples in tar files, as columns: built once, then mapped from a file."""

from __future__ import annotations

import json
import mmap
import zipfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from fleetnet.data.sources.samples import Indices, SampleTable
from fleetnet.errors import DataError
from fleetnet.files import atomic_file

FORMAT = "fleetnet-shard-index"
VERSION = 1
ABOUT = "about.json"
MAX_ABOUT = 2**28
"""Bytes of the names of shards and classes."""
DIGEST_BYTES = 16
Digests = npt.NDArray[np.uint8]
"""``uint8[N, 16]``: of each sample :func:`fleetnet.data.contents.digest_of` of its bytes."""
_DTYPES: Mapping[str, type[np.generic]] = {
    "names": np.uint8,
    "name_ends": np.int64,
    "labels": np.int32,
    "label_ends": np.int64,
    "shards": np.int64,
    "offsets": np.int64,
    "sizes": np.int64,
    "digests": np.uint8,
}
_OPTIONAL = ("digests",)
_PIECE = 2**20
"""Entries of a column that are checked at once, so that checking takes no memory."""


@dataclass(frozen=True)
class TarColumns:
    """Where each sample's image is, and what its labels are.

    Attributes:
        files: names of the shards below their common folder, with forward slashes.
        bytes: how many each shard has.
        classes: names of the classes.
        multi_label: whether samples have any number of labels.
        names: ``uint8[M]``, the samples' names one after another, in UTF-8.
        name_ends: ``int64[N]``, where each ends.
        labels: ``int32[L]``, the labels of all samples one after another.
        label_ends: ``int64[N]``, where each sample's end.
        shards: ``int64[N]``, in which of the files a sample is; never decreasing.
        offsets: ``int64[N]``, where its image begins in the file.
        sizes: ``int64[N]``, how many bytes the image has.
        digests: of the images; None where they were not read.
        path: of the file that the columns are mapped from, by which another process maps them too;
            None where they are in memory.
    """

    files: tuple[str, ...]
    bytes: tuple[int, ...]
    classes: tuple[str, ...]
    multi_label: bool
    names: npt.NDArray[np.uint8]
    name_ends: npt.NDArray[np.int64]
    labels: npt.NDArray[np.int32]
    label_ends: npt.NDArray[np.int64]
    shards: Indices
    offsets: npt.NDArray[np.int64]
    sizes: npt.NDArray[np.int64]
    digests: Digests | None = None
    path: Path | None = None

    def __reduce__(self) -> tuple[Any, ...]:
        if self.path is not None:
            return load, (self.path,)
        return TarColumns, tuple(getattr(self, field.name) for field in fields(self))

    def __len__(self) -> int:
        return len(self.sizes)

    def table(self, splits: npt.NDArray[np.int8]) -> SampleTable:
        """Return the samples, each with the split of its shard.

        Args:
            splits: ``int8[shards]``, codes of :data:`fleetnet.data.sources.samples.SPLITS`.
        """
        counts = np.diff(self.shard_bounds())
        of_sample = np.repeat(splits, counts)
        return SampleTable.mapped(
            self.names, self.name_ends, self.labels, self.label_ends, of_sample
        )

    def shard_bounds(self) -> Indices:
        """Return where each shard's samples begin, and where the last one's end."""
        return np.searchsorted(self.shards, np.arange(len(self.files) + 1))

    def of_files(self, wanted: Sequence[str]) -> TarColumns:
        """Return what is known of some of the shards, in the order of their names given.

        Raises:
            KeyError: one is not known.
        """
        if tuple(wanted) == self.files:
            return self
        number_of = {name: number for number, name in enumerate(self.files)}
        numbers = [number_of[name] for name in wanted]
        bounds = self.shard_bounds()
        rows = [slice(bounds[number], bounds[number + 1]) for number in numbers]
        counts = [row.stop - row.start for row in rows]
        return TarColumns(
            files=tuple(wanted),
            bytes=tuple(self.bytes[number] for number in numbers),
            classes=self.classes,
            multi_label=self.multi_label,
            **_ragged("names", "name_ends", self.names, self.name_ends, rows),
            **_ragged("labels", "label_ends", self.labels, self.label_ends, rows),
            shards=np.repeat(np.arange(len(numbers)), counts),
            offsets=_joined(self.offsets, rows),
            sizes=_joined(self.sizes, rows),
            digests=None if self.digests is None else _joined(self.digests, rows),
        )

    def save(self, path: Path) -> None:
        """Write a file that :func:`load` maps, and that ``numpy.load`` reads.

        Raises:
            FleetnetError: it cannot be written.
        """
        about = {
            "format": FORMAT,
            "version": VERSION,
            "files": self.files,
            "bytes": self.bytes,
            "classes": self.classes,
            "multi_label": self.multi_label,
        }
        with (
            atomic_file(path) as place,
            zipfile.ZipFile(place, "w", zipfile.ZIP_STORED, allowZip64=True) as archive,
        ):
            archive.writestr(ABOUT, json.dumps(about))
            for name, dtype in _DTYPES.items():
                column = getattr(self, name)
                if column is None:
                    continue
                with archive.open(f"{name}.npy", "w", force_zip64=True) as member:
                    _write_column(member, np.asarray(column, dtype))


def joined(parts: Sequence[TarColumns]) -> TarColumns:
    """Return what is known of several sets of shards, which have the same classes, as one."""
    first = parts[0]
    starts = np.cumsum([0, *(len(part.files) for part in parts)])
    known = [part.digests for part in parts if part.digests is not None]
    return TarColumns(
        files=tuple(name for part in parts for name in part.files),
        bytes=tuple(size for part in parts for size in part.bytes),
        classes=first.classes,
        multi_label=first.multi_label,
        names=np.concatenate([part.names for part in parts]),
        name_ends=_moved([part.name_ends for part in parts], [len(part.names) for part in parts]),
        labels=np.concatenate([part.labels for part in parts]),
        label_ends=_moved(
            [part.label_ends for part in parts], [len(part.labels) for part in parts]
        ),
        shards=np.concatenate(
            [part.shards + start for part, start in zip(parts, starts, strict=False)]
        ),
        offsets=np.concatenate([part.offsets for part in parts]),
        sizes=np.concatenate([part.sizes for part in parts]),
        digests=np.concatenate(known) if len(known) == len(parts) else None,
    )


def _moved(
    columns: Sequence[npt.NDArray[np.int64]], lengths: Sequence[int]
) -> npt.NDArray[np.int64]:
    """Return where things end in columns that come one after another."""
    starts = np.cumsum([0, *lengths])
    return np.concatenate([column + start for column, start in zip(columns, starts, strict=False)])


def load(path: Path) -> TarColumns:
    """Return an index from its file; the columns are mapped, and read only where they are used.

    A worker process maps the same pages of memory.

    Raises:
        DataError: it is no such file, of a newer version, or damaged.
        OSError: it cannot be read.
    """
    try:
        with path.open("rb") as file, zipfile.ZipFile(file) as archive:
            about = _about(archive, path)
            view = memoryview(mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ))
            columns = {
                name: _map_column(archive, view, name)
                for name in _DTYPES
                if name not in _OPTIONAL or f"{name}.npy" in archive.namelist()
            }
        found = TarColumns(
            files=tuple(about["files"]),
            bytes=tuple(about["bytes"]),
            classes=tuple(about["classes"]),
            multi_label=about["multi_label"],
            **columns,
            path=path.absolute(),
        )
        _check(found)
    except (zipfile.BadZipFile, KeyError, ValueError, TypeError, NotImplementedError) as error:
        raise DataError(f"{path} is no index of shards, or is damaged: {error}") from None
    return found


def _about(archive: zipfile.ZipFile, path: Path) -> dict[str, Any]:
    if archive.getinfo(ABOUT).file_size > MAX_ABOUT:
        raise ValueError("its names take too many bytes")
    about = json.loads(archive.read(ABOUT))
    if not isinstance(about, dict) or about.get("format") != FORMAT:
        raise ValueError("it does not say that it is one")
    if about.get("version") != VERSION:
        raise DataError(
            f"{path} is an index of version {about.get('version')}, and this Fleetnet reads "
            f"version {VERSION}: remove it, and the shards are read instead",
            file=str(path),
        )
    texts = [*about["files"], *about["classes"]]
    if not all(isinstance(text, str) for text in texts) or type(about["multi_label"]) is not bool:
        raise ValueError("its names are no text")
    if not all(type(size) is int and size >= 0 for size in about["bytes"]):
        raise ValueError("its sizes are no numbers")
    return about


def _write_column(member: Any, column: npt.NDArray[Any]) -> None:
    header = np.lib.format.header_data_from_array_1_0(np.ascontiguousarray(column[:0]))
    header["shape"] = column.shape
    np.lib.format.write_array_header_2_0(member, header)
    for start in range(0, len(column), _PIECE):
        member.write(np.ascontiguousarray(column[start : start + _PIECE]).data)


def _map_column(archive: zipfile.ZipFile, view: memoryview, name: str) -> Any:
    """Return a column as it lies in the file."""
    info = archive.getinfo(f"{name}.npy")
    if info.compress_type != zipfile.ZIP_STORED:
        raise ValueError(f"'{name}' is compressed")
    with archive.open(info) as member:
        np.lib.format.read_magic(member)
        shape, fortran, dtype = np.lib.format.read_array_header_2_0(member)
        header = member.tell()
    wide = 2 if name == "digests" else 1
    if dtype != np.dtype(_DTYPES[name]) or len(shape) != wide or fortran:
        raise ValueError(f"'{name}' is {dtype} of {len(shape)} dimensions")
    # The local header, which is as long as its name and extra field say, lies before the content.
    start = info.header_offset
    lengths = [int.from_bytes(view[start + at : start + at + 2], "little") for at in (26, 28)]
    begin = start + 30 + sum(lengths) + header
    if info.file_size - header != int(np.prod(shape)) * dtype.itemsize:
        raise ValueError(f"'{name}' is shorter or longer than it says")
    end = begin + info.file_size - header
    if begin == end:
        return np.empty(shape, dtype)
    return np.frombuffer(view[begin:end], dtype).reshape(shape)


def _check(found: TarColumns) -> None:
    """Refuse columns that do not fit each other, or that lead out of the shards."""
    count = len(found)
    for name in ("name_ends", "label_ends", "shards", "offsets"):
        if len(getattr(found, name)) != count:
            raise ValueError(f"'{name}' is of another length than 'sizes'")
    if found.digests is not None and found.digests.shape != (count, DIGEST_BYTES):
        raise ValueError("'digests' is of another shape")
    if len(found.files) != len(found.bytes) or len(set(found.files)) < len(found.files):
        raise ValueError("its shards have other numbers of names and sizes, or a name twice")
    _check_ends(found.name_ends, len(found.names), "name_ends")
    _check_ends(found.label_ends, len(found.labels), "label_ends")
    if not found.multi_label and len(found.labels) != count:
        raise ValueError("its samples have other than one label each")
    limits = np.array(found.bytes, np.int64)
    previous = 0
    for start in range(0, count, _PIECE):
        piece = slice(start, start + _PIECE)
        shards, offsets, sizes = found.shards[piece], found.offsets[piece], found.sizes[piece]
        if shards[0] < previous or shards[-1] >= len(limits) or (np.diff(shards) < 0).any():
            raise ValueError("its samples are not in the order of the shards")
        previous = int(shards[-1])
        if (offsets < 0).any() or (sizes < 0).any() or (offsets > limits[shards] - sizes).any():
            raise ValueError("a sample lies outside of its shard")
    for start in range(0, len(found.labels), _PIECE):
        labels = found.labels[start : start + _PIECE]
        if labels.min() < 0 or labels.max() >= len(found.classes):
            raise ValueError("a label is beyond the classes")


def _check_ends(ends: npt.NDArray[np.int64], total: int, name: str) -> None:
    previous = 0
    for start in range(0, len(ends), _PIECE):
        piece = ends[start : start + _PIECE]
        if piece[0] < previous or (np.diff(piece) < 0).any():
            raise ValueError(f"'{name}' goes back")
        previous = int(piece[-1])
    if previous != total:
        raise ValueError(f"'{name}' does not end with the column")


def _joined(column: npt.NDArray[Any], rows: Sequence[slice]) -> Any:
    return np.concatenate([column[row] for row in rows]) if rows else column[:0]


def _ragged(
    values: str,
    ends: str,
    column: npt.NDArray[Any],
    bounds: npt.NDArray[np.int64],
    rows: Sequence[slice],
) -> dict[str, Any]:
    """Return the values of some rows and where each one's end, by the names of the two columns."""
    places = [
        slice(int(bounds[row.start - 1]) if row.start else 0, int(bounds[row.stop - 1]))
        if row.stop > row.start
        else slice(0, 0)
        for row in rows
    ]
    lengths = [
        np.diff(bounds[row], prepend=place.start) for row, place in zip(rows, places, strict=True)
    ]
    joined = np.concatenate(lengths) if lengths else np.empty(0, np.int64)
    return {values: _joined(column, places), ends: np.cumsum(joined, dtype=np.int64)}
