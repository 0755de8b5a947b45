"""Processes in a network of their own, which has loopback and nothing else.

Ray listens on many ports, and is never started where somebody else could reach them.
"""

from __future__ import annotations

import contextlib
import functools
import os
import shutil
import subprocess
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

# With processes of their own too, all of which end with the first of them.
_APART = ("unshare", "-rnpf", "--mount-proc", "--kill-child", "sh", "-c")
_BEGIN = 'ip link set lo up && "$@"'
_LISTENING = "0A"
_LOOPBACK = {
    "0100007F",
    "00000000000000000000000001000000",
    "0000000000000000FFFF00000100007F",
}


@functools.cache
def why_not() -> str:
    """Return why no process can be started so; empty if one can."""
    if not shutil.which("unshare") or not shutil.which("ip"):
        return "unshare and ip (util-linux, iproute2) are not installed"
    tried = subprocess.run([*_APART, _BEGIN, "sh", "true"], capture_output=True, check=False)
    return "" if tried.returncode == 0 else "no namespace for the network can be made here"


@contextlib.contextmanager
def started(
    command: Sequence[str | Path], log: Path, **environment: str
) -> Iterator[subprocess.Popen[bytes]]:
    """Start a command for the block; all of its processes end with it."""
    env = {key: value for key, value in os.environ.items() if key != "RAY_ADDRESS"}
    with (
        log.open("ab") as out,
        subprocess.Popen(
            [*_APART, _BEGIN, "sh", *map(str, command)],
            stdin=subprocess.DEVNULL,
            stdout=out,
            stderr=out,
            env=env | {"RAY_USAGE_STATS_ENABLED": "0"} | environment,
        ) as process,
    ):
        try:
            yield process
        finally:
            process.kill()


def processes(of: subprocess.Popen[bytes], title: str) -> list[int]:
    """Return the processes that a command has started and that call themselves so."""
    network = Path(f"/proc/{of.pid}/ns/net").readlink()
    if network == Path("/proc/self/ns/net").readlink():
        return []  # it has not begun
    found = []
    for entry in Path("/proc").iterdir():
        if not entry.name.isdigit():
            continue
        with contextlib.suppress(OSError):
            same = (entry / "ns" / "net").readlink() == network
            if same and title in (entry / "cmdline").read_text(errors="replace"):
                found.append(int(entry.name))
    return sorted(found)


def is_gone(process: int) -> bool:
    """Tell whether a process that was killed has ended with all of its threads and open files."""
    try:
        threads = list(Path(f"/proc/{process}/task").iterdir())
        states = [(one / "stat").read_text().rpartition(")")[2].split()[0] for one in threads]
    except OSError:
        return not Path(f"/proc/{process}").exists()
    return all(state in "ZX" for state in states)


def listening(of: subprocess.Popen[bytes]) -> tuple[int, int]:
    """Return how many ports are listened on, and how many of them by loopback alone."""
    addresses = []
    for name in ("tcp", "tcp6"):
        for line in Path(f"/proc/{of.pid}/net/{name}").read_text().splitlines()[1:]:
            _, local, _, state, *_ = line.split()
            if state == _LISTENING:
                addresses.append(local.partition(":")[0])
    return len(addresses), sum(address in _LOOPBACK for address in addresses)


def wait_for(what: Callable[[], bool], process: subprocess.Popen[bytes], log: Path) -> None:
    """Wait until something is so; fail if the process ends before."""
    while not what():
        assert process.poll() is None, log.read_text(errors="replace")[-3000:]
        time.sleep(0.01)
