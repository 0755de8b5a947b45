"""A lock, so that only one process writes to a run's folder."""

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
from fleetnet.files import atomic_file, write_error
from fleetnet.locks import locked

LOCK, OWNER = ".lock", ".owner"
WAIT_S = 0.5
"""Seconds; longer than :func:`check_unlocked` holds a folder."""


@contextlib.contextmanager
def run_lock(folder: Path) -> Iterator[bool]:
    """Keep other processes from writing a run to ``folder`` while the block runs.

    This is an operating-system lock on a file in the folder, which always ends with the process. A
    second file says which process has it, for messages.

    Yields:
        Whether it is locked: some network file systems cannot.

    Raises:
        OvertakenError: another process has the folder; the message says which.
        FleetnetError: the folder cannot be written to.
    """
    with contextlib.ExitStack() as stack:
        try:
            folder.mkdir(parents=True, exist_ok=True)
            held = stack.enter_context(locked(folder / LOCK, WAIT_S))
        except Timeout:
            raise OvertakenError(
                f"another run ({_owner(folder)}) is writing {folder}: wait until it ends, or "
                "choose another output=",
                arguments=["output"],
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
    """Refuse at once what :func:`run_lock` would refuse later.

    Raises:
        OvertakenError: another process is writing a run to ``folder``.
    """
    if (folder / LOCK).exists():
        with run_lock(folder):
            pass


def _sign(folder: Path) -> None:
    now = datetime.datetime.now().astimezone()
    values = {"process": os.getpid(), "host": platform.node(), "since": f"{now:%Y-%m-%d %H:%M}"}
    # If the disk is full, saving the run reports it.
    with contextlib.suppress(FleetnetError), atomic_file(folder / OWNER) as file:
        file.write_text(json.dumps(values), "utf-8")


def _owner(folder: Path) -> str:
    """Return in words which process has a folder, as far as it is known."""
    try:
        values = json.loads((folder / OWNER).read_text("utf-8"))
        return f"process {values['process']} on {values['host']}, since {values['since']}"
    except (OSError, ValueError, KeyError, TypeError, RecursionError):
        return "of another process"
