"""Ending a verb that converts when the system asks for it, with nothing left behind."""

from __future__ import annotations

import contextlib
import os
import signal
import threading
from collections.abc import Iterator
from types import FrameType

VERBS = ("devices", "export", "quantize")
"""Those that have converters at work, and folders that are half-written meanwhile."""


@contextlib.contextmanager
def tidy_termination(verb: str | None) -> Iterator[None]:
    """Have SIGTERM raise in the block, so that converters are ended and temporary files removed.

    By itself it ends the process at once, and what that had started goes on.

    Raises:
        SystemExit: SIGTERM came; with the shell's code for it, 143.
    """
    if verb not in VERBS or threading.current_thread() is not threading.main_thread():
        yield
        return
    ours = os.getpid()

    def end(number: int, _: FrameType | None) -> None:
        if os.getpid() != ours:  # a process forked from this one ends as any other
            signal.signal(number, signal.SIG_DFL)
            os.kill(os.getpid(), number)
        raise SystemExit(128 + number)

    before = signal.signal(signal.SIGTERM, end)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)
