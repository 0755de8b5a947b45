"""The folder of the cache."""

from __future__ import annotations

import os
from pathlib import Path

import platformdirs

CACHE_VARIABLE = "FLEETNET_CACHE"


def cache_folder() -> Path:
    """Return the folder of the cache: ``FLEETNET_CACHE``, else the XDG folder."""
    chosen = os.environ.get(CACHE_VARIABLE)
    return Path(chosen) if chosen else platformdirs.user_cache_path("fleetnet")


def in_cache(path: Path) -> bool:
    """Tell whether a path is in the cache, which people may not know about."""
    return path.is_relative_to(cache_folder())
