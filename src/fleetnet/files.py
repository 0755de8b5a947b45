"""Writing files so that they are whole or absent, and saying plainly why they could not be."""

from __future__ import annotations

import contextlib
import errno
import hashlib
import json
import os
import re
import shutil
import tempfile
import threading
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import platformdirs

from fleetnet.errors import FleetnetError

CACHE_VARIABLE = "FLEETNET_CACHE"
_asking = threading.Lock()

_ACTIVE = re.compile("[\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ud800-\udfff]")
"""What JSON lets pass though a terminal acts on it, and what has no place in UTF-8."""
_KEPT = 32
"""Characters of a file's name in that of its temporary: a name may have 255 bytes, the longest
character four."""


def cache_folder() -> Path:
    """Return where what can be had again is kept: ``FLEETNET_CACHE``, else the XDG folder."""
    chosen = os.environ.get(CACHE_VARIABLE)
    return Path(chosen) if chosen else platformdirs.user_cache_path("fleetnet")


@contextlib.contextmanager
def atomic_file(path: Path) -> Iterator[Path]:
    """Give a temporary path beside ``path``; at the end it is flushed to disk and renamed there.

    When the block raises, ``path`` is left as it was and nothing else remains.

    Raises:
        FleetnetError: the disk is full, or the place cannot be written to.
    """
    temporary = None
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, name = tempfile.mkstemp(prefix=_prefix(path), suffix=".part", dir=path.parent)
        os.close(handle)
        temporary = Path(name)
        yield temporary
        temporary.chmod(0o666 & ~_umask())
        _sync(temporary)
        temporary.replace(path)
    except OSError as error:
        raise write_error(path, error) from error
    finally:
        if temporary is not None:
            temporary.unlink(missing_ok=True)


@contextlib.contextmanager
def atomic_folder(path: Path) -> Iterator[Path]:
    """Give a temporary folder beside ``path``; at the end it takes the place of ``path``.

    When the block raises, ``path`` is left as it was and nothing else remains.

    Raises:
        FleetnetError: the disk is full, or the place cannot be written to.
    """
    temporary = None
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        temporary = Path(tempfile.mkdtemp(prefix=_prefix(path), suffix=".part", dir=path.parent))
        yield temporary
        temporary.chmod(0o777 & ~_umask())
        for file in temporary.iterdir():
            _sync(file)
        if path.exists():
            replaced = Path(tempfile.mkdtemp(prefix=_prefix(path), suffix=".old", dir=path.parent))
            path.rename(replaced / "old")
            temporary.rename(path)
            shutil.rmtree(replaced)
        else:
            temporary.rename(path)
    except OSError as error:
        raise write_error(path, error) from error
    finally:
        if temporary is not None:
            shutil.rmtree(temporary, ignore_errors=True)


def write_error(path: Path, error: OSError) -> FleetnetError:
    """Return the one line that says why ``path`` could not be written and what to do."""
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return FleetnetError(f"no space left on the disk while writing {path}: free some and retry")
    if error.errno in (errno.EACCES, errno.EPERM, errno.EROFS):
        return FleetnetError(f"cannot write {path}: {error.strerror}; choose another place")
    return FleetnetError(f"cannot write {path}: {error.strerror or error}")


def json_text(value: Any, *, indent: int | None = 2) -> str:
    r"""Return a value as JSON that is valid UTF-8 and safe to show, whatever names are in it.

    A file name that is not UTF-8 holds halves of characters: they become JSON's escapes for them,
    ``\udcXX`` for the byte XX, which read back as the same name. So does what a terminal acts on.
    """
    text = json.dumps(value, ensure_ascii=False, indent=indent, default=_plain)
    return _ACTIVE.sub(lambda found: f"\\u{ord(found[0]):04x}", text)


def _plain(value: Any) -> Any:
    if isinstance(value, Mapping):
        return dict(value)
    return value.item() if hasattr(value, "item") else str(value)


def sha256_of(path: Path) -> str:
    """Return the SHA-256 of a file's content, in hexadecimal."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _prefix(path: Path) -> str:
    """Return how what stands in for ``path`` for a while is called: longer names do not fit."""
    return f".{path.name[:_KEPT]}."


def _sync(path: Path) -> None:
    with path.open("rb") as file:
        os.fsync(file.fileno())


def _umask() -> int:
    # To ask is to set, for the whole process: two threads at once might each restore the other's.
    with _asking:
        mask = os.umask(0o022)
        os.umask(mask)
        return mask
