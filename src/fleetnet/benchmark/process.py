"""Start-up time and peak memory of a fresh process that predicts one image."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import statistics
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image

from fleetnet.benchmark import launcher
from fleetnet.errors import FleetnetError
from fleetnet.measuring import Key, turns

TIMEOUT = 600
"""Seconds after which a process is ended."""
_SIZE = (500, 375)
"""Width and height of the image in pixels, common ones of ImageNet."""


@dataclass(frozen=True)
class Process:
    """Time and memory of fresh processes that gave one answer.

    Attributes:
        runs: how many processes.
        start_up: median seconds from the process's start to its answer.
        quickest: the least of those.
        slowest: the greatest.
        peak_bytes: median of the most resident memory; None where the system does not say.
    """

    runs: int
    start_up: float
    quickest: float
    slowest: float
    peak_bytes: int | None


def predict_command(
    bundle: Path, image: Path, engine: str, precision: str, threads: int, device: str = "cpu"
) -> list[str]:
    """Return the command that predicts one image, as a user would type it."""
    options: tuple[str, ...] = (
        "--engine",
        engine,
        "--precision",
        precision,
        "--threads",
        str(threads),
    )
    options += ("--device", device) if device != "cpu" else ()
    return [
        sys.executable, "-m", "fleetnet", "predict", str(bundle), str(image), "--json", *options
    ]  # fmt: skip


def run_processes(
    commands: Mapping[Key, Sequence[str]],
    runs: int,
    done: Callable[[int, int], None] = lambda _done, _total: None,
) -> tuple[dict[Key, Process], dict[Key, str]]:
    """Run each command ``runs`` times, in interleaved rounds.

    Returns:
        What each took, and for each command of which a process failed the reason in a line.
    """
    found: dict[Key, list[dict[str, float]]] = {key: [] for key in commands}
    failed: dict[Key, str] = {}
    count = 0
    for key in turns(commands, runs):
        if key in failed:
            continue
        try:
            found[key].append(run_once(commands[key]))
        except FleetnetError as error:
            failed[key] = str(error)
        count += 1
        done(count, runs * len(commands))
    return {
        key: _summary(rows) for key, rows in found.items() if rows and key not in failed
    }, failed


def run_once(command: Sequence[str], timeout: float = TIMEOUT) -> dict[str, float]:
    """Run a command in a process started by a small one; see :mod:`fleetnet.benchmark.launcher`.

    Raises:
        FleetnetError: it failed; the message is its last line.
    """
    # Isolated, so that it imports only Python's own modules.
    launched = [sys.executable, "-I", launcher.__file__, *command]
    # In a session of its own, so that the processes it starts end with it.
    with subprocess.Popen(  # noqa: S603 - our own command
        launched,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        errors="replace",
        start_new_session=True,
    ) as process:
        try:
            out, errors = process.communicate(timeout=timeout)
        except subprocess.TimeoutExpired:
            raise FleetnetError(f"the process did not answer in {timeout:g} seconds") from None
        finally:
            _end(process)
    try:
        report: dict[str, float] = json.loads(out)
    except ValueError:
        report = {"status": process.returncode or 1}
    if report["status"] != 0:
        last = (errors.strip() or "no message").splitlines()[-1].removeprefix("error: ")
        raise FleetnetError(f"the process ended with status {report['status']}: {last}")
    return report


def _end(process: subprocess.Popen[str]) -> None:
    """End a process that still runs, and those that it started."""
    if process.returncode is not None:
        return
    if not hasattr(os, "killpg"):
        process.kill()
        return
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)


def write_image(path: Path) -> None:
    """Write a JPEG to predict: smooth colours with some noise."""
    width, height = _SIZE
    rng = np.random.default_rng(0)
    coarse = Image.fromarray(rng.integers(0, 256, (12, 16, 3), dtype=np.uint8))
    smooth = np.asarray(coarse.resize((width, height), Image.Resampling.BICUBIC), np.int16)
    grain = rng.integers(-12, 13, smooth.shape)
    Image.fromarray((smooth + grain).clip(0, 255).astype(np.uint8)).save(path, quality=90)


def _summary(rows: Sequence[Mapping[str, float]]) -> Process:
    seconds = [row["seconds"] for row in rows]
    peaks = [row["peak_bytes"] for row in rows if row["peak_bytes"] is not None]
    return Process(
        runs=len(rows),
        start_up=statistics.median(seconds),
        quickest=min(seconds),
        slowest=max(seconds),
        peak_bytes=int(statistics.median(peaks)) if peaks else None,
    )
