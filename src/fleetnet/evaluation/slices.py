"""Accuracy by other facts on the images, such as camera, site or patient."""

from __future__ import annotations

import csv
import io
import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from fleetnet.amounts import count
from fleetnet.errors import DataError, nearest
from fleetnet.evaluation.bootstrap import Interval, wilson

KEYS = ("path", "file", "name", "image")
"""Headings of the column of image names; the first that exists is used."""
MAX_BYTES = 64 * 2**20
CATEGORIES = 12
"""A column of numbers with more distinct values is divided into quartiles."""
SHOWN = 20
"""If there are more values, the rarest are grouped."""
ABSENT = "(none given)"


@dataclass(frozen=True)
class Slice:
    """The images with the same value in a column.

    Attributes:
        column: its name.
        value: the value, a range of numbers, or how many rare values are grouped.
        images: how many were evaluated.
        accuracy: share that was answered right: top-1, for multi-label data the exact match.
        interval: its confidence interval.
    """

    column: str
    value: str
    images: int
    accuracy: float
    interval: Interval

    def to_json(self) -> dict[str, Any]:
        """Return the figures as JSON values."""
        return {**vars(self), "interval": list(self.interval)}


@dataclass(frozen=True)
class SliceTable:
    """Columns of facts on images.

    Attributes:
        columns: each column's values by the image's index in the source.
        notes: what a person should know, such as rows that match no image.
    """

    columns: dict[str, dict[int, str]]
    notes: tuple[str, ...]


def read_slices(path: Path, names: Sequence[str], wanted: Sequence[str] = ()) -> SliceTable:
    """Read a CSV file with a header and a row for each image.

    Args:
        path: the file. Its column ``path``, ``file``, ``name`` or ``image`` holds names of images
            as in the data, or only file names if those are unique.
        names: the data's images.
        wanted: columns to slice by; all but the names if empty.

    Raises:
        DataError: the file cannot be read, is no such table, has no image of the data or one twice,
            or lacks a wanted column.
    """
    rows = _rows(path)
    header = [cell.strip() for cell in rows[0]]
    key = _key_column(path, header)
    chosen = _chosen_columns(path, header, key, wanted)
    index_of = _index_by_name(names)
    columns: dict[str, dict[int, str]] = {header[column]: {} for column in chosen}
    seen: dict[int, int] = {}
    unknown: list[str] = []
    for number, row in enumerate(rows[1:], start=2):
        if not any(row):
            continue
        if len(row) != len(header):
            raise DataError(
                f"{path}, row {number}: {len(row)} cells under a header of {len(header)}",
                file=str(path),
                row=number,
            )
        name = row[key].strip().replace("\\", "/").removeprefix("./")
        index = index_of.get(name)
        if index is None:
            unknown.append(f"row {number}: '{name}'")
            continue
        if index in seen:
            raise DataError(
                f"{path}, row {number}: '{name}' is in row {seen[index]} already",
                file=str(path),
                row=number,
            )
        seen[index] = number
        for column in chosen:
            columns[header[column]][index] = row[column].strip()
    return SliceTable(columns, _notes(path, unknown, bool(seen), names))


def _rows(path: Path) -> list[list[str]]:
    try:
        if path.stat().st_size > MAX_BYTES:
            raise DataError(
                f"{path} is larger than {MAX_BYTES // 2**20} MiB", code="too-large", file=str(path)
            )
        text = path.read_text("utf-8-sig")
    except OSError as error:
        raise DataError(
            f"cannot read {path}: {error.strerror or error}", code="unreadable", file=str(path)
        ) from None
    except UnicodeDecodeError:
        raise DataError(
            f"{path} is not UTF-8 text: save it as CSV in UTF-8", file=str(path)
        ) from None
    try:
        rows = list(csv.reader(io.StringIO(text), strict=True))
    except csv.Error as error:
        raise DataError(f"{path} is not a CSV file: {error}", file=str(path)) from None
    if len(rows) < 2:
        raise DataError(f"{path} has no rows: give a header and a row an image", file=str(path))
    return rows


def _key_column(path: Path, header: list[str]) -> int:
    folded = [name.casefold() for name in header]
    for known in KEYS:
        if known in folded:
            return folded.index(known)
    close = next((f" ('{name}'{hint})" for name in header if (hint := nearest(name, KEYS))), "")
    raise DataError(
        f"{path} has no column of image names: call it {', '.join(KEYS[:-1])} or {KEYS[-1]}{close}",
        file=str(path),
    )


