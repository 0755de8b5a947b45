"""Shards from elsewhere in a folder of bounded size, which all processes of a machine share."""

from __future__ import annotations

import hashlib
import os
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import BinaryIO, NamedTuple, TypeVar

from fleetnet.amounts import size as size_text
from fleetnet.cache import cache_folder
from fleetnet.data.remote.store import FetchError, RemoteFile, fetch
from fleetnet.errors import DataError
from fleetnet.files import atomic_file, sha256_of, write_error
from fleetnet.locks import locked

Result = TypeVar("Result")
LIMIT_VARIABLE = "FLEETNET_SHARD_CACHE_GIB"
LIMIT_GIB = 16.0
MOST_AT_ONCE = 16
FORGET_S = 300.0
"""After which a shard that could not be fetched is tried again; until then its images fail at
once, in place of as many attempts as it has images."""
_STRIPES = 256
_POLL_S = 0.05
_WHOLE = ".shard"
_PART = ".part"


def usual_cache() -> ShardCache:
    """Return the cache in the usual folder, of the size that the environment says.

    Raises:
        DataError: it says no size.
    """
    text = os.environ.get(LIMIT_VARIABLE, str(LIMIT_GIB))
    try:
        limit = int(float(text) * 2**30)
    except (ValueError, OverflowError):
        limit = 0
    if limit <= 0:
        raise DataError(f"{LIMIT_VARIABLE} must be a number of GiB above 0, not '{text[:40]}'")
    return ShardCache(cache_folder() / "shards", limit)


class _Kept(NamedTuple):
    used_ns: int
    size: int
    path: Path


