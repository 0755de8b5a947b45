"""Locks against other processes, by the operating system."""

from __future__ import annotations

import contextlib
import errno
from collections.abc import Iterator
from pathlib import Path

NO_LOCKS = (errno.ENOSYS, errno.ENOLCK, errno.ENOTSUP, errno.EOPNOTSUPP)
"""Errors of file systems without locks, such as some over a network."""


@contextlib.contextmanager
def locked(path: Path, timeout: float = -1) -> Iterator[bool]:
    """Lock the file ``path`` against other processes while the block runs.

    It is a lock of the operating system, which always ends with the process.

    Args:
        path: created if it is missing.
        timeout: seconds to wait for it; for ever if negative.

    Yields:
        Whether it is locked: some network file systems have no locks.

    Raises:
        filelock.Timeout: another process has held it for so long.
        OSError: the file cannot be created.
    """
    from filelock import FileLock

    lock = FileLock(path, timeout=timeout)
    held = True
    try:
        lock.acquire()
    except NotImplementedError:
        held = False
    except OSError as error:
        if error.errno not in NO_LOCKS:
            raise
        held = False
    try:
        yield held
    finally:
        if held:
            lock.release()
