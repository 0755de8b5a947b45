"""A worker's service: what concerns all workers goes by the supervisor."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, cast

from fleetnet.errors import FleetnetError, one_line
from fleetnet.serving.config import Settings
from fleetnet.serving.lifecycle import repository_of
from fleetnet.serving.service import OpenedVersions, Service
from fleetnet.serving.traces import Traces
from fleetnet.serving.workers.channel import ClosedError
from fleetnet.serving.workers.figures import Figures


@dataclass
class Loaded:
    """What every worker has to have loaded.

    Attributes:
        versions: names of models with versions.
        defaults: versions that were made the default, by model.
    """

    versions: set[tuple[str, str]] = field(default_factory=set)
    defaults: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Beginning:
    """What a worker is told first.

    Attributes:
        number: of the worker, from 0.
        settings: its share of the server's.
        loaded: what the others have loaded; None if none of them has begun.
    """

    number: int
    settings: Settings
    loaded: Loaded | None


class WorkerService(Service):
    """A service that is one of several with the same models.

    Args:
        settings: this worker's share.
        ask: asks the supervisor.
        traces: as of any service.

    """

    def __init__(
        self,
        settings: Settings,
        ask: Callable[..., Awaitable[Any]],
        traces: Traces | None = None,
    ) -> None:
        super().__init__(
            repository_of(settings), settings.routes(), settings.options(), traces=traces
        )
        self._everywhere = False
        self._ask = ask
        self._prepared: OpenedVersions | None = None

    @property
    def ready(self) -> bool:
        """Whether requests are answered, whichever worker they come to."""
        return super().ready and self._everywhere

    def all_are_loaded(self) -> None:
        """Be ready as soon as this worker is, because all others are too."""
        self._everywhere = True
        self.tell_ready()

    @property
    def loaded(self) -> set[tuple[str, str]]:
        """Names of the loaded models with their versions."""
        return {(one.model, one.version) for one in self.models}

    async def catch_up(self, loaded: Loaded) -> None:
        """Load what the other workers have, and be ready then.

        Raises:
            FleetnetError: something of it cannot be loaded any more.
        """
        for name, version in sorted(loaded.versions):
            self.put(await self.prepare(name, version))
        for name, version in loaded.defaults.items():
            self.models.prefer(name, version)
        await self.start(())

    async def load(self, name: str, version: str | None = None, *, default: bool = False) -> None:
        """Let all workers load; if one cannot, all keep what they have.

        Raises:
            FleetnetError: as of any service; the message says if only some workers cannot.
        """
        await self._ask("load", name, version, default)

    async def unload(self, name: str, version: str | None = None) -> None:
        """Let all workers unload.

        Raises:
            NotFoundError: it is not loaded.
        """
        await self._ask("unload", name, version)

    async def figures(self) -> bytes:
        """Return the metrics of all workers together."""
        return cast("bytes", await self._ask("figures"))

    @property
    def answers(self) -> Mapping[str, Callable[..., Awaitable[Any]]]:
        """What the supervisor asks of a worker."""
        return {
            "prepare": self._on_prepare,
            "put": self._on_put,
            "discard": self._on_discard,
            "unload": super().unload,
            "count": self.count,
        }

    async def count(self) -> Figures:
        """Return what this worker has counted."""
        return list(self.metrics.registry.collect())

    async def _on_prepare(self, name: str, version: str | None) -> set[str]:
        self._prepared = await self.prepare(name, version)
        return set(self._prepared.opened)

    async def _on_put(self, default: str | None) -> None:
        prepared, self._prepared = self._prepared, None
        if prepared is not None:
            self.put(prepared)
            if default is not None:
                self.models.default(prepared.model, default)

    async def _on_discard(self, error: Exception) -> None:
        prepared, self._prepared = self._prepared, None
        if prepared is not None:
            self.discard(prepared, why(error))


def why(error: Exception) -> str:
    """Return why a worker could not load, as the index says it."""
    if isinstance(error, ClosedError):
        return "a worker ended while it loaded"
    return one_line(error) if isinstance(error, FleetnetError) else "internal error"
