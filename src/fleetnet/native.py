"""The C core, where it was compiled: :data:`core` is None where there was no compiler."""

from __future__ import annotations

import importlib
from types import ModuleType


def _load() -> ModuleType | None:
    try:
        return importlib.import_module("fleetnet._native")
    except ImportError:
        return None


core = _load()
COMPILED = core is not None
