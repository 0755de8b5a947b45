"""Memory that the C library keeps while a network trains on the processor."""

from __future__ import annotations

import contextlib
import ctypes
import os
from collections.abc import Iterator

# From malloc.h; the numbers are part of glibc's binary interface.
_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD, _M_MMAP_MAX = -1, -3, -4
_LARGEST_MMAP_THRESHOLD = 32 * 2**20
"""Bytes; to which glibc itself raises the threshold once so large an array was freed."""
_USUAL_MMAP_MAX = 65536
_VARIABLES = ("GLIBC_TUNABLES", "MALLOC_TRIM_THRESHOLD_", "MALLOC_MMAP_MAX_")


@contextlib.contextmanager
def memory_kept() -> Iterator[bool]:
    """Have freed memory kept for the next step, and give it back at the end.

    glibc maps each large array anew and unmaps it when it is freed, so that the system fills the
    same memory with zeros at every step: a quarter of the processor time of a step of MobileNetV2.
    Arrays are cut from the heap instead, which does not shrink until the end. Nothing is changed
    where another C library is, or where the user has said by glibc's environment variables how
    memory is to be kept. Settings hold for the whole process.

    Yields:
        Whether memory is kept.
    """
    library = _glibc()
    if library is None or any(_says_how(name) for name in _VARIABLES):
        yield False
        return
    library.mallopt(_M_MMAP_MAX, 0)
    library.mallopt(_M_TRIM_THRESHOLD, -1)
    try:
        yield True
    finally:
        # As glibc's own thresholds are after large arrays: it does not move them once they are set.
        library.mallopt(_M_MMAP_THRESHOLD, _LARGEST_MMAP_THRESHOLD)
        library.mallopt(_M_TRIM_THRESHOLD, 2 * _LARGEST_MMAP_THRESHOLD)
        library.mallopt(_M_MMAP_MAX, _USUAL_MMAP_MAX)
        library.malloc_trim(0)


def _says_how(variable: str) -> bool:
    value = os.environ.get(variable, "")
    return "glibc.malloc" in value if variable == "GLIBC_TUNABLES" else bool(value)


def _glibc() -> ctypes.CDLL | None:
    """Return the C library of this process if it is glibc."""
    try:
        library = ctypes.CDLL(None)
        library.gnu_get_libc_version  # noqa: B018 - musl and macOS have none
    except (OSError, TypeError, AttributeError):
        return None
    library.malloc_trim.argtypes = [ctypes.c_size_t]
    return library
