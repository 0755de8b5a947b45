"""A bundle as it is sent to other machines, which need not have it."""

from __future__ import annotations

import contextlib
from pathlib import Path
from typing import NamedTuple

from fleetnet.bundle import MANIFEST, Bundle, Content
from fleetnet.cache import cache_folder
from fleetnet.errors import BundleError, OvertakenError
from fleetnet.files import atomic_folder


class SentBundle(NamedTuple):
    """A bundle's files.

    Attributes:
        path: where it is on the machine that sends it.
        hash: of the bundle.
        files: by name; one alone is an ``.onnx`` file.
    """

    path: str
    hash: str
    files: dict[str, bytes]

    @classmethod
    def of(cls, bundle: Bundle) -> SentBundle:
        """Read a bundle.

        Raises:
            BundleError: a file is missing or has changed.
        """
        contents: list[Content] = []
        for artifact in bundle.artifacts:
            contents += bundle.contents_of(artifact)
        files = {content.path.name: content.data for content in contents}
        if bundle.path.is_dir():
            files[MANIFEST] = (bundle.path / MANIFEST).read_bytes()  # whose hash is the bundle's
        return cls(str(bundle.path.absolute()), bundle.hash, files)

    def here(self) -> Path:
        """Return where the bundle is on this machine; it is written into the cache if need be.

        Raises:
            FleetnetError: it cannot be written.
        """
        with contextlib.suppress(BundleError):
            if Bundle.load(self.path).hash == self.hash:
                return Path(self.path)
        folder = cache_folder() / "sent-bundles" / self.hash
        alone = len(self.files) == 1
        place = folder / next(iter(self.files)) if alone else folder
        if folder.is_dir():
            return place
        with contextlib.suppress(OvertakenError), atomic_folder(folder) as part:
            for name, data in self.files.items():
                (part / name).write_bytes(data)
        return place
