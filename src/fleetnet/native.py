"""The C core: :data:`core` is None if it was not compiled, for lack of a compiler."""

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
