"""Disk space of each way from files to answers, with all that its packages require."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path

from benchmarks.peers.comparison import WORKERS, Place
from benchmarks.peers.contenders import PACKAGES
from benchmarks.peers.process import environment
from benchmarks.peers.rounds import LeftOut

SCRIPT = WORKERS / "installed_size.py"
TIMEOUT_S = 120


def installed_sizes(
    place: Place, packages: Mapping[str, Sequence[str]] = PACKAGES
) -> tuple[dict[str, dict[str, int]], LeftOut]:
    """Return every distribution's bytes by environment, and why some environments have none."""
    sizes: dict[str, dict[str, int]] = {}
    left_out: LeftOut = {}
    for name, wanted in packages.items():
        try:
            sizes[name] = _sizes(place.pythons[name], wanted)
        except (OSError, subprocess.SubprocessError) as error:
            left_out[name] = _reason(error)
        except (ValueError, KeyError, TypeError, AttributeError):
            left_out[name] = "it said something that is no answer"
    return sizes, left_out


def _sizes(python: Path, wanted: Sequence[str]) -> dict[str, int]:
    done = subprocess.run(
        [python, SCRIPT, *wanted],
        capture_output=True,
        text=True,
        check=True,
        timeout=TIMEOUT_S,
        env=environment(1),
    )
    return {str(name): int(size) for name, size in json.loads(done.stdout)["packages"].items()}


def _reason(error: OSError | subprocess.SubprocessError) -> str:
    if isinstance(error, subprocess.CalledProcessError):
        lines = str(error.stderr).strip().splitlines()
        return lines[-1] if lines else f"exit code {error.returncode}"
    if isinstance(error, FileNotFoundError):
        return f"its environment is not installed: there is no {error.filename}"
    return str(error)
