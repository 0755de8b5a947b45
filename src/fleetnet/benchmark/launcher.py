"""Starts a command and reports when it first answered and how much memory it took.

A script of its own that imports as little as possible: on Linux the peak memory of a process is at
least that of the process that started it, so a small one has to start it.

    python launcher.py COMMAND...

prints JSON: ``seconds`` from its start to its first line, ``peak_bytes`` of resident memory (null
where the system does not say), and its exit ``status``.
"""

import json
import os
import subprocess
import sys
import time


def launch(command: list[str]) -> dict[str, float | int | None]:
    """Run ``command`` to its end."""
    started = time.perf_counter()
    with subprocess.Popen(command, stdout=subprocess.PIPE) as process:  # noqa: S603
        assert process.stdout is not None  # noqa: S101 - a pipe was asked for
        process.stdout.readline()
        seconds = time.perf_counter() - started
        process.stdout.read()
        if not hasattr(os, "wait4"):
            return {"seconds": seconds, "peak_bytes": None, "status": process.wait()}
        _, status, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
    unit = 1 if sys.platform == "darwin" else 1024
    return {
        "seconds": seconds,
        "peak_bytes": usage.ru_maxrss * unit,
        "status": process.returncode,
    }


if __name__ == "__main__":
    print(json.dumps(launch(sys.argv[1:])))  # noqa: T201
