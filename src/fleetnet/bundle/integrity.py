"""Checking that a bundle's files are the ones that were exported."""

from __future__ import annotations

from pathlib import Path

from fleetnet.bundle.artifacts import File
from fleetnet.cache import in_cache
from fleetnet.errors import BundleError
from fleetnet.files import sha256_of


def checked(folder: Path, file: File) -> Path:
    """Return the path of an artifact's file, after comparing its content with the manifest.

    Raises:
        BundleError: it is missing, a link, unreadable, or has other content.
    """
    path = folder / file.name
    if path.is_symlink() or not path.is_file():
        raise BundleError(
            f"{path} is missing: the bundle is incomplete; {_way_out(folder)}",
            code="missing-file",
            file=str(path),
        )
    try:
        digest = sha256_of(path)
    except OSError as error:
        raise BundleError(
            f"cannot read {path}: {error.strerror}", code="unreadable", file=str(path)
        ) from None
    if digest != file.sha256:
        raise BundleError(
            f"{path} is not the file that was exported: its SHA-256 is {digest[:12]}…, the "
            f"manifest says {file.sha256[:12]}…; {_way_out(folder)}",
            code="changed-file",
            expected=file.sha256,
            found=digest,
            file=str(path),
        )
    return path


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
