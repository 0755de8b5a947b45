"""Writing a bundle, whole or not at all."""

from __future__ import annotations

import hashlib
from pathlib import Path

from fleetnet.bundle.artifacts import MANIFEST
from fleetnet.bundle.bundle import Bundle
from fleetnet.bundle.manifest import Manifest
from fleetnet.errors import FleetnetError
from fleetnet.files import Standing, atomic_folder, standing


def write_bundle(
    path: Path, manifest: Manifest, files: dict[str, bytes], replacing: Standing | None = None
) -> Bundle:
    """Write a bundle so that it is whole or absent, replacing an older bundle at ``path``.

    Args:
        path: the folder to make.
        manifest: its artifacts' files must be the keys of ``files``.
        files: the artifacts' contents by file name.
        replacing: what :func:`check_replaceable` returned when the work began; None if it begins
            now.

    Raises:
        OvertakenError: another process has written there since.
        FleetnetError: ``path`` holds something that is not a bundle, the disk is full, or the
            place cannot be written to.
    """
    found, text = check_replaceable(path), manifest.to_json().encode()
    with atomic_folder(path, replacing or found) as folder:
        for name, content in files.items():
            (folder / name).write_bytes(content)
        (folder / MANIFEST).write_bytes(text)
    return Bundle(path, manifest, digest=hashlib.sha256(text).hexdigest())


def check_replaceable(path: Path) -> Standing:
    """Refuse a place that holds something other than a bundle; return what is there now.

    Raises:
        FleetnetError: ``path`` exists and is neither a bundle nor an empty folder.
    """
    found = standing(path)
    if not path.exists():
        return found
    empty = path.is_dir() and not any(path.iterdir())
    if not empty and not (path / MANIFEST).is_file():
        raise FleetnetError(
            f"{path} exists and is not a bundle: choose another place", file=str(path)
        )
    return found
