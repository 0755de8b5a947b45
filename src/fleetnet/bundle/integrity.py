"""Checking that a bundle's files are the ones that were exported."""

from __future__ import annotations

import contextlib
import hashlib
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from fleetnet.bundle.artifacts import File
from fleetnet.cache import in_cache
from fleetnet.errors import BundleError
from fleetnet.files import sha256_of


class Content(NamedTuple):
    """A file's content, as it was when its hash was found right."""

    path: Path
    data: bytes


def checked(folder: Path, file: File) -> Path:
    """Return the path of an artifact's file, after comparing its content with the manifest.

    Raises:
        BundleError: it is missing, a link, unreadable, or has other content.
    """
    path = _found(folder, file)
    with _readable(path):
        digest = sha256_of(path)
    _compare(path, digest, file)
    return path


def content_of(folder: Path, file: File) -> Content:
    """Read an artifact's file once, and return what was compared with the manifest.

    So it is the right content even if the file is replaced at this moment.

    Raises:
        BundleError: as :func:`checked`.
    """
    return content_at(_found(folder, file), file)


def content_at(path: Path, file: File) -> Content:
    """Read a file as :func:`content_of` does, wherever it is.

    Raises:
        BundleError: it is unreadable or has other content.
    """
    with _readable(path):
        data = path.read_bytes()
    _compare(path, hashlib.sha256(data).hexdigest(), file)
    return Content(path, data)


def _found(folder: Path, file: File) -> Path:
    path = folder / file.name
    if path.is_symlink() or not path.is_file():
        raise BundleError(
            f"{path} is missing: the bundle is incomplete; {_way_out(folder)}",
            code="missing-file",
            file=str(path),
        )
    return path


@contextlib.contextmanager
def _readable(path: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise BundleError(
            f"cannot read {path}: {error.strerror}", code="unreadable", file=str(path)
        ) from None


def _compare(path: Path, digest: str, file: File) -> None:
    if digest != file.sha256:
        raise BundleError(
            f"{path} is not the file that was exported: its SHA-256 is {digest[:12]}…, the "
            f"manifest says {file.sha256[:12]}…; {_way_out(path.parent)}",
            code="changed-file",
            expected=file.sha256,
            found=digest,
            file=str(path),
        )


def all_there(folder: Path, files: tuple[File, ...]) -> bool:
    """Tell whether all files are there with the right sizes, without reading them."""
    try:
        return all((folder / file.name).lstat().st_size == file.bytes for file in files)
    except OSError:
        return False


def _way_out(folder: Path) -> str:
    """Return what to do about a damaged file."""
    if in_cache(folder):
        return f"remove {folder}, and it is made anew"
    return "copy or export the bundle anew"
