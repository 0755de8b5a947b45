"""Loading and unloading while the server runs, as clients of every protocol ask for it."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict

from fleetnet.serving.service import Service


class LoadParameters(BaseModel):
    """Which version; all of them if none is given. A model comes only from the server's folder."""

    model_config = ConfigDict(extra="forbid")

    version: str | None = None
    unload_dependents: bool | None = None
    default: bool = False

    async def load(self, service: Service, name: str) -> None:
        """Load what is asked for; raises as :meth:`Service.load`."""
        await service.load(name, self.version, default=self.default)

    async def unload(self, service: Service, name: str) -> None:
        """Unload what is asked for; raises as :meth:`Service.unload`."""
        await service.unload(name, self.version)
