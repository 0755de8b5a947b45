"""A worker of no project, which misbehaves as its second argument says."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "benchmarks" / "peers" / "workers"))

from channel import Answers, Network, serve


class Fake:
    def __init__(self, threads: int, way: str) -> None:
        self.threads = threads
        self.way = way
        if way == "broken import":
            raise ModuleNotFoundError("No module named 'engine'")
        if way == "chatty":
            print("hello from a library")  # noqa: T201
            os.system("echo hello from C")  # noqa: S605
        if way == "dies":
            print("out of cheese", file=sys.stderr)  # noqa: T201
            sys.stderr.flush()
            os._exit(3)
        if way == "killed":
            os.kill(os.getpid(), signal.SIGSEGV)
        if way == "hangs":
            # Its child has to go with it.
            child = subprocess.Popen(["sleep", "600"])
            print(f"child {child.pid}", file=sys.stderr, flush=True)  # noqa: T201
            time.sleep(600)

    def about(self) -> str:
        return f"fake, {self.threads} threads, {os.environ['OMP_NUM_THREADS']}"

    def network(self, model: str, inputs: str) -> Network:
        if "unknown" in model:
            raise ValueError("no such layer:\n Swish")
        return Rows(self.way)

    def files(self, model: str) -> Answers:
        length = 4 if self.way == "four classes" else 5
        return lambda paths: [[7, 1, 2, 3, 4][:length] for _ in paths]


class Rows:
    def __init__(self, way: str) -> None:
        self.way = way
        self.calls = 0

    def run(self, number: int) -> None:
        self.calls += 1
        if self.way == "tires" and self.calls > 12:
            raise RuntimeError("too tired")

    def probabilities(self, number: int) -> Sequence[float]:
        if self.way == "no number":
            return [float("nan"), 1.0, 0.0]
        if self.way == "three":
            return [0.1, 0.2, 0.7]
        return [0.7, 0.2, 0.1]


if sys.argv[2] == "rubbish":
    print("Welcome!", flush=True)  # noqa: T201
serve(Fake)
