"""Measuring a target in a process of its own, which may die or take too long."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Sequence

FLEETNET = ("-m", "fleetnet")


def refusal(
    model: str,
    word: str,
    images: Sequence[str],
    patience: float,
    program: Sequence[str] = FLEETNET,
) -> str:
    """Convert to a target and measure it; what was measured is left in the cache.

    Args:
        model: a bundle.
        word: the target, with its precision.
        images: to verify with.
        patience: seconds after which the process and all that it started are ended.
        program: what Python runs.

    Returns:
        Why there is nothing, in a line; empty if all is well.
    """
    given = [argument for image in images for argument in ("--images", image)]
    command = ["devices", model, "--verify", "--target", word, *given, "--json"]
    with subprocess.Popen(
        [sys.executable, *program, *command],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        start_new_session=True,
    ) as process:
        try:
            out, err = process.communicate(timeout=patience)
        except BaseException as error:
            _end(process)
            if not isinstance(error, subprocess.TimeoutExpired):
                raise
            return f"not done after {patience:.0f} s"
    if process.returncode:
        return _reason(err, f"it ended with {process.returncode}")
    try:
        (device,) = json.loads(out)
        return device["refused"] or ""
    except (ValueError, KeyError):
        return _reason(err, "it gave no figures")


def _end(process: subprocess.Popen[bytes]) -> None:
    """End a process that runs, with all that it started: converters outlive who waits for them."""
    os.killpg(process.pid, signal.SIGKILL)
    process.communicate()


def _reason(told: bytes, otherwise: str) -> str:
    lines = [line.strip() for line in told.decode("utf-8", "replace").splitlines() if line.strip()]
    if any(line.startswith("Traceback (most recent call last)") for line in lines):
        # A bare exception says nothing to whoever reads the table.
        return f"'fleetnet devices' failed where nobody foresaw it: {lines[-1]}"[:300]
    return lines[-1].removeprefix("error: ")[:300] if lines else otherwise
