"""Training input pipelines, by the benchmark of their own in ``benchmarks/loader``."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from benchmarks.peers.process import PeerError

SCRIPT = Path(__file__).resolve().parents[1] / "loader" / "compare.py"
TIMEOUT_S = 900


def compare_loaders(
    photos: Path, rounds: int, repeats: int, workers: Sequence[int], script: Path = SCRIPT
) -> str:
    """Return the table of ``make peers-loader``, Markdown.

    Raises:
        PeerError: it failed; the message is the last line that it said.
    """
    command: list[str | os.PathLike[str]] = [sys.executable, "-W", "ignore", script, photos]
    command += ["--rounds", str(rounds), "--repeats", str(repeats)]
    command += ["--workers", *map(str, workers)]
    try:
        done = subprocess.run(
            command, capture_output=True, text=True, check=False, timeout=TIMEOUT_S
        )
    except subprocess.TimeoutExpired:
        raise PeerError(f"no answer within {TIMEOUT_S} s") from None
    if done.returncode:
        lines = done.stderr.strip().splitlines()
        raise PeerError(lines[-1] if lines else f"exit code {done.returncode}")
    return done.stdout.strip()
