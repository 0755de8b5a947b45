"""A folder that all machines write to: on a disk that they share, or in a store of objects."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Protocol

from fleetnet.data.remote.store import content_of, is_remote, listed, put, remove
from fleetnet.errors import DataError
from fleetnet.files import atomic_file, write_error

MAX_BYTES = 2**30
"""Of a file that is read back; those that this room writes are far smaller."""
_READ_ONLY = ("http://", "https://")


class Folder(Protocol):
    """Files that are either whole or absent, by names with forward slashes."""

    def write(self, name: str, content: bytes) -> None:
        """Write a file, in place of one of that name.

        Raises:
            FleetnetError: it cannot be written.
        """
        ...

    def read(self, name: str) -> bytes | None:
        """Return a file's content; None if there is none.

        Raises:
            FleetnetError: it cannot be read.
        """
        ...

    def remove(self, name: str) -> None:
        """Remove a file, if there is one.

        Raises:
            FleetnetError: it cannot be removed.
        """
        ...

    def sizes(self, below: str = "") -> dict[str, int]:
        """Return the files in the folder, or in one of its folders, and how long each is.

        Raises:
            FleetnetError: it cannot be listed.
        """
        ...


def open_folder(place: str) -> Folder:
    """Return a folder by its path or URL, which need not exist yet.

    Raises:
        DataError: nothing can be written there.
    """
    if place.startswith(_READ_ONLY):
        raise DataError(
            f"nothing can be written to {place}: give output= a folder, or a URL such as "
            "s3://bucket/answers",
            arguments=["output"],
        )
    if place.startswith("file://"):
        place = place.removeprefix("file://")
    if is_remote(place):
        return RemoteFolder(place.rstrip("/"))
    path = Path(place)
    if path.exists() and not path.is_dir():
        raise DataError(f"{path} is not a folder: choose another output=", arguments=["output"])
    return LocalFolder(path.absolute())


class LocalFolder:
    """A folder of a disk.

    Args:
        path: of it.
    """

    def __init__(self, path: Path) -> None:
        self.path = path

    def write(self, name: str, content: bytes) -> None:
        """Write a file."""
        with atomic_file(self.path / name) as file:
            file.write_bytes(content)

    def read(self, name: str) -> bytes | None:
        """Return a file's content."""
        try:
            return (self.path / name).read_bytes()
        except FileNotFoundError:
            return None
        except OSError as error:
            raise _unreadable(self.path / name, error) from None

    def remove(self, name: str) -> None:
        """Remove a file."""
        try:
            (self.path / name).unlink(missing_ok=True)
        except OSError as error:
            raise write_error(self.path / name, error) from error

    def sizes(self, below: str = "") -> dict[str, int]:
        """Return the files and their lengths, temporary ones left out."""
        try:
            with os.scandir(self.path / below) as scan:
                return {
                    entry.name: entry.stat().st_size
                    for entry in scan
                    if entry.is_file() and not entry.name.startswith(".")
                }
        except FileNotFoundError:
            return {}
        except OSError as error:
            raise _unreadable(self.path / below, error) from None

    def remove_parts(self) -> None:
        """Remove temporary files of processes that were killed; none may be at work."""
        try:
            for part in self.path.rglob(".*.part"):
                part.unlink(missing_ok=True)
        except OSError as error:
            raise write_error(self.path, error) from error


class RemoteFolder:
    """A folder of a store.

    Args:
        url: of it, without a slash at its end.
    """

    def __init__(self, url: str) -> None:
        self.url = url

    def write(self, name: str, content: bytes) -> None:
        """Write a file."""
        put(f"{self.url}/{name}", content)

    def read(self, name: str) -> bytes | None:
        """Return a file's content."""
        return content_of(f"{self.url}/{name}", MAX_BYTES)

    def remove(self, name: str) -> None:
        """Remove a file."""
        remove(f"{self.url}/{name}")

    def sizes(self, below: str = "") -> dict[str, int]:
        """Return the files and their lengths."""
        place = f"{self.url}/{below}".rstrip("/")
        return {file.url.rpartition("/")[2]: file.size for file in listed(place, "", missing=True)}


def _unreadable(path: Path, error: OSError) -> DataError:
    return DataError(
        f"cannot read {path}: {error.strerror or error}", code="unreadable", file=str(path)
    )
