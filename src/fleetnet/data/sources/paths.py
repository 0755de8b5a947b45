"""Paths as people write them in lists and tables, matched with the files that exist."""

from __future__ import annotations

import os
import re
from collections import defaultdict
from collections.abc import Collection, Iterator, Sequence
from functools import lru_cache
from itertools import islice
from pathlib import Path, PurePath, PureWindowsPath
from typing import TypeVar

from fleetnet.errors import DataError
from fleetnet.formats import is_image_name
from fleetnet.reporting import Note

CHECKED = 8
"""How many files of a list are looked for when it is opened."""
MAX_FOLDERS = 1000
"""Sub-folders to search for files that are not where the paths say."""
_Item = TypeVar("_Item")
_BACKSLASHES = re.compile(r"\\+")


def find_files(root: Path, names: list[str], where: str) -> tuple[list[str], list[str]]:
    """Return the names of the existing files, and notes on how they differ from those written.

    Backslashes between folders, as on Windows, become slashes if only then the files exist; names
    without an ending get the ending of the file. Nothing else changes. Only a few files are looked
    for, except for names without an ending.

    Args:
        root: folder that the names are relative to.
        names: of the images.
        where: the list or table, for messages.

    Raises:
        DataError: none of the files that were looked for exists, a name without an ending fits
            several files, or two names are the same file.
    """
    found, notes = _with_slashes(root, names)
    found, added = _with_endings(root, found, where)
    if found is not names:
        _refuse_copies(names, found, where)
    if found and not any(_exists(root, name) for name in _some(found)):
        why = _why_missing(root, found[0])
        raise DataError(
            f"{where}: {why}",
            file=where,
            missing=str(root / found[0]),
            arguments=list(why.arguments),
        )
    return found, notes + added


def _with_slashes(root: Path, names: list[str]) -> tuple[list[str], list[str]]:
    """Return the names with slashes for backslashes, if these are between folders."""
    odd = _some([name for name in names if "\\" in name])
    if not odd or any(_exists(root, name) for name in odd):
        return names, []
    if not any(_could_be(root, _slashed(name)) for name in odd):
        return names, []
    note = f"paths with backslashes, such as {odd[0]}, are read as {_slashed(odd[0])}"
    return [_slashed(name) for name in names], [note]


def _slashed(name: str) -> str:
    return _BACKSLASHES.sub("/", name)


def _could_be(root: Path, name: str) -> bool:
    """Tell whether there is such a file, or, for a name without an ending, its folder."""
    folder = _place(root, name.rpartition("/")[0])
    return _exists(root, name) or (not _has_ending(name) and os.path.isdir(folder))  # noqa: PTH112


def _with_endings(root: Path, names: list[str], where: str) -> tuple[list[str], list[str]]:
    """Return the names with the endings of their files, where they are written without.

    Each folder is read once, however many names there are.
    """
    bare = [number for number, name in enumerate(names) if not _has_ending(name)]
    if not bare or any(_exists(root, names[number]) for number in _some(bare)):
        return names, []
    by_folder: dict[str, dict[str, list[int]]] = defaultdict(lambda: defaultdict(list))
    for number in bare:
        folder, slash, base = names[number].rpartition("/")
        by_folder[folder + slash][base].append(number)
    found = list(names)
    for folder, wanted in by_folder.items():
        for base, files in _files_called(_place(root, folder), wanted).items():
            if len(files) > 1:
                raise DataError(
                    f"{where}: '{folder}{base}' may be {' or '.join(sorted(files)[:3])}: write the "
                    "ending"
                )
            for number in wanted[base]:
                found[number] = folder + files[0]
    changed = next((number for number in bare if found[number] != names[number]), None)
    if changed is None:
        return names, []
    return found, [f"names without an ending, such as {names[changed]}, are {found[changed]}"]


def _files_called(folder: str, wanted: Collection[str]) -> dict[str, list[str]]:
    """Return the images in a folder for each of the names without endings that has any.

    A file of exactly that name is preferred.
    """
    found: dict[str, list[str]] = {}
    exact = []
    try:
        with os.scandir(folder) as scan:
            for entry in scan:
                stem, _ = os.path.splitext(entry.name)  # noqa: PTH122 - asked of every file
                if entry.name in wanted and entry.is_file():
                    exact.append(entry.name)
                elif stem in wanted and _has_ending(entry.name) and entry.is_file():
                    found.setdefault(stem, []).append(entry.name)
    except OSError:
        return {}  # the files in it are reported as missing
    return found | {name: [name] for name in exact}


def _refuse_copies(names: Sequence[str], found: Sequence[str], where: str) -> None:
    """Refuse two names of one file."""
    seen: dict[str, str] = {}
    for written, name in zip(names, found, strict=True):
        if name in seen:
            raise DataError(f"{where}: '{seen[name]}' and '{written}' are the same file, {name}")
        seen[name] = written


def _why_missing(root: Path, name: str) -> Note:
    """Return why there is no such file, if that can be found out, and what to do."""
    what = f"there is no {root / name}: paths are relative to {root}"
    for place in _other_roots(root):
        there = _file_called(place, _slashed(name))
        if there is not None:
            return Note(f"{what}, but there is {there}: give root='{place}'", arguments=["root"])
    if PureWindowsPath(name).drive:
        return Note(
            f"{what}, and it is a path of a Windows machine: write paths relative to a folder"
        )
    if "\\" in name:
        return Note(
            f"{what}, nor is there {_slashed(name)}, if the backslashes are Windows's: give "
            "another place with root=",
            arguments=["root"],
        )
    if not PurePath(name).suffix:
        return Note(
            f"{what}, nor is there an image of that name with an ending: write the ending, or give "
            "another place with root=",
            arguments=["root"],
        )
    return Note(f"{what}; give another place with root=", arguments=["root"])


def _other_roots(root: Path) -> Iterator[Path]:
    """Yield other folders that paths may be relative to: above the root, the current, below it."""
    yield from (root.absolute().parent, Path())
    try:
        with os.scandir(root) as scan:
            folders = [entry.path for entry in islice(scan, MAX_FOLDERS) if entry.is_dir()]
    except OSError:
        return
    yield from map(Path, sorted(folders))


def _file_called(root: Path, name: str) -> Path | None:
    """Return the file of that name, with an ending if it has none, that is below ``root``."""
    if name.startswith("/") or ".." in name.split("/"):
        return None
    folder, _, base = name.rpartition("/")
    files = _files_called(_place(root, folder), (base,)).get(base)
    return root / folder / files[0] if files else None


def _has_ending(name: str) -> bool:
    """Tell whether a name has an image's ending: :func:`is_image_name`, fast for a million."""
    return _is_ending(os.path.splitext(name)[1])  # noqa: PTH122


@lru_cache
def _is_ending(suffix: str) -> bool:
    return is_image_name(f"x{suffix}")


def _exists(root: Path, name: str) -> bool:
    return os.path.isfile(_place(root, name))  # noqa: PTH113 - does not raise for names that are too long


def _place(root: Path, name: str) -> str:
    return os.path.join(root, name)  # noqa: PTH118 - asked of many


def _some(items: Sequence[_Item]) -> list[_Item]:
    """Return a few of the items, spread over all."""
    count = len(items)
    chosen = {number * (count - 1) // max(CHECKED - 1, 1) for number in range(CHECKED)}
    return [items[number] for number in sorted(chosen)] if count else []
