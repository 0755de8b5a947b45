"""Writing files so that they are either whole or absent, with clear errors."""

from __future__ import annotations

import contextlib
import errno
import hashlib
import itertools
import os
import secrets
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from fleetnet.cache import CACHE_VARIABLE, in_cache
from fleetnet.errors import FleetnetError, OvertakenError

_KEPT = 32
"""How many characters of a file's name go into the name of its temporary file: a name may have 255
bytes, and a character up to four."""


@contextlib.contextmanager
def atomic_file(path: Path) -> Iterator[Path]:
    """Yield a temporary path beside ``path``; at the end it is flushed to disk and renamed to it.

    If the block raises, ``path`` is unchanged and nothing else remains. If several write one file
    at once, each writes a whole one, and the last one remains.

    Raises:
        FleetnetError: the disk is full, or the place cannot be written to.
    """
    temporary = None
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        temporary = _beside(path, "part")
        temporary.touch(exist_ok=False)
        yield temporary
        _sync(temporary)
        temporary.replace(path)
    except OSError as error:
        raise write_error(path, error) from error
    finally:
        if temporary is not None:
            temporary.unlink(missing_ok=True)


class Standing(NamedTuple):
    """What identifies a folder: another one in its place, or a changed one, has other values."""

    device: int
    inode: int
    changed_ns: int


NOTHING = Standing(0, 0, 0)
"""The value for a path where there is nothing."""


def standing(path: Path) -> Standing:
    """Return what is at ``path`` now, so that :func:`atomic_folder` replaces only that."""
    try:
        status = os.lstat(path)
    except OSError:
        return NOTHING
    return Standing(status.st_dev, status.st_ino, status.st_mtime_ns)


@contextlib.contextmanager
def atomic_folder(path: Path, replacing: Standing | None = None) -> Iterator[Path]:
    """Yield a temporary folder beside ``path``; at the end it replaces ``path``.

    It replaces only what was there when the work began: if several make one folder at once, the
    first to finish keeps it. If the block raises, ``path`` is unchanged and nothing else remains.
    For a moment between two renames there is nothing at ``path``; a process killed right then
    leaves the older folder beside it, under a name that ends in ``.old``.

    Args:
        path: the folder to make.
        replacing: what :func:`standing` returned when the work began; None if it begins now.

    Raises:
        OvertakenError: something else is there by now.
        FleetnetError: the disk is full, or the place cannot be written to.
    """
    temporary = None
    replacing = replacing or standing(path)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        temporary = _beside(path, "part")
        temporary.mkdir()
        yield temporary
        for file in temporary.rglob("*"):
            if file.is_file():
                _sync(file)
        _take_place(temporary, path, replacing)
    except OSError as error:
        raise write_error(path, error) from error
    finally:
        if temporary is not None:
            shutil.rmtree(temporary, ignore_errors=True)


def _take_place(folder: Path, path: Path, replacing: Standing) -> None:
    """Rename a folder to ``path``, by steps that each succeed for only one process."""
    if standing(path) != replacing:
        raise _overtaken(path)
    if replacing == NOTHING:
        _rename_to_nothing(folder, path)
        return
    old = _beside(path, "old")
    try:
        path.rename(old)
    except FileNotFoundError:
        raise _overtaken(path) from None  # another process has just moved it away
    try:
        _check_inode(old, replacing, path)
        _rename_to_nothing(folder, path)
    except BaseException:
        # If that fails too, it stays under its other name: it may be the user's only copy.
        with contextlib.suppress(OSError, OvertakenError):
            _rename_to_nothing(old, path)
        raise
    if old.is_symlink():
        old.unlink()
    else:
        shutil.rmtree(old, ignore_errors=True)


def _check_inode(old: Path, replacing: Standing, path: Path) -> None:
    """Refuse a folder that was put at ``path`` between the check and the rename."""
    if standing(old).inode != replacing.inode:
        raise _overtaken(path)


def _rename_to_nothing(folder: Path, path: Path) -> None:
    """Rename a folder to a free path; never replaces one with something in it."""
    if standing(path) != NOTHING:
        raise _overtaken(path)
    try:
        folder.rename(path)
    except OSError as error:
        if standing(path) == NOTHING:
            raise
        raise _overtaken(path) from error


def _overtaken(path: Path) -> OvertakenError:
    return OvertakenError(
        f"another process has written to {path} in the meantime, and it is left as it is: choose "
        "another place, or start again to replace it"
    )


def _beside(path: Path, kind: str) -> Path:
    """Return a name beside ``path`` that nobody else has.

    Files made there get the usual permissions: ``tempfile`` makes everything private, and finding
    out what is usual would change it for all threads of the process.
    """
    return path.with_name(f".{path.name[:_KEPT]}.{secrets.token_hex(6)}.{kind}")


def check_folder(path: Path) -> None:
    """Refuse a place where no folder can be made, before anything is computed for it.

    A folder of another name is made beside it and removed: what the system says of permissions is
    not all, for root, on a full disk, or where a file system takes no folders.

    Raises:
        FleetnetError: nothing can be made there, or nothing can take the place of what is there.
    """
    if path.name in ("", "..") or os.path.ismount(path):
        raise FleetnetError(
            f"cannot write {path}: it cannot be replaced; name a folder to make in it",
            file=str(path),
        )
    try:
        above = next(one for one in path.absolute().parents if one.exists())
        tried = _beside(above / path.name, "part")
        tried.mkdir()
        tried.rmdir()
    except NotADirectoryError:
        raise FleetnetError(
            f"cannot write {path}: {above} is no folder; choose another place", file=str(path)
        ) from None
    except OSError as error:
        raise write_error(path, error) from error


def new_folder(path: Path) -> Path:
    """Make the folder ``path``, or the first of ``path-2``, ``path-3``, … that nobody has made.

    Raises:
        FleetnetError: the place cannot be written to.
    """
    for number in itertools.count(1):
        folder = path if number == 1 else path.with_name(f"{path.name}-{number}")
        try:
            folder.mkdir(parents=True)
        except FileExistsError:
            continue
        except OSError as error:
            raise write_error(folder, error) from error
        break
    return folder


def write_error(path: Path, error: OSError) -> FleetnetError:
    """Return the error of one line that says why ``path`` could not be written and what to do."""
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return FleetnetError(f"no space left on the disk while writing {path}: free some and retry")
    reason = error.strerror or error
    if in_cache(path):
        return FleetnetError(
            f"cannot write {path}: {reason}; let {CACHE_VARIABLE} name a folder that can be written"
        )
    if error.errno in (errno.EACCES, errno.EPERM, errno.EROFS):
        return FleetnetError(f"cannot write {path}: {reason}; choose another place")
    return FleetnetError(f"cannot write {path}: {reason}")


def sha256_of(path: Path) -> str:
    """Return the SHA-256 of a file's content, in hexadecimal."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _sync(path: Path) -> None:
    with path.open("rb") as file:
        os.fsync(file.fileno())
