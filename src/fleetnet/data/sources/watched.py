"""Telling how far the opening of data has come, where that takes long."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from contextvars import ContextVar

from fleetnet.reporting import Advance, Begin


def _nobody(_what: str, _steps: int) -> Advance:
    return lambda _: None


_watcher: ContextVar[Begin] = ContextVar("watcher", default=_nobody)


@contextlib.contextmanager
def opening_watched(begin: Begin) -> Iterator[None]:
    """Call ``begin`` with each long piece of work of opening data while the block runs.

    It is no argument of what opens a kind of data, because anybody may write one of those.
    """
    token = _watcher.set(begin)
    try:
        yield
    finally:
        _watcher.reset(token)


def long_work(what: str, steps: int) -> Advance:
    """Begin a piece of work of opening data; call what is returned with the steps done."""
    return _watcher.get()(what, steps)
