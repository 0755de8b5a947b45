"""What the figures were measured on, and with."""

from __future__ import annotations

import datetime
import importlib.metadata
import os
import platform
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import fleetnet
from fleetnet.amounts import count as counted
from fleetnet.inference.engines import ENGINES, available_threads
from fleetnet.inference.verify import machine as processor_and_system
from fleetnet.resampling import COMPILED

_MEMINFO = Path("/proc/meminfo")
_CGROUP = Path("/sys/fs/cgroup")
_UNKNOWN_MEMORY = 4 * 2**30
"""Taken for available where the system does not say."""


@dataclass(frozen=True)
class Machine:
    """A machine as a reader has to know it to compare figures.

    Attributes:
        processor: its model, and the kind of operating system.
        processors: how many this process may use.
        system: name and version of the operating system.
        memory_bytes: of the machine; None where the system does not say.
        load: running processes at the start, averaged over a minute; None likewise.
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
        """Whether other programs were computing when the measurement began."""
        return self.load is not None and self.load > 0.5 * self.processors


def load_average() -> float | None:
    """Return how many processes ran over the last minute; None where the system does not say."""
    return os.getloadavg()[0] if hasattr(os, "getloadavg") else None


def this_machine(engines: Iterable[str], load: float | None = None) -> Machine:
    """Return what is known of this machine, with the versions of the runtimes of ``engines``.

    Args:
        engines: keys of :data:`~fleetnet.inference.engines.ENGINES`.
        load: of before the measurement began, whose own work would count as well.
    """
    now = datetime.datetime.now(datetime.UTC)
    packages = dict.fromkeys(ENGINES[engine][0] for engine in engines)
    ours = fleetnet.__version__ + ("" if COMPILED else " (resizing not compiled)")
    versions = {"fleetnet": ours, "Python": platform.python_version()}
    versions |= {package: _version(package) for package in packages}
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
    """Return how many bytes this process may still take, by the system's and its group's limits."""
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


def _version(package: str) -> str:
    return importlib.metadata.version(package).partition("+")[0]


def _system() -> str:
    try:
        return platform.freedesktop_os_release().get("PRETTY_NAME") or platform.system()
    except OSError:
        return f"{platform.system()} {platform.release()}"
