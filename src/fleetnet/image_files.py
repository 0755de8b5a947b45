"""Finding image files: those that a user names, and those below a folder."""

from __future__ import annotations

import contextlib
import fnmatch
import glob
import os
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Literal, NamedTuple

from fleetnet.errors import DataError
from fleetnet.formats import USUAL, is_image_name
from fleetnet.image_bytes import STDIN
from fleetnet.left_out import LeftOut

Identity = tuple[int, int] | str
"""Identifies a folder, independent of the path to it."""
_ANY_DEPTH = "**"


def find_images(
    patterns: Iterable[str], left_out: LeftOut | None = None, *, lenient: bool = False
) -> Iterator[str]:
    """Expand files, folders (recursively, sorted), globs and ``-`` to paths, one after another.

    Folders and globs give only files with an image's extension. A file that is named itself is
    always returned, so that a missing one is reported.

    Args:
        patterns: what a user typed.
        left_out: counts what is skipped.
        lenient: as in :func:`walk_images`.

    Raises:
        DataError: a folder or glob without images, or a folder that cannot be read.
    """
    left_out = LeftOut() if left_out is None else left_out
    for pattern in patterns:
        # In a folder without permission, os.path returns False and a Path raises.
        if pattern == STDIN or os.path.isfile(pattern):  # noqa: PTH113
            yield pattern
        elif os.path.isdir(pattern):  # noqa: PTH112
            images = walk_images(Path(pattern), left_out, lenient=lenient)
            yield from _some(images, f"no images in the folder {pattern}", left_out)
        elif glob.has_magic(pattern):
            images = _only_images(_matching(pattern, left_out, lenient=lenient), left_out)
            yield from _some(images, f"no images match {pattern}", left_out)
        else:
            yield pattern


def check_given(patterns: Iterable[str]) -> None:
    """Refuse what a user typed that names nothing, before the work that would pass over it.

    Raises:
        DataError: names the first that does not exist.
    """
    for pattern in patterns:
        # As in find_images; what may not be looked at says so when it is read.
        if pattern != STDIN and not glob.has_magic(pattern) and not os.path.exists(pattern):  # noqa: PTH110
            raise DataError(
                f"{pattern or 'an empty name'} does not exist: give images, folders of "
                "them or globs"
            )


def walk_images(
    folder: Path, left_out: LeftOut | None = None, *, lenient: bool = False
) -> Iterator[Path]:
    """Yield the image files below ``folder``, sorted, however deep.

    Links to folders are followed, but not to a folder that the link is in, nor twice to the same
    folder. Hidden files and folders are skipped, and so are those of the operating system. Only
    plain files and broken links are yielded; the latter are then reported as unreadable.

    Args:
        folder: where to begin.
        left_out: counts what is skipped.
        lenient: yield folders that cannot be read; reading them as images then gives the reason.

    Raises:
        DataError: a folder cannot be read.
    """
    left_out = LeftOut() if left_out is None else left_out
    return _only_images(_walk(folder, left_out, lenient=lenient), left_out)


def visible_folders(folder: Path, left_out: LeftOut | None = None) -> list[str]:
    """Return the sorted names of the folders in a folder, without hidden and system folders.

    Args:
        folder: where to look.
        left_out: counts what is skipped, including images beside the folders.

    Raises:
        DataError: it cannot be read.
    """
    left_out = LeftOut() if left_out is None else left_out
    try:
        entries = _entries(folder)
    except OSError as error:
        raise _unreadable(folder, error) from None
    names = []
    for entry in entries:
        if left_out.passes_over(entry.name):
            continue
        kind = _kind(entry)
        if kind == "folder":
            names.append(entry.name)
        elif kind == "file" and is_image_name(entry.name):
            left_out.loose += 1
    return names


def folder_content(folder: Path) -> tuple[list[str], bool]:
    """Return the names of the folders in a folder, and whether there are images beside them.

    Raises:
        DataError: it cannot be read.
    """
    left_out = LeftOut()
    names = visible_folders(folder, left_out)
    return names, left_out.loose > 0


def has_images(folder: Path) -> bool:
    """Tell whether there is an image anywhere below a folder.

    Raises:
        DataError: a folder on the way to the first image cannot be read.
    """
    return next(walk_images(folder), None) is not None


class _Found(NamedTuple):
    """A file, or a folder that cannot be read."""

    path: Path
    is_file: bool


