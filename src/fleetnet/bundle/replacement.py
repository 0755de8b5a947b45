"""Reading a bundle while it may be replaced: all of the old one, or all of the new one."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable
from typing import TypeVar

from fleetnet.bundle.bundle import Bundle
from fleetnet.errors import BundleError

T = TypeVar("T")

TRIES = 5
"""How often reading begins anew."""
_CODES = ("changed-file", "missing-file", "no-artifact", "unreadable")
"""Errors that a bundle gives whose manifest is of before and whose files are of after."""
_PAUSE = 0.01
"""Seconds: whoever replaces a folder leaves nothing in its place for a moment, and whoever writes
its files one after another has not come to the manifest yet."""


def while_replaced(bundle: Bundle, use: Callable[[Bundle], T]) -> T:
    """Return what ``use`` makes of a bundle's files, or of those of the bundle that replaced it.

    If a file is not the one that the manifest describes, the bundle may have been replaced since
    the manifest was read. Then the manifest is read once more, and ``use`` is called again; also,
    but only once, if the manifest is the same: in between, another bundle may have come and gone.

    Raises:
        BundleError: as ``use``, if the bundle was not replaced, or was replaced at every try.
    """
    same = tried = 0
    while True:
        try:
            return use(bundle)
        except BundleError as error:
            if error.code not in _CODES or tried == TRIES:
                raise
            newer = _newer(bundle)
            same = 0 if newer else same + 1
            if same == 2:
                raise
            bundle = newer or bundle
            tried += 1


def _newer(bundle: Bundle) -> Bundle | None:
    """Return the bundle that replaced this one, if there is one."""
    newer = None
    with contextlib.suppress(BundleError):
        newer = bundle.renewed()
    if newer is None:
        time.sleep(_PAUSE)
    return newer
