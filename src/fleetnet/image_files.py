"""Finding image files: what a user names, and what is below a folder."""

from __future__ import annotations

import glob
import os
from collections.abc import Iterable, Iterator
from pathlib import Path

from fleetnet.errors import DataError
from fleetnet.images import EXTENSIONS, STDIN, is_image_name


def find_images(patterns: Iterable[str]) -> Iterator[str]:
    """Expand files, folders (recursively, sorted), globs and ``-`` to paths, one after another.

    A folder or glob contributes files with an image's extension; a file named outright is passed
    on whatever it is called, so that a missing one is reported and not overlooked.

    Raises:
        DataError: a folder or glob with no image in it.
    """
    for pattern in patterns:
        if pattern == STDIN or Path(pattern).is_file():
            yield pattern
        elif Path(pattern).is_dir():
            yield from _some(walk_images(Path(pattern)), f"no images in the folder {pattern}")
        elif glob.has_magic(pattern):
            matches = (Path(match) for match in sorted(glob.glob(pattern, recursive=True)))  # noqa: PTH207
            files = (path for path in matches if path.is_file() and is_image_name(path.name))
            yield from _some(files, f"no images match {pattern}")
        else:
            yield pattern


def walk_images(folder: Path) -> Iterator[Path]:
    """Yield the image files below ``folder``, sorted, hidden ones and hidden folders left out."""
    with os.scandir(folder) as scan:
        entries = sorted(scan, key=lambda entry: entry.name)
    for entry in entries:
        if entry.name.startswith("."):
            continue
        if entry.is_dir():
            yield from walk_images(Path(entry.path))
        elif is_image_name(entry.name):
            yield Path(entry.path)


def _some(paths: Iterator[Path], otherwise: str) -> Iterator[str]:
    first = next(paths, None)
    if first is None:
        raise DataError(f"{otherwise} (looked for {', '.join(sorted(EXTENSIONS))})")
    yield str(first)
    yield from map(str, paths)
