"""Git LFS's pointer files, which are in place of large files until they are fetched."""

from __future__ import annotations

from pathlib import Path

from fleetnet.errors import DataError

_BEGINNING = b"version https://git-lfs.github.com/spec/"


def refuse_pointer(path: Path) -> None:
    """Refuse a file whose content Git LFS has not fetched yet.

    Raises:
        DataError: it is one.
        OSError: it cannot be read.
    """
    with path.open("rb") as file:
        if file.read(len(_BEGINNING)) == _BEGINNING:
            raise DataError(
                f"{path} is a Git LFS pointer, not the file itself: run 'git lfs pull' in its "
                "folder",
                file=str(path),
            )
