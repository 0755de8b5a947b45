"""Starting the processes of one machine that train together, and starting them anew."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import tempfile
import time
import uuid
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from fleetnet.data.shares import Place
from fleetnet.errors import FleetnetError
from fleetnet.reporting import Say
from fleetnet.training.interruption import Interruption
from fleetnet.training.launch_environment import LAUNCH, LOST, MEETING_FILE, RESTARTS

_NOTICING_S = 15.0
"""How long the others have to say what they miss, once one is gone."""
_SAVING_S = 600.0
"""How long all have to save and end when they are asked to; whoever asks may kill them earlier."""
_LOOKING_S = 0.05


class Launch:
    """Several processes of one command, which find each other on this machine.

    If one is killed, or does not answer the others, all are ended and started anew. They have to
    take up their work where they saved it. A process that says what is wrong with what it was
    given, with any other exit code, ends them all.

    Args:
        command: of each process.
        processes: how many.
        restarts: how often they may be started anew.
        say: called with a line about each restart.
    """

    def __init__(self, command: Sequence[str], processes: int, *, restarts: int, say: Say) -> None:
        self.command = list(command)
        self.processes = processes
        self.restarts = restarts
        self._say = say
        self._name = uuid.uuid4().hex
        self._interruption = Interruption()

    def run(self) -> int:
        """Run until all have ended, and return the exit code of the first that did not end well."""
        with self._interruption, tempfile.TemporaryDirectory(prefix="fleetnet-") as folder:
            code, why = 0, ""
            for attempt in range(self.restarts + 1):
                meeting_file = Path(folder) / f"meeting-{attempt}"
                with self._started(meeting_file, attempt) as running:
                    code, why = self._watched(running)
                if not why or self._interruption.signal is not None:
                    return code
                if attempt < self.restarts:
                    self._say(
                        f"{why}: all {self.processes} start anew from what was saved last, "
                        f"restart {attempt + 1} of at most {self.restarts}"
                    )
            self._say(f"{why}, and all restarts are used up")
            return code

    @contextlib.contextmanager
    def _started(self, meeting_file: Path, attempt: int) -> Iterator[list[subprocess.Popen[bytes]]]:
        """Start the processes for the block; those that are left at its end are killed."""
        running: list[subprocess.Popen[bytes]] = []
        try:
            for rank in range(self.processes):
                environment = self._environment(Place(rank, self.processes), attempt)
                environment[MEETING_FILE] = str(meeting_file)
                running.append(
                    subprocess.Popen(  # noqa: S603 - our own command
                        self.command,
                        env=environment,
                        # Which ends when this process does, however that happens.
                        stdin=subprocess.PIPE,
                        # The terminal's Ctrl-C comes to this process alone, which passes it on.
                        start_new_session=True,
                    )
                )
            yield running
        finally:
            for process in running:
                if process.poll() is None:
                    process.kill()
                process.wait()
                if process.stdin is not None:
                    process.stdin.close()

    def _environment(self, place: Place, attempt: int) -> dict[str, str]:
        return {
            **shared_settings(os.environ, self.processes),
            "RANK": str(place.rank),
            "LOCAL_RANK": str(place.rank),
            "WORLD_SIZE": str(place.size),
            "LOCAL_WORLD_SIZE": str(place.size),
            LAUNCH: self._name,
            RESTARTS: str(attempt),
        }

    def _watched(self, running: Sequence[subprocess.Popen[bytes]]) -> tuple[int, str]:
        """Wait until all have ended or one has failed.

        Returns:
            An exit code; and why they are to start anew, empty if they are not to.
        """
        asked_at: float | None = None
        while True:
            codes = [process.poll() for process in running]
            failed = [rank for rank, code in enumerate(codes) if code]
            if asked_at is None and failed:
                return self._failed(running)
            if all(code is not None for code in codes):
                return next((_shell_code(code) for code in codes if code), 0), ""
            number = self._interruption.signal
            if number is not None and asked_at is None:
                asked_at = time.monotonic()
                for process in running:
                    process.send_signal(number)
            if asked_at is not None and time.monotonic() - asked_at > _SAVING_S:
                return 128 + int(number or signal.SIGTERM), ""
            time.sleep(_LOOKING_S)

    def _failed(self, running: Sequence[subprocess.Popen[bytes]]) -> tuple[int, str]:
        """Give the others time to notice, and return what :meth:`_watched` does."""
        end = time.monotonic() + _NOTICING_S
        while any(process.poll() is None for process in running) and time.monotonic() < end:
            time.sleep(_LOOKING_S)
        codes = [process.poll() for process in running]
        said = [code for code in codes if code is not None and code > 0 and code != LOST]
        if said:
            return said[0], ""
        killed = [
            f"rank {rank} (process {process.pid}) was killed by {_signal_name(-code)}"
            for rank, (process, code) in enumerate(zip(running, codes, strict=True))
            if code is not None and code < 0
        ]
        silent = [
            f"rank {rank} (process {process.pid}) did not end by itself"
            for rank, (process, code) in enumerate(zip(running, codes, strict=True))
            if code is None
        ]
        return LOST, (killed or silent or ["a process was lost"])[0]


def shared_settings(environment: Mapping[str, str], processes: int) -> dict[str, str]:
    """Return an environment in which so many processes share a machine and stay on it.

    Each computes with its part of the processors, and their connections are the loopback's alone;
    what is set already stays.
    """
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    loopback = "lo0" if sys.platform == "darwin" else "lo"
    settings = {"OMP_NUM_THREADS": str(max((cores or 1) // processes, 1))}
    if sys.platform != "win32":
        settings |= {"GLOO_SOCKET_IFNAME": loopback, "NCCL_SOCKET_IFNAME": loopback}
    return {**settings, **environment}


def check_processes(processes: int, restarts: int, timeout_s: float) -> None:
    """Refuse numbers that make no sense.

    Raises:
        FleetnetError: names the argument.
    """
    for value, least, argument in ((processes, 1, "nproc"), (restarts, 0, "restarts")):
        if value < least:
            raise FleetnetError(
                f"{argument}= is {value}; it must be at least {least}", arguments=[argument]
            )
    if not timeout_s > 0:
        raise FleetnetError(f"timeout= is {timeout_s:g}; it must be above 0", arguments=["timeout"])


def end_with_the_launch() -> None:
    """Ask this process to save and end when the one that started it is gone; blocks till then."""
    with contextlib.suppress(OSError):
        # Not through Python's buffer, whose lock would be held when the interpreter ends.
        while os.read(0, 1):
            pass
    os.kill(os.getpid(), signal.SIGTERM)


def _shell_code(code: int) -> int:
    """Return an exit code as a shell has it; Python's are negative after a signal."""
    return 128 - code if code < 0 else code


def _signal_name(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}"
