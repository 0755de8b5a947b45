"""All engines: those in the files of this folder, and those of other packages."""

from __future__ import annotations

import importlib
import importlib.metadata
import pkgutil
import threading
from collections.abc import Iterator, Mapping

from fleetnet.errors import FleetnetError, nearest, one_line, require
from fleetnet.inference.engines.kind import EngineKind
from fleetnet.telemetry import without_telemetry

GROUP = "fleetnet.engines"
"""Group of the entry points of other packages' engines: a name for each :class:`EngineKind`.
"""
DEFAULT_ENGINE = "openvino"
PACKAGE = __name__.rpartition(".")[0]


class Engines(Mapping[str, EngineKind]):
    """Engines by their names, found when they are first asked for.

    The default comes first, then this package's others, then those of other packages, sorted by
    name. Another package's engine that cannot be imported is left out until somebody names it.
    """

    def __init__(self) -> None:
        self._lock = threading.RLock()
        self._found: dict[str, EngineKind] | None = None
        self._broken: dict[str, str] = {}

    def __getitem__(self, name: str) -> EngineKind:
        return self._all()[name]

    def __iter__(self) -> Iterator[str]:
        return iter(tuple(self._all()))

    def __len__(self) -> int:
        return len(self._all())

    def add(self, kind: EngineKind) -> None:
        """Add an engine for the rest of the process.

        Raises:
            FleetnetError: there is an engine of this name.
        """
        with self._lock:
            if kind.name in self._all():
                raise FleetnetError(f"there is an engine '{kind.name}' already")
            self._all()[kind.name] = kind

    def named(self, name: str) -> EngineKind:
        """Return an engine whose runtime is installed.

        Raises:
            FleetnetError: unknown engine, or it is not installed.
        """
        found = self._all().get(name)
        if found is None and name in self._broken:
            raise FleetnetError(f"the engine '{name}' cannot be loaded: {self._broken[name]}")
        if found is None:
            raise FleetnetError(
                f"unknown engine '{name}'{nearest(name, self)} (known: {', '.join(self)})"
            )
        try:
            with without_telemetry():
                importlib.import_module(found.needs)
        except ModuleNotFoundError as error:
            if error.name != found.needs:
                raise
            raise require(found.title, found.extra, f"the engine '{name}'") from None
        return found

    def _all(self) -> dict[str, EngineKind]:
        with self._lock:
            if self._found is None:
                own = {kind.name: kind for kind in _in_this_folder()}
                self._found = {
                    name: own[name]
                    for name in sorted(own, key=lambda name: (name != DEFAULT_ENGINE, name))
                }
                self._found |= self._of_other_packages()
            return self._found

    def _of_other_packages(self) -> dict[str, EngineKind]:
        found: dict[str, EngineKind] = {}
        points = importlib.metadata.entry_points(group=GROUP)
        for point in sorted(points, key=lambda point: point.name):
            if point.name in (self._found or {}):
                continue
            try:
                kind = point.load()
            except Exception as error:
                # Code of others may raise anything, which must not affect the other engines.
                self._broken[point.name] = one_line(error) or type(error).__name__
                continue
            if isinstance(kind, EngineKind) and kind.name == point.name:
                found[point.name] = kind
            else:
                self._broken[point.name] = f"{point.value} is no EngineKind of this name"
        return found


def _in_this_folder() -> Iterator[EngineKind]:
    package = importlib.import_module(PACKAGE)
    for module in pkgutil.iter_modules(package.__path__):
        kind = getattr(importlib.import_module(f"{PACKAGE}.{module.name}"), "ENGINE", None)
        if isinstance(kind, EngineKind):
            yield kind


ENGINES = Engines()
"""Every engine by its name, including those that are not installed."""
