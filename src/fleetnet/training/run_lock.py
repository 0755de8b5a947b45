"""A run's folder belongs to the one process that writes it."""

from __future__ import annotations

import contextlib
import datetime
import json
import os
import platform
from collections.abc import Iterator
from pathlib import Path

from filelock import Timeout

from fleetnet.errors import FleetnetError, OvertakenError
from fleetnet.files import atomic_file, locked, write_error

LOCK, OWNER = ".lock", ".owner"
WAIT_S = 0.5
"""Longer than :func:`check_unlocked` holds a folder."""


@contextlib.contextmanager
def run_lock(folder: Path) -> Iterator[bool]:
    """Keep every other process from writing a run to ``folder``, as long as the block runs.

    The system's own lock on a file in the folder decides, which ends with the process, however
    that dies; a second file says who has it, for messages.

    Yields:
        Whether it is locked: some network file systems cannot.

    Raises:
        OvertakenError: another process has it; the message says which.
        FleetnetError: the folder cannot be written to.
    """
    with contextlib.ExitStack() as stack:
        try:
            folder.mkdir(parents=True, exist_ok=True)
            held = stack.enter_context(locked(folder / LOCK, WAIT_S))
        except Timeout:
            raise OvertakenError(
                f"another run ({_owner(folder)}) is writing {folder}: wait until it ends, or "
                "choose another output="
            ) from None
        except OSError as error:
            raise write_error(folder, error) from error
        try:
            if held:
                _sign(folder)
            yield held
        finally:
            if held:
                with contextlib.suppress(OSError):
                    (folder / OWNER).unlink(missing_ok=True)


def check_unlocked(folder: Path) -> None:
    """Refuse at once what :func:`run_lock` would refuse after all preparations.

    Raises:
        OvertakenError: another process is writing a run to ``folder``.
    """
    if (folder / LOCK).exists():
        with run_lock(folder):
            pass


def _sign(folder: Path) -> None:
    now = datetime.datetime.now().astimezone()
    values = {"process": os.getpid(), "host": platform.node(), "since": f"{now:%Y-%m-%d %H:%M}"}
    # Who cannot say so on a full disk learns of that when the run is saved.
    with contextlib.suppress(FleetnetError), atomic_file(folder / OWNER) as file:
        file.write_text(json.dumps(values), "utf-8")


def _owner(folder: Path) -> str:
    """Return who has a folder, in words, as far as that can be told."""
    try:
        values = json.loads((folder / OWNER).read_text("utf-8"))
        return f"process {values['process']} on {values['host']}, since {values['since']}"
    except (OSError, ValueError, KeyError, TypeError, RecursionError):
        return "of another process"
