"""Processes that a test begins, none of which outlives it."""

from __future__ import annotations

import contextlib
import multiprocessing
from collections.abc import Iterator
from multiprocessing.process import BaseProcess


@contextlib.contextmanager
def started(*processes: BaseProcess) -> Iterator[None]:
    """Start processes for the block; those that still run at its end are killed."""
    try:
        for process in processes:
            process.start()
        yield
    finally:
        for process in processes:
            if process.pid is not None:
                process.kill()
                process.join()


def wait_to_be_killed() -> None:
    """Get no further, but end with the process that started this one, however that ends."""
    parent = multiprocessing.parent_process()
    assert parent is not None
    parent.join()
