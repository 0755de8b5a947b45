"""What is sent to machines that have none of it: settings, bundles, tokens, references."""

from __future__ import annotations

import contextlib
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from fleetnet.bundle import Bundle, while_replaced
from fleetnet.cluster.sent import SentBundle
from fleetnet.errors import FleetnetError
from fleetnet.files import write_error
from fleetnet.serving.auth import Role, read_tokens
from fleetnet.serving.config import Settings
from fleetnet.serving.lifecycle import repository_of

MAX_BYTES = 512 * 2**20
"""Of all bundles together: they pass through Ray's controller, which keeps them."""


@dataclass(frozen=True)
class Beginning:
    """All that a replica needs.

    Attributes:
        settings: of the server; what they name in files is beside them.
        bundles: by names of models and versions.
        tokens: digests and roles; none where everybody may do everything.
        references: contents of files, by ``NAME`` or ``NAME/VERSION``.
    """

    settings: Settings
    bundles: dict[tuple[str, str], SentBundle]
    tokens: list[tuple[bytes, Role]]
    references: dict[str, bytes]

    @classmethod
    def of(cls, settings: Settings) -> Beginning:
        """Read what settings name.

        Raises:
            FleetnetError: something cannot be read, or the bundles are too large.
        """
        repository = repository_of(settings)
        names = repository.names() if settings.load is None else list(settings.load)
        bundles: dict[tuple[str, str], SentBundle] = {}
        size = 0
        for name in names:
            for version, path in repository.versions(name).items():
                bundles[name, version] = bundle = _sent(path)
                size += sum(map(len, bundle.files.values()))
                if size > MAX_BYTES:
                    raise FleetnetError(
                        f"the bundles have more than {MAX_BYTES // 2**20} MiB, which is too much "
                        "to send to replicas: serve fewer, or export bundles of fewer artifacts"
                    )
        tokens = [] if settings.tokens is None else read_tokens(settings.tokens)
        references = {key: _content(path) for key, path in settings.drift.references.items()}
        return cls(settings, bundles, tokens, references)

    @property
    def size(self) -> int:
        """Bytes of all bundles."""
        return sum(len(data) for one in self.bundles.values() for data in one.files.values())

    @contextlib.contextmanager
    def unpacked(self) -> Iterator[Settings]:
        """Yield settings that name what was sent by where it is here, until it is loaded.

        Bundles stay in the cache, where other replicas of this machine find them.

        Raises:
            FleetnetError: something cannot be written.
        """
        with tempfile.TemporaryDirectory(prefix="fleetnet-") as folder:
            try:
                settings = self._written(Path(folder))
            except OSError as error:
                raise write_error(Path(folder), error) from None
            yield settings

    def _written(self, folder: Path) -> Settings:
        models = {
            f"{name}/{version}": bundle.here() for (name, version), bundle in self.bundles.items()
        }
        references: dict[str, Path] = {}
        for key, content in self.references.items():
            references[key] = folder / f"reference-{len(references)}.json"
            references[key].write_bytes(content)
        drift = self.settings.drift.model_copy(update={"references": references})
        changed = {"models": models, "folder": None, "load": None, "tokens": None, "drift": drift}
        return self.settings.model_copy(update=changed)


def _sent(path: Path) -> SentBundle:
    return while_replaced(Bundle.load(path), SentBundle.of)


def _content(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise FleetnetError(f"cannot read {path}: {error.strerror}") from None
