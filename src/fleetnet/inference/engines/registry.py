"""All engines: those in the files of this folder, and those of other packages."""

from __future__ import annotations

import importlib

from fleetnet.errors import INSTALL, FleetnetError, one_line, require
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
            FleetnetError: unknown engine, or it is not installed or cannot be loaded.
        """
        found = self.find(name)
        try:
            with without_telemetry():
                importlib.import_module(found.needs)
        except (ImportError, OSError) as error:
            if isinstance(error, ModuleNotFoundError) and error.name == found.needs:
                raise _absent(found) from None
            # Such as a library of the system that the runtime needs, and does not find.
            why = one_line(error)
            raise FleetnetError(f"the engine '{name}' cannot be loaded: {why}") from None
        return found


def _absent(kind: EngineKind) -> FleetnetError:
    if kind.extra:
        return require(kind.title, kind.extra, f"the engine '{kind.name}'")
    return FleetnetError(
        f"the engine '{kind.name}' needs {kind.title}, which is not installed: {INSTALL} "
        f"{kind.needs.partition('.')[0]}",
        code="not-installed",
        package=kind.title,
    )


ENGINES = Engines()
"""Every engine by its name, including those that are not installed."""