def _walk(folder: Path, left_out: LeftOut, *, lenient: bool) -> Iterator[_Found]:
    """Yield the files below a folder, and, if lenient, the folders that cannot be read."""
    above = _above(folder)  # later also the folders that are being walked through
    levels: list[Iterator[os.DirEntry[str]]] = []  # the entries that are left in each of those
    linked: set[Identity] = set()

    def enter(folder: Path | os.DirEntry[str]) -> None:
        identity, is_link = _identity(folder), folder.is_symlink()
        if identity in above or (is_link and identity in linked):
            left_out.links += 1
            return
        levels.append(iter(_entries(folder)))
        above.append(identity)
        if is_link:
            linked.add(identity)

    entered: Path | os.DirEntry[str] | None = folder
    while entered is not None or levels:
        if entered is not None:
            try:
                enter(entered)
            except OSError as error:
                if not lenient:
                    raise _unreadable(Path(entered), error) from None
                yield _Found(Path(entered), is_file=False)
            entered = None
        elif (entry := next(levels[-1], None)) is None:
            levels.pop()
            above.pop()
        elif not left_out.passes_over(entry.name):
            kind = _kind(entry)
            if kind == "folder":
                entered = entry
            elif kind == "file":
                yield _Found(Path(entry.path), is_file=True)
            else:
                left_out.special += 1


def _entries(folder: Path | os.DirEntry[str]) -> list[os.DirEntry[str]]:
    with os.scandir(folder) as scan:
        return sorted(scan, key=lambda entry: entry.name)


def _identity(folder: Path | os.DirEntry[str]) -> Identity:
    status = os.stat(folder)  # noqa: PTH116 - a DirEntry's own has no inode on Windows
    # Some network disks have no inode numbers.
    return (status.st_dev, status.st_ino) if status.st_ino else os.path.realpath(folder)


def _above(folder: Path) -> list[Identity]:
    """Return the folders that a folder is in: a link to one of them leads out of it."""
    found: list[Identity] = []
    for path in (os.path.abspath(folder), os.path.realpath(folder)):  # noqa: PTH100
        for parent in Path(path).parents:
            with contextlib.suppress(OSError):
                found.append(_identity(parent))
    return found


def _kind(entry: os.DirEntry[str]) -> Literal["folder", "file", "other"]:
    # A broken link, or one to itself, counts as a file: reading it gives the reason.
    with contextlib.suppress(OSError):
        if entry.is_dir():
            return "folder"
        if not entry.is_file() and os.path.exists(entry.path):  # noqa: PTH110
            return "other"
    return "file"


def _unreadable(folder: Path, error: OSError) -> DataError:
    return DataError(
        f"cannot read the folder {folder}: {error.strerror or error}: make it readable, or "
        "remove it"
    )


def _only_images(found: Iterable[_Found], left_out: LeftOut) -> Iterator[Path]:
    """Yield the images, and the folders that cannot be read, and count the rest."""
    for path, is_file in found:
        if not is_file or is_image_name(path.name):
            yield path
        else:
            left_out.add_file(path.name)


def _matching(pattern: str, left_out: LeftOut, *, lenient: bool) -> Iterator[_Found]:
    """Yield the files that match a glob, sorted."""
    parts = Path(pattern).parts
    if _ANY_DEPTH not in parts:
        for match in sorted(glob.glob(pattern)):  # noqa: PTH207
            if os.path.isfile(match):  # noqa: PTH113
                yield _Found(Path(match), is_file=True)
        return
    # glob.glob follows links in circles, and does not report what it cannot read.
    plain = next(number for number, part in enumerate(parts) if glob.has_magic(part))
    base = Path(*parts[:plain])
    if os.path.isdir(base):  # noqa: PTH112
        yield from sorted(
            (
                found
                for found in _walk(base, left_out, lenient=lenient)
                if not found.is_file or _matches(found.path.relative_to(base).parts, parts[plain:])
            ),
            key=lambda found: str(found.path),
        )


def _matches(names: Sequence[str], patterns: Sequence[str]) -> bool:
    """Tell whether a path's parts match a glob's, where ``**`` is any number of parts."""

    def skipping(places: set[int]) -> set[int]:
        places = set(places)
        for place in range(len(patterns)):
            if place in places and patterns[place] == _ANY_DEPTH:
                places.add(place + 1)
        return places

    places = skipping({0})
    for name in names:
        places = skipping(
            {
                place + (patterns[place] != _ANY_DEPTH)
                for place in places
                if place < len(patterns)
                and (patterns[place] == _ANY_DEPTH or fnmatch.fnmatch(name, patterns[place]))
            }
        )
    return len(patterns) in places


def _some(paths: Iterator[Path], otherwise: str, left_out: LeftOut) -> Iterator[str]:
    first = next(paths, None)
    if first is None:
        beside = f"; left out: {left_out.line}" if left_out.line else ""
        raise DataError(f"{otherwise} (looked for {USUAL}){beside}")
    yield str(first)
    yield from map(str, paths)