def _chosen_columns(path: Path, header: list[str], key: int, wanted: Sequence[str]) -> list[int]:
    others = [index for index in range(len(header)) if index != key and header[index]]
    known = [header[index] for index in others]
    if len(set(known)) != len(known):
        twice = next(name for name, count in Counter(known).items() if count > 1)
        raise DataError(f"{path} has two columns '{twice}'", file=str(path))
    for name in wanted:
        if name not in known:
            raise DataError(
                f"{path} has no column '{name}'{nearest(name, known)} (it has: {', '.join(known)})",
                file=str(path),
            )
    if not known:
        raise DataError(f"{path} has no column to slice by, only the images' names", file=str(path))
    return [index for index in others if not wanted or header[index] in wanted]


def _index_by_name(names: Sequence[str]) -> dict[str, int]:
    """Map names, and file names that only one image has, to indices."""
    by_file = Counter(name.rpartition("/")[2] for name in names)
    short = {
        file: index
        for index, name in enumerate(names)
        if by_file[file := name.rpartition("/")[2]] == 1
    }
    return short | {name: index for index, name in enumerate(names)}


def _notes(path: Path, unknown: list[str], found: bool, names: Sequence[str]) -> tuple[str, ...]:
    if not unknown:
        return ()
    first = unknown[0].partition("'")[2].removesuffix("'")
    hint = nearest(first, names)
    if not found:
        raise DataError(
            f"{path} names no image of the data; {unknown[0]} is none{hint}", file=str(path)
        )
    rows = f"{count(len(unknown), 'row')} of {path} name{'s' * (len(unknown) == 1)}"
    return (f"{rows} no image of the data, such as {unknown[0]}{hint}",)


def slice_accuracy(
    table: SliceTable, indices: npt.NDArray[np.integer], right: npt.NDArray[np.bool_]
) -> list[Slice]:
    """Return the accuracy of every value of every column.

    Args:
        table: the columns.
        indices: of the evaluated images in the source, ``int[N]``.
        right: whether each was answered right, ``bool[N]``.
    """
    slices: list[Slice] = []
    for column, by_index in table.columns.items():
        values = [by_index.get(int(index), "") for index in indices]
        names, groups = _grouped(values)
        for group, name in enumerate(names):
            chosen = right[groups == group]
            if len(chosen):
                hits = int(chosen.sum())
                interval = wilson(hits, len(chosen))
                slices.append(Slice(column, name, len(chosen), hits / len(chosen), interval))
    return slices


def _grouped(values: list[str]) -> tuple[list[str], npt.NDArray[np.intp]]:
    """Return the groups' names in order, and each value's group."""
    numbers = [_number(value) for value in values]
    given = [number for number in numbers if number is not None]
    if len(given) == sum(map(bool, values)) and len(set(given)) > CATEGORIES:
        return _quartiles(numbers, np.array(given))
    counts = Counter(value for value in values if value)
    names = sorted(counts, key=lambda value: (-counts[value], value))
    rare = set(names[SHOWN - 1 :]) if len(names) > SHOWN else set()
    shown = [name for name in names if name not in rare]
    if all(_number(name) is not None for name in shown):
        shown.sort(key=float)
    group_of = {name: group for group, name in enumerate(shown)}
    last = [f"{len(rare)} other values", ABSENT]
    groups = [group_of.get(value, len(shown) + (0 if value in rare else 1)) for value in values]
    return [*shown, *last], np.array(groups, np.intp)


def _quartiles(
    numbers: list[float | None], given: npt.NDArray[np.float64]
) -> tuple[list[str], npt.NDArray[np.intp]]:
    edges = np.quantile(given, [0.25, 0.5, 0.75])
    low, middle, high = (f"{edge:.4g}" for edge in edges)
    names = [f"up to {low}", f"{low} to {middle}", f"{middle} to {high}", f"above {high}", ABSENT]
    groups = [
        4 if number is None else int(np.searchsorted(edges, number, "left")) for number in numbers
    ]
    return names, np.array(groups, np.intp)


def _number(value: str) -> float | None:
    try:
        number = float(value)
    except ValueError:
        return None
    return number if math.isfinite(number) else None
