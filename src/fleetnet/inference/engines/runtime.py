"""Modules that are imported when something of them is needed, and not before."""

from __future__ import annotations

import importlib
from types import ModuleType
from typing import Any

from fleetnet.telemetry import without_telemetry


class Runtime:
    """Stands for a module that takes long to import, or that may be absent.

    An engine's file is read to learn which engines there are, which should take no time. So what it
    computes with comes when the engine does::

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
