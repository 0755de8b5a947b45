"""Environments of converters that this user has made, for tests whose cache is their own."""

from __future__ import annotations

from fleetnet.cache import cache_folder
from fleetnet.export.separate import Environment

USERS_CACHE = cache_folder() / "environments"
"""Of this user: this is read before the tests have a cache of their own."""


def borrowed(environment: Environment) -> bool:
    """Link an environment into the cache of the tests; tell whether it is there."""
    kept = USERS_CACHE / environment.folder.name
    if not environment.made and (kept / "made").is_file():
        environment.folder.parent.mkdir(parents=True, exist_ok=True)
        environment.folder.symlink_to(kept, target_is_directory=True)
    return environment.made
