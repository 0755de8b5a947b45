"""All engines: those in the files of this folder, and those of other packages."""

from __future__ import annotations

import importlib

from fleetnet.errors import require
from fleetnet.inference.engines.kind import EngineKind
from fleetnet.registration import Registry
from fleetnet.telemetry import without_telemetry

GROUP = "fleetnet.engines"
"""Group of the entry points of other packages' engines: a name for each :class:`EngineKind`.
"""
DEFAULT_ENGINE = "openvino"
REFERENCE = "torch"
"""The engine that runs the trained network itself, which the others are compared with."""


class Engines(Registry[EngineKind]):
    """Engines by their names; the default is first."""

    def __init__(self) -> None:
        super().__init__(
            "engine",
            EngineKind,
            package=__name__.rpartition(".")[0],
            attribute="ENGINE",
            group=GROUP,
            order=lambda kind: (kind.name != DEFAULT_ENGINE, kind.name),
        )

    def named(self, name: str) -> EngineKind:
        """Return an engine whose runtime is installed.

        Raises:
            FleetnetError: unknown engine, or it is not installed.
        """
        found = self.find(name)
        try:
            with without_telemetry():
                importlib.import_module(found.needs)
        except ModuleNotFoundError as error:
            if error.name != found.needs:
                raise
            raise require(found.title, found.extra, f"the engine '{name}'") from None
        return found


ENGINES = Engines()
"""Every engine by its name, including those that are not installed."""
