"""A package of npm, fetched once, of which a few files are kept; Node.js runs what uses them."""

from __future__ import annotations

import base64
import hashlib
import shutil
import tarfile
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

from fleetnet.errors import FleetnetError, one_line
from fleetnet.export.separate.environment import Environment
from fleetnet.reporting import Advance

_LARGEST = 100_000_000
"""Bytes that a file of a package may have."""


@dataclass(frozen=True)
class NodePackage(Environment):
    """Files of an npm package of one version, and Node.js, which has to be there already.

    Attributes:
        integrity: of the package's archive, as npm writes it: ``sha512-`` and base64.
        kept: the files that are kept, by their paths in the package; their last parts name them.
    """

    integrity: str = ""
    kept: tuple[str, ...] = ()

    ending: ClassVar[str] = ".mjs"

    @property
    def program(self) -> Path:
        """Node.js.

        Raises:
            FleetnetError: it is not installed.
        """
        found = shutil.which("node")
        if found is None:
            raise FleetnetError(
                f"'{self.name}' needs {self.missing}", code="not-installed", package="node"
            )
        return Path(found)

    @property
    def missing(self) -> str:
        """Node.js, where it is not installed."""
        return "" if shutil.which("node") else "Node.js 18 or newer as 'node' on the PATH"

    @property
    def archive(self) -> Path:
        """Where the package's archive is taken from if somebody put it there."""
        (requirement,) = self.requirements
        return self.folder.parent / f"{requirement.replace('==', '-')}.tgz"

    def read(self, name: str) -> bytes:
        """Return the content of one of the files that were kept."""
        return (self.folder / name).read_bytes()

    def _fill(self, advance: Advance) -> None:
        self.folder.mkdir(parents=True)
        archive = self.archive if self.archive.is_file() else self._fetched()
        _check(archive, self.integrity)
        self._unpack(archive)
        if archive.parent == self.folder:
            archive.unlink()
        advance(1)

    def _fetched(self) -> Path:
        npm = shutil.which("npm")
        if npm is None:
            raise FleetnetError(
                f"cannot fetch {self.archive.name} without npm: install npm, or put that file of "
                f"npm's into {self.archive.parent}",
                code="not-installed",
                package="npm",
            )
        (requirement,) = self.requirements
        package = requirement.replace("==", "@")
        place = str(self.folder)
        command = [npm, "pack", package, "--ignore-scripts", "--pack-destination", place]
        self._run(command, "fetch", lambda _: None)
        return self.folder / self.archive.name

    def _unpack(self, archive: Path) -> None:
        """Write the files that are kept; no name in the archive becomes a path."""
        try:
            with tarfile.open(archive, "r:gz") as packed:
                for path in self.kept:
                    member = packed.getmember(f"package/{path}")
                    content = packed.extractfile(member) if member.isreg() else None
                    if content is None or member.size > _LARGEST:
                        raise FleetnetError(f"{archive} holds no plain file {path}")
                    with content, (self.folder / Path(path).name).open("wb") as kept:
                        shutil.copyfileobj(content, kept)
        except (tarfile.TarError, KeyError, EOFError) as error:
            raise FleetnetError(f"{archive} cannot be unpacked: {one_line(error)}") from None


def _check(archive: Path, integrity: str) -> None:
    """Refuse an archive that is not the one that was pinned.

    Raises:
        FleetnetError: it is another, or there is none.
    """
    try:
        with archive.open("rb") as opened:
            digest = hashlib.file_digest(opened, "sha512").digest()
    except OSError:
        raise FleetnetError(f"npm left no {archive.name}") from None
    if f"sha512-{base64.b64encode(digest).decode()}" != integrity:
        raise FleetnetError(
            f"{archive} is not the package that was pinned: its SHA-512 is another",
            code="hash",
            file=str(archive),
        )
