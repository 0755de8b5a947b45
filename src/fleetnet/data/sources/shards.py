"""Files that hold many samples each: finding them, and reading from the middle of them."""

from __future__ import annotations

import glob
import os
import re
import threading
from collections.abc import Iterator, Sequence
from pathlib import Path

from fleetnet.data.sources.pointers import refuse_pointer
from fleetnet.data.sources.samples import NO_SPLIT, TEST, VAL
from fleetnet.data.sources.split_names import split_of_name, splits_to_use
from fleetnet.errors import DataError

MAX_SHARDS = 100_000
MAX_FOLDERS = 1000
"""Sub-folders that are searched for configurations."""
_LEVELS = 2
_BRACES = re.compile(r"\{([^{}]*)\}")
_RANGE = re.compile(r"(\d{1,9})\.\.(\d{1,9})")
DATA_FOLDER = "data"
"""Where the Hugging Face hub keeps shards, if not in the folder itself."""


def expand(pattern: str) -> Iterator[str]:
    """Yield the names that braces in a pattern expand to: ``{000..003}`` and ``{a,b}``.

    Raises:
        DataError: they expand to more than :data:`MAX_SHARDS` files.
    """
    return _expand(pattern, [0])


def _expand(pattern: str, made: list[int]) -> Iterator[str]:
    found = _BRACES.search(pattern)
    if found is None:
        made[0] += 1
        if made[0] > MAX_SHARDS:
            raise DataError(f"the braces expand to more than {MAX_SHARDS:,} files")
        yield pattern
        return
    bounds = _RANGE.fullmatch(found[1])
    if bounds:
        first, last = int(bounds[1]), int(bounds[2])
        width = len(bounds[1]) if bounds[1].startswith("0") else 0
        step = 1 if first <= last else -1
        words: Iterator[str] = (str(n).zfill(width) for n in range(first, last + step, step))
    else:
        words = iter(found[1].split(","))
    for word in words:
        yield from _expand(pattern[: found.start()] + word + pattern[found.end() :], made)


def is_pattern(data: str) -> bool:
    """Tell whether what a user typed is a pattern of several files."""
    return bool(glob.has_magic(data) or _BRACES.search(data)) and not Path(data).exists()


def files_of(data: str, suffix: str) -> list[Path]:
    """Return the shards that a file, a pattern or a folder names, sorted.

    Raises:
        DataError: there are none.
    """
    path = Path(data)
    if path.is_dir():
        found = shards_in(path, suffix)
    elif is_pattern(data):
        words = list(expand(data))
        found = sorted({Path(match) for word in words for match in _matches(word)})
    else:
        found = [path]
    for file in found:
        if not file.is_file():
            raise DataError(f"{file} is not a file" if file.exists() else f"{file} does not exist")
        if file.suffix.lower() != suffix:
            raise DataError(
                f"{file} does not end in {suffix} as the other shards do", file=str(file)
            )
        _refuse_pointer(file)
    if not found:
        raise DataError(f"no files match {data}")
    return found


def _refuse_pointer(file: Path) -> None:
    try:
        refuse_pointer(file)
    except OSError as error:
        raise DataError(
            f"cannot read {file}: {error.strerror or error}", code="unreadable", file=str(file)
        ) from None


def shards_in(folder: Path, suffix: str) -> list[Path]:
    """Return the files of a suffix in a folder, in its ``data/`` and in folders of splits."""
    inside = [
        place
        for place in folders_in(folder)
        if place.name == DATA_FOLDER or split_of_name(place.name) != NO_SPLIT
    ]
    try:
        return sorted(
            Path(entry.path)
            for place in (folder, *inside)
            for entry in os.scandir(place)
            if entry.name.lower().endswith(suffix)
            and not entry.name.startswith(".")
            and entry.is_file()
        )
    except OSError as error:
        raise DataError(
            f"cannot read the folder {folder}: {error.strerror}",
            code="unreadable",
            file=str(folder),
        ) from None


def configurations(folder: Path, suffix: str) -> list[Path]:
    """Return the folders with shards below one that has none, as the hub keeps configurations.

    These are its sub-folders, such as ``plain_text/``, or, where none of them has shards, their
    sub-folders.

    Raises:
        DataError: a folder cannot be read.
    """
    level = [folder]
    for _ in range(_LEVELS):
        level = [inner for outer in level for inner in folders_in(outer)][:MAX_FOLDERS]
        found = [place for place in level if shards_in(place, suffix)]
        if found:
            return found
    return []


def folders_in(folder: Path) -> list[Path]:
    """Return the sub-folders that are not hidden, sorted.

    Raises:
        DataError: the folder cannot be read.
    """
    try:
        with os.scandir(folder) as scan:
            return sorted(
                Path(entry.path)
                for entry in scan
                if not entry.name.startswith(".") and entry.is_dir()
            )
    except OSError as error:
        raise DataError(
            f"cannot read the folder {folder}: {error.strerror}",
            code="unreadable",
            file=str(folder),
        ) from None


def choose(files: Sequence[Path], root: Path) -> list[tuple[Path, int]]:
    """Return the shards to use, each with the split that its name or folder below root means.

    Raises:
        DataError: some of the names mean train or val and others nothing.
    """
    named = [
        split_of_name(file.name)
        or (NO_SPLIT if file.parent.absolute() == root else split_of_name(file.parent.name))
        for file in files
    ]
    splits, used = splits_to_use(named)
    silent = [file.name for file, split in zip(files, named, strict=True) if split == NO_SPLIT]
    if VAL in splits and silent:
        raise DataError(
            f"{silent[0]} says neither train nor val in its name, as other shards do: rename it"
        )
    chosen = [(file, int(splits[n])) for n, file in enumerate(files) if used[n]]
    # Last, so that training images have the numbers that they would have without it.
    return sorted(chosen, key=lambda entry: entry[1] == TEST)


def but_test(chosen: list[tuple[Path, int]]) -> list[tuple[Path, int]] | None:
    """Return shards without those of the test split; None if there are none of those."""
    rest = [(file, split) for file, split in chosen if split != TEST]
    return rest if len(rest) < len(chosen) else None


def common_root(files: Sequence[Path]) -> Path:
    """Return the folder that all files are in."""
    return Path(os.path.commonpath([file.parent.absolute() for file in files]))


class Handle:
    """An open file that several threads read from at once; closed when nothing holds it."""

    def __init__(self, path: Path) -> None:
        self._lock = threading.Lock()
        self._file = -1
        self._file = os.open(path, os.O_RDONLY | getattr(os, "O_BINARY", 0))

    def read_at(self, offset: int, size: int) -> bytes:
        """Return ``size`` bytes from ``offset``, fewer where the file ends before."""
        if hasattr(os, "pread"):
            return os.pread(self._file, size, offset)
        with self._lock:
            os.lseek(self._file, offset, os.SEEK_SET)
            return os.read(self._file, size)

    def __del__(self) -> None:
        if self._file >= 0:
            os.close(self._file)


def _matches(pattern: str) -> list[str]:
    # A name from braces is kept even if there is no such file, so that missing shards are noticed.
    return glob.glob(pattern) if glob.has_magic(pattern) else [pattern]  # noqa: PTH207
