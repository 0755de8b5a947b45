"""A worker's side of the channel: it answers each line of JSON with one.

Workers run in other projects' environments, so this file needs only the standard library. A worker
calls :func:`serve`. Nothing that it imports may write to the channel, so standard output becomes
standard error first (MNN prints a greeting when it is loaded).
"""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Protocol

Run = Callable[[int], Any]
"""Computes the answer to the input of this number and leaves it as the engine gives it."""


class Network(Protocol):
    """A network that takes made inputs: ``run`` is timed, ``probabilities`` is not."""

    def run(self, number: int) -> Any:
        """Compute one input."""
        ...

    def probabilities(self, number: int) -> Sequence[float]:
        """Return its probabilities, a number a class."""
        ...


class Answers(Protocol):
    """Everything from files to the five most probable classes."""

    def __call__(self, paths: list[str]) -> list[list[int]]:
        """Return the classes' indices for each file, best first."""
        ...


class Peer(Protocol):
    """What a worker's file implements."""

    def about(self) -> str:
        """Say versions, and settings that matter."""
        ...

    def network(self, model: str, inputs: str) -> Network:
        """Open a model for the arrays of a ``.npz`` file: ``pixels`` and ``floats``."""
        ...

    def files(self, model: str) -> Answers:
        """Open a model for files."""
        ...


def serve(make: Callable[[int, str], Peer]) -> None:
    """Answer requests until there are no more.

    Args:
        make: gives the peer for a number of threads and a precision; the imports belong in there,
            so that what they complain of is answered like any error.
    """
    out = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)
    desk = Desk(make, int(sys.argv[1]), sys.argv[2])
    for line in sys.stdin:
        try:
            reply = desk.answer(json.loads(line))
        except Exception as error:  # whatever it is, the other side has to know
            reason = " ".join(str(error).split()) or "no reason given"
            reply = {"error": f"{type(error).__name__}: {reason}"[:500]}
        out.write(json.dumps(reply) + "\n")
        out.flush()


class Desk:
    """Keeps what was opened, and times it."""

    def __init__(self, make: Callable[[int, str], Peer], threads: int, precision: str) -> None:
        self.make = make
        self.threads = threads
        self.precision = precision
        self.peer: Peer | None = None
        self.networks: dict[str, Network] = {}
        self.answers: dict[str, Answers] = {}

    def answer(self, request: dict[str, Any]) -> dict[str, Any]:
        """Do what a request asks."""
        self.peer = self.peer or self.make(self.threads, self.precision)
        name = request.get("name", "")
        if request["do"] == "about":
            return {"about": self.peer.about()}
        if request["do"] == "network":
            self.networks[name] = self.peer.network(request["model"], request["inputs"])
            return {}
        if request["do"] == "check":
            one = self.networks[name]
            rows = [list(map(float, one.probabilities(n))) for n in range(request["inputs"])]
            return {"probabilities": rows}
        if request["do"] == "time":
            return {"seconds": _times(self.networks[name], request)}
        if request["do"] == "files":
            self.answers[name] = self.peer.files(request["model"])
            return {}
        if request["do"] == "pass":
            return _pass(self.answers[name], request["paths"])
        raise ValueError(f"no such request: {request['do']}")


def _times(network: Network, request: dict[str, Any]) -> list[float]:
    inputs = request["inputs"]
    for number in range(request["warm"]):
        network.run(number % inputs)
    seconds = []
    for number in range(request["runs"]):
        started = time.perf_counter()
        network.run(number % inputs)
        seconds.append(time.perf_counter() - started)
    return seconds


def _pass(answers: Answers, paths: list[str]) -> dict[str, Any]:
    started, computed = time.perf_counter(), time.process_time()
    top = answers(paths)
    return {
        "seconds": time.perf_counter() - started,
        "processor_seconds": time.process_time() - computed,
        "processor_seconds_so_far": time.process_time(),
        "top": top,
        "peak_bytes": peak_bytes(),
    }


def peak_bytes() -> int:
    """Return the most memory that this process ever had resident.

    Not by ``getrusage``, whose figure a process inherits from the one that started it.
    """
    for line in Path("/proc/self/status").read_text("ascii").splitlines():
        if line.startswith("VmHWM:"):
            return int(line.split()[1]) * 1024
    raise OSError("/proc/self/status has no VmHWM: peak memory is only read on Linux")
