"""Modules that are imported only when they are first used."""

from __future__ import annotations

import importlib
from types import ModuleType
from typing import Any

from fleetnet.telemetry import without_telemetry


class Runtime:
    """Stands for a module that takes long to import or may be absent.

    Listing the engines imports every engine's file, which should be fast. So the runtime is
    imported only when an engine is opened::

        if TYPE_CHECKING:
            import openvino as ov
        else:
            ov = Runtime("openvino")
    """

    def __init__(self, name: str) -> None:
        self._name = name
        self._module: ModuleType | None = None

    def __getattr__(self, attribute: str) -> Any:
        if self._module is None:
            with without_telemetry():
                self._module = importlib.import_module(self._name)
        return getattr(self._module, attribute)
