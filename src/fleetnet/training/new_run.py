"""The folder of a run for which nobody named a place."""

from __future__ import annotations

import contextlib
import datetime
from collections.abc import Iterator
from pathlib import Path

from fleetnet.files import new_folder

RUNS = Path("runs")
"""The folder of such folders."""


@contextlib.contextmanager
def new_run_folder(model: str, runs: Path = RUNS) -> Iterator[Path]:
    """Make ``runs/MODEL-TIME``, which no other run has; removed in the end if it stays empty.

    Args:
        model: the network's name.
        runs: where to make it.

    Yields:
        The folder.

    Raises:
        FleetnetError: the place cannot be written to.
    """
    now = datetime.datetime.now().astimezone()
    folder = new_folder(runs / f"{model}-{now:%Y%m%d-%H%M%S}")
    try:
        yield folder
    finally:
        with contextlib.suppress(OSError):
            folder.rmdir()  # which removes only an empty one
