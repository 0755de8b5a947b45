"""A replica's service: what concerns all replicas goes by others."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import secrets
from typing import Any, cast

from fleetnet.serving.config import Settings
from fleetnet.serving.errors import ServingError, UnavailableError
from fleetnet.serving.lifecycle import repository_of
from fleetnet.serving.service import Service
from fleetnet.serving.traces import Traces

COUNT_SECONDS = 1.0
"""How often a replica says what it has counted: what one that is killed has counted since is
lost."""
PATIENCE = 5.0
"""Seconds for the process that adds up."""
log = logging.getLogger("fleetnet.serving")


class FixedModelsError(ServingError):
    """Models are not changed one replica at a time."""

    code = "fixed-models"
    cause = "forbidden"

    def __init__(self, model: str, version: str | None) -> None:
        super().__init__(
            "replicas change their models together: deploy the new bundles in their "
            "place, which loses no request",
            model=model,
            version=version,
        )


class ReplicaService(Service):
    """A service that is one of several with the same models.

    Args:
        settings: of the server, with what is on this machine in the place of what was sent.
        sums: the handle of :class:`fleetnet.serving.replicas.sums.Sums`.
        traces: as of any service.
    """

    def __init__(self, settings: Settings, sums: Any, traces: Traces | None = None) -> None:
        super().__init__(
            repository_of(settings), settings.routes(), settings.options(), traces=traces
        )
        # By the system, because processes may begin with the same seed.
        self._name = secrets.token_hex(8)
        self._sums = sums
        self._counting: asyncio.Task[None] | None = None

    async def load(self, name: str, version: str | None = None, **_: bool) -> None:
        """Refuse to.

        Raises:
            FixedModelsError: always.
        """
        raise FixedModelsError(name, version)

    async def unload(self, name: str, version: str | None = None) -> None:
        """Refuse to.

        Raises:
            FixedModelsError: always.
        """
        raise FixedModelsError(name, version)

    def count(self) -> None:
        """Say from now on what this replica has counted."""
        self._counting = asyncio.get_running_loop().create_task(self._count())

    async def figures(self) -> bytes:
        """Return the metrics of all replicas together.

        Raises:
            UnavailableError: the process that adds up does not answer.
        """
        try:
            async with asyncio.timeout(PATIENCE):
                await self._seen()
                return cast("bytes", await self._sums.text.remote())
        except Exception as error:
            log.warning("the metrics of all replicas cannot be had: %s", type(error).__name__)
            raise UnavailableError(
                "the metrics of all replicas cannot be had now: try again later"
            ) from None

    async def close(self) -> None:
        """Say for the last time what was counted, and end as any service."""
        if self._counting is not None:
            self._counting.cancel()
            with contextlib.suppress(Exception):
                async with asyncio.timeout(PATIENCE):
                    await self._seen(ended=True)
        await super().close()

    async def _count(self) -> None:
        while True:
            with contextlib.suppress(Exception):  # it is asked again, and may be restarting
                async with asyncio.timeout(PATIENCE):
                    await self._seen()
            await asyncio.sleep(COUNT_SECONDS)

    async def _seen(self, *, ended: bool = False) -> None:
        figures = list(self.metrics.registry.collect())
        await self._sums.seen.remote(self._name, figures, ended)