class ShardCache:
    """Files from elsewhere, kept until others need their place; the longest unused goes first.

    Whatever the number of processes, the files take no more than the limit: a place is taken, by a
    file of the whole length, before a download begins. A file is read by opening it each time, so
    that one that was removed takes no space.

    Args:
        folder: of the files.
        limit: bytes that they may take.
    """

    def __init__(self, folder: Path, limit: int) -> None:
        self.folder = folder
        self.limit = limit
        self._failed: dict[str, tuple[float, str]] = {}
        self._lock = threading.Lock()

    def at_once(self, largest: int) -> int:
        """Return how many shards may be read at once, so that none of them has to go meanwhile.

        Args:
            largest: bytes of the largest.
        """
        return max(min(self.limit // max(largest, 1) - 1, MOST_AT_ONCE), 1)

    def read_at(self, file: RemoteFile, offset: int, size: int) -> bytes:
        """Return bytes of a file, which is fetched if it is not here.

        Raises:
            FetchError: it cannot be fetched, or is not what it should be.
        """

        def there(opened: BinaryIO) -> bytes:
            opened.seek(offset)
            return opened.read(size)

        return self.read(file, there)

    def read(self, file: RemoteFile, function: Callable[[BinaryIO], Result]) -> Result:
        """Return what a function reads of a file, which is fetched if it is not here.

        Raises:
            FetchError: it cannot be fetched, or is not what it should be.
        """
        while True:
            path = self.fetch(file)
            try:
                with path.open("rb") as opened:
                    return function(opened)
            except FileNotFoundError:
                continue  # another process has just needed its place
            except OSError as error:
                raise FetchError(f"cannot read {path}: {error.strerror or error}") from None

    def fetch(self, file: RemoteFile) -> Path:
        """Return where a file is, fetched if it is not here; it may go as soon as others come.

        Raises:
            FetchError: it cannot be fetched, or is not what it should be.
            FleetnetError: the cache cannot be written.
        """
        path = self.place(file)
        if _used(path):
            return path
        self._refuse_failed(file)
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            with locked(self._stripe(path)):
                if not _used(path):
                    self._download(file, path)
        except FetchError as error:
            with self._lock:
                self._failed[file.url] = (time.monotonic() + FORGET_S, str(error))
            raise
        except OSError as error:
            raise write_error(path, error) from error
        return path

    def _refuse_failed(self, file: RemoteFile) -> None:
        with self._lock:
            until, why = self._failed.get(file.url, (0.0, ""))
            if time.monotonic() < until:
                raise FetchError(why, file=file.url)
            self._failed.pop(file.url, None)

    def _download(self, file: RemoteFile, path: Path) -> None:
        if file.size > self.limit:
            raise FetchError(
                f"{file.url} has {size_text(file.size)}, more than the cache of shards may take "
                f"({size_text(self.limit)}): set the variable {LIMIT_VARIABLE}",
                file=file.url,
            )
        part = path.with_suffix(_PART)
        self._take_room(file.size, part)
        try:
            with part.open("r+b") as opened:
                fetch(file, opened)
            _check(file, part)
            part.replace(path)
        finally:
            part.unlink(missing_ok=True)

    def _take_room(self, size: int, part: Path) -> None:
        """Make a file of that length, for which older ones go; wait where all are being fetched."""
        while True:
            with locked(self.folder / "room.lock"):
                kept = sorted(self._kept(part))
                free = self.limit - sum(entry.size for entry in kept)
                for entry in kept:
                    if free >= size:
                        break
                    if self._removed(entry, part):
                        free += entry.size
                if free >= size:
                    with part.open("wb") as opened:
                        opened.truncate(size)
                    return
            time.sleep(_POLL_S)

    def _kept(self, part: Path) -> Iterator[_Kept]:
        """Yield the files that take space, but for what is left of an earlier try of this one."""
        part.unlink(missing_ok=True)
        for entry in os.scandir(self.folder):
            if entry.name.endswith((_WHOLE, _PART)):
                try:
                    status = entry.stat()
                except FileNotFoundError:
                    continue  # just fetched, and renamed
                yield _Kept(status.st_mtime_ns, status.st_size, Path(entry.path))

    def _removed(self, entry: _Kept, part: Path) -> bool:
        """Remove a file, or one of a download whose process is gone."""
        if entry.path.suffix == _PART and not self._abandoned(entry.path, part):
            return False
        try:
            entry.path.unlink(missing_ok=True)
        except OSError:
            return False  # Windows keeps what somebody reads
        return True

    def _abandoned(self, other: Path, part: Path) -> bool:
        from filelock import Timeout

        stripe = self._stripe(other)
        if stripe == self._stripe(part):
            return True  # whoever would be fetching it would hold the lock that is held here
        try:
            with locked(stripe, timeout=0) as held:
                return held
        except Timeout:
            return False

    def place(self, file: RemoteFile) -> Path:
        """Return where a file is, or would be."""
        known_by = "\0".join((file.url, str(file.size), file.version, file.sha256))
        return self.folder / f"{hashlib.sha256(known_by.encode()).hexdigest()[:32]}{_WHOLE}"

    def _stripe(self, path: Path) -> Path:
        """Return the lock of a file, which it shares with some: locks cannot be removed safely."""
        return self.folder / f"{int(path.stem, 16) % _STRIPES:03d}.lock"

    def __getstate__(self) -> tuple[Path, int]:
        return self.folder, self.limit

    def __setstate__(self, state: tuple[Path, int]) -> None:
        ShardCache.__init__(self, *state)


def fetch_whole(file: RemoteFile, path: Path) -> None:
    """Put a file from elsewhere in a place of its own, if it is not there.

    Raises:
        FetchError: it cannot be fetched, or is not what it should be.
        FleetnetError: it cannot be written.
    """
    if path.exists():
        return
    with atomic_file(path) as part:
        with part.open("r+b") as opened:
            fetch(file, opened)
        _check(file, part)


def _check(file: RemoteFile, path: Path) -> None:
    if file.sha256 and sha256_of(path) != file.sha256:
        raise FetchError(
            f"{file.url} is damaged, or was changed: its SHA-256 is not the one that was written "
            "down with it",
            file=file.url,
        )


def _used(path: Path) -> bool:
    """Tell whether a file is here, and note that it is used."""
    try:
        os.utime(path)
    except FileNotFoundError:
        return False
    return True
