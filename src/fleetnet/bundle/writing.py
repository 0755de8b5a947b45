"""Writing a bundle, whole or not at all."""

from __future__ import annotations

import errno
import os
from collections.abc import Mapping
from pathlib import Path

from fleetnet.bundle.artifacts import MANIFEST
from fleetnet.bundle.bundle import Bundle
from fleetnet.bundle.manifest import Manifest
from fleetnet.errors import FleetnetError
from fleetnet.files import Standing, atomic_folder, standing, write_error


def write_bundle(
    path: Path,
    manifest: Manifest,
    files: dict[str, bytes],
    replacing: Standing | None = None,
    *,
    inside: str = "",
    around: Mapping[str, bytes] | None = None,
) -> Bundle:
    """Write a bundle so that it is whole or absent, replacing an older bundle at ``path``.

    Args:
        path: the folder to make.
        manifest: its artifacts' files must be the keys of ``files``.
        files: contents by file name: the artifacts', and what else lies there or in folders of it.
        replacing: what :func:`check_replaceable` returned when the work began; None if it begins
            now.
        inside: path of the folder in ``path`` that is the bundle; empty for ``path`` itself.
        around: contents of files in ``path`` by their paths, where the bundle is a folder in it.

    Returns:
        The bundle, wherever it is.

    Raises:
        OvertakenError: another process has written there since.
        FleetnetError: ``path`` holds something that is not a bundle, the disk is full, or the
            place cannot be written to.
    """
    found, text = check_replaceable(path, inside), manifest.to_json().encode()
    with atomic_folder(path, replacing or found) as folder:
        bundle = folder / inside
        bundle.mkdir(parents=True, exist_ok=True)
        _fill(bundle, files)
        _fill(folder, around or {})
        (bundle / MANIFEST).write_bytes(text)
    return Bundle(path / inside, manifest, content=text)


def _check_above(path: Path) -> None:
    """Refuse a place where no folder can be made, before anything is computed for it.

    Raises:
        FleetnetError: what is above it is a file, or may not be written to.
    """
    above = next((one for one in path.parents if one.exists()), None)
    if above is not None and not above.is_dir():
        raise FleetnetError(
            f"cannot write {path}: {above} is no folder; choose another place", file=str(path)
        )
    if above is not None and not os.access(above, os.W_OK | os.X_OK):
        raise write_error(path, PermissionError(errno.EACCES, os.strerror(errno.EACCES)))


def _fill(folder: Path, files: Mapping[str, bytes]) -> None:
    for name, content in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(content)


def check_replaceable(path: Path, inside: str = "") -> Standing:
    """Refuse a place that holds something other than a bundle; return what is there now.

    Args:
        path: the folder to make.
        inside: as for :func:`write_bundle`.

    Raises:
        FleetnetError: ``path`` exists and is neither a bundle nor an empty folder, or nothing can
            be made there.
    """
    found = standing(path)
    if not path.exists():
        _check_above(path)
        return found
    empty = path.is_dir() and not any(path.iterdir())
    if not empty and not (path / inside / MANIFEST).is_file():
        raise FleetnetError(
            f"{path} exists and is not a bundle: choose another place", file=str(path)
        )
    return found
