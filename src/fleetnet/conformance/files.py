"""The conformance set on disk: its files, and their hashes."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import numpy as np
from pydantic import (
    ValidationError,
)

from fleetnet.conformance.description import DESCRIPTION, FORMAT, Description, Input, Pixels
from fleetnet.errors import FleetnetError
from fleetnet.schema import first_problem

MAX_DESCRIPTION_BYTES = 16 * 2**20


class ConformanceSet:
    """The set on disk.

    Attributes:
        path: its folder.
        description: what is in it, checked.
    """

    def __init__(self, path: Path, description: Description) -> None:
        self.path = path
        self.description = description

    @classmethod
    def load(cls, folder: Path | None = None) -> ConformanceSet:
        """Read and check a set's description, but none of its other files yet.

        Args:
            folder: where it is; None for the set that comes with this package.

        Raises:
            FleetnetError: it is missing, damaged, or newer than this version.
        """
        path = find_set() if folder is None else folder
        file = path / DESCRIPTION
        if not file.is_file():
            raise FleetnetError(
                f"{path} is no conformance set: that is a folder with {DESCRIPTION} in it",
                file=str(path),
            )
        try:
            if file.stat().st_size > MAX_DESCRIPTION_BYTES:
                raise FleetnetError(
                    f"{file} is larger than {MAX_DESCRIPTION_BYTES // 2**20} MiB",
                    code="too-large",
                    file=str(file),
                )
            text = file.read_bytes()
        except OSError as error:
            raise FleetnetError(
                f"cannot read {file}: {error.strerror}", code="unreadable", file=str(file)
            ) from None
        return cls(path, _parsed(text, file))

    def read(self, file: str, sha256: str, size: int) -> bytes:
        """Return the content of one of the set's files.

        Raises:
            FleetnetError: it is missing or has changed since the set was written.
        """
        content = self._content(self.path / file, size)
        digest = hashlib.sha256(content).hexdigest()
        if digest != sha256:
            raise FleetnetError(
                f"{self.path / file} is not the file that the set was written with: its SHA-256 is "
                f"{digest[:12]}…, {DESCRIPTION} says {sha256[:12]}…"
            )
        return content

    def crop(self, found: Input) -> Pixels | None:
        """Return the expected pixels, ``uint8[crop, crop, 3]``; None if the set has only a hash.

        Raises:
            FleetnetError: as :meth:`read`.
        """
        if found.file is None:
            return None
        content = self.read(found.file, found.sha256, found.crop**2 * 3)
        return np.frombuffer(content, np.uint8).reshape(found.crop, found.crop, 3)

    def check_files(self) -> int:
        """Compare every file of the set with its hash.

        Returns:
            How many there are.

        Raises:
            FleetnetError: as :meth:`read`.
        """
        network = self.description.network
        files = {network.file: (network.sha256, network.bytes)}
        for picture in self.description.pictures:
            files[picture.file] = (picture.sha256, picture.bytes)
            for found in picture.inputs:
                if found.file:
                    files[found.file] = (found.sha256, found.crop**2 * 3)
        for file, (sha256, size) in files.items():
            self.read(file, sha256, size)
        return len(files)

    def _content(self, path: Path, size: int) -> bytes:
        try:
            # A link may lead out of the folder, and a pipe may have no end.
            links = path.is_symlink() or (path.parent != self.path and path.parent.is_symlink())
            if links or not path.is_file():
                raise FleetnetError(
                    f"{path} is missing: the conformance set is incomplete", file=str(path)
                )
            actual = path.stat().st_size
            if actual != size:
                raise FleetnetError(
                    f"{path} is not the file that the set was written with: it has {actual} bytes, "
                    f"{DESCRIPTION} says {size}",
                    file=str(path),
                )
            return path.read_bytes()
        except OSError as error:
            raise FleetnetError(
                f"cannot read {path}: {error.strerror}", code="unreadable", file=str(path)
            ) from None


def find_set() -> Path:
    """Return the folder of the set that comes with this package, installed or in a checkout.

    Raises:
        FleetnetError: this package has none.
    """
    room = Path(__file__).resolve().parent
    for folder in (room / "set", room.parents[2] / "conformance"):
        if (folder / DESCRIPTION).is_file():
            return folder
    raise FleetnetError(
        "the conformance set does not come with this installation: give its folder, set_folder=",
        arguments=["set_folder"],
    )


def _parsed(text: bytes, file: Path) -> Description:
    try:
        values = json.loads(text)
    except (ValueError, RecursionError):
        raise FleetnetError(f"{file} is not valid JSON", file=str(file)) from None
    if not isinstance(values, dict) or values.get("format") != FORMAT:
        raise FleetnetError(f"{file} does not describe a Fleetnet conformance set", file=str(file))
    try:
        return Description.model_validate(values)
    except ValidationError as error:
        place, said = first_problem(error)
        raise FleetnetError(
            f"{file}: {place + ': ' if place else ''}{said}", file=str(file)
        ) from None
