"""The machine and the software that figures were measured with."""

from __future__ import annotations

import datetime
import os
import platform
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import fleetnet
from fleetnet.amounts import count as counted
from fleetnet.inference.comparison import machine as processor_and_system
from fleetnet.inference.engines import ENGINES, available_threads
from fleetnet.native import COMPILED

_MEMINFO = Path("/proc/meminfo")
_CGROUP = Path("/sys/fs/cgroup")
_UNKNOWN_MEMORY = 4 * 2**30
"""Assumed where the system does not say how much is available."""


@dataclass(frozen=True)
class Machine:
    """The facts on a machine that a reader needs to compare figures.

    Attributes:
        processor: its model, and the kind of operating system.
        processors: how many this process may use.
        system: name and version of the operating system.
        memory_bytes: of the machine; None where the system does not say.
        load: running processes at the start, averaged over a minute; None where it does not say.
        versions: of Fleetnet, Python and the engines' runtimes.
        date: of the measurement, in UTC.
    """

    processor: str
    processors: int
    system: str
    memory_bytes: int | None
    load: float | None
    versions: dict[str, str]
    date: str

    @property
    def line(self) -> str:
        """The machine, the versions and the date, for under a table."""
        versions = ", ".join(f"{name} {version}" for name, version in self.versions.items())
        count = counted(self.processors, "processor")
        return f"{self.processor}, {count}, {self.system}; {versions}; {self.date[:10]}"

    @property
    def busy(self) -> bool:
        """Whether other programs were busy when the measurement began."""
        return self.load is not None and self.load > 0.5 * self.processors


def load_average() -> float | None:
    """Return how many processes ran over the last minute; None where the system does not say."""
    return os.getloadavg()[0] if hasattr(os, "getloadavg") else None


def this_machine(engines: Iterable[str], load: float | None = None) -> Machine:
    """Return the facts on this machine, with the versions of the runtimes of ``engines``.

    Args:
        engines: keys of :data:`~fleetnet.inference.engines.ENGINES`.
        load: from before the measurement began, so that its own work does not count.
    """
    now = datetime.datetime.now(datetime.UTC)
    kinds = [ENGINES[engine] for engine in engines]
    ours = fleetnet.__version__ + ("" if COMPILED else " (resizing not compiled)")
    versions = {"fleetnet": ours, "Python": platform.python_version()}
    versions |= {kind.needs: kind.version.partition("+")[0] for kind in kinds}
    return Machine(
        processor=processor_and_system(),
        processors=available_threads(),
        system=_system(),
        memory_bytes=_memory("MemTotal"),
        load=load,
        versions=versions,
        date=now.isoformat(timespec="seconds"),
    )


def available_memory() -> int:
    """Return how many bytes this process may still use, within the system's and cgroup's limits."""
    free = _memory("MemAvailable") or _UNKNOWN_MEMORY
    try:
        limit = int((_CGROUP / "memory.max").read_text("utf-8"))
        taken = int((_CGROUP / "memory.current").read_text("utf-8"))
    except (OSError, ValueError):
        return free  # no group, or one without a limit, whose file says "max"
    return max(0, min(free, limit - taken))


def _memory(key: str) -> int | None:
    try:
        lines = _MEMINFO.read_text("utf-8").splitlines()
    except OSError:
        return None
    found = [line.split()[1] for line in lines if line.startswith(f"{key}:")]
    return int(found[0]) * 1024 if found else None


def _system() -> str:
    try:
        return platform.freedesktop_os_release().get("PRETTY_NAME") or platform.system()
    except OSError:
        return f"{platform.system()} {platform.release()}"
