"""The processes that load images: how they start, and how it is known that one has died."""

from __future__ import annotations

import contextlib
import multiprocessing
import multiprocessing.forkserver
import os
import signal
import sys
import threading
import warnings
from collections.abc import Iterator
from multiprocessing.context import BaseContext
from types import TracebackType
from typing import Any

_PREFETCHED_BYTES = 64 * 2**20
"""Batches that a worker may have ready in shared memory, beyond the two that keep it busy."""
_DEATHS = ("exited unexpectedly", "killed by signal", "shared memory", "No space left on device")
"""In PyTorch's messages when a worker has died or shared memory is full."""


def is_death(error: Exception) -> bool:
    """Tell whether an error of PyTorch's loader means that a process died."""
    connection_lost = isinstance(error, ConnectionError | EOFError | MemoryError)
    return connection_lost or any(words in str(error) for words in _DEATHS)


def worker_options(workers: int, batch_bytes: int) -> dict[str, Any]:
    """Return what PyTorch's loader is told of its processes; nothing where there are none."""
    if not workers:
        return {}
    return {
        "multiprocessing_context": _context(),
        "persistent_workers": True,
        "prefetch_factor": min(max(_PREFETCHED_BYTES // batch_bytes, 2), 4),
        "worker_init_fn": _begin_worker,
    }


def _begin_worker(_number: int) -> None:
    # Ctrl-C reaches every process of the terminal; the main process handles it.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    sys.excepthook = _say_unless_disconnected
    threading.Thread(target=_end_with_the_run, daemon=True).start()
    # Pillow warns of damaged EXIF and the like; unreadable images are named in the batch.
    warnings.filterwarnings("ignore", module=r"PIL\.")


def _end_with_the_run() -> None:
    """End this worker when the main process is gone, which may have been killed.

    PyTorch watches the process that started the worker. Here that is the fork server, which itself
    stays as long as a worker does.
    """
    run = multiprocessing.parent_process()
    if run is not None:
        run.join()
        os._exit(1)


def _say_unless_disconnected(
    kind: type[BaseException], error: BaseException, trace: TracebackType | None
) -> None:
    """Print an error of a worker's sending thread, unless the receiver is gone."""
    if not issubclass(kind, ConnectionError | EOFError):
        sys.__excepthook__(kind, error, trace)


def _context() -> BaseContext:
    """Return how worker processes start: by a fork server, where the system has fork.

    A fork of this process would copy the locks of the threads that PyTorch, OpenVINO and ONNX
    Runtime have started here, and might deadlock or crash.
    """
    if "forkserver" not in multiprocessing.get_all_start_methods():
        return multiprocessing.get_context("spawn")
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["fleetnet.data.loader"])
    with _interrupts_ignored():
        # Workers inherit this, before they can set it themselves.
        multiprocessing.forkserver.ensure_running()
    return context


@contextlib.contextmanager
def _interrupts_ignored() -> Iterator[None]:
    if threading.current_thread() is not threading.main_thread():
        yield  # only the main thread may change what signals do
        return
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)
