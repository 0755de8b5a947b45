"""What is compiled, where there was what it takes: None otherwise.

:data:`core` is the C core, for which a compiler is enough; :data:`jpeg` decodes parts of JPEG files
and needs libjpeg-turbo besides.
"""

from __future__ import annotations

import importlib
from types import ModuleType


def _load(name: str) -> ModuleType | None:
    try:
        return importlib.import_module(f"fleetnet.{name}")
    except ImportError:
        return None


core = _load("_native")
jpeg = _load("_jpeg")
COMPILED = core is not None
