"""The programs on the pages beside converted files, run as their readers do."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from fleetnet.bundle import Bundle
from fleetnet.export.separate import Environment
from fleetnet.inference.classifier import Classifier


def code_of(page: str) -> str:
    """Return the page's only program in Python."""
    lines = [line.removeprefix("    ") for line in page.splitlines()]
    first = next(i for i, line in enumerate(lines) if line == "from pathlib import Path")
    last = next(i for i, line in enumerate(lines) if i > first and "manifest.classes[" in line)
    return "\n".join(lines[first:last]) + f"\n    {lines[last].strip()}\n"


def check_program(
    written: Bundle, trained: Bundle, picture: Path, environment: Environment | None
) -> None:
    """Run the program of a folder's page on a picture, and compare with the trained network.

    It runs beside the packages of an environment, which need not be in it.
    """
    code = code_of((written.path / "README.md").read_text("utf-8"))
    (written.path / "photo.jpg").write_bytes(picture.read_bytes())
    more = [] if environment is None else list(map(str, environment.folder.glob("lib/*/site-*")))
    start = f"import sys; sys.path.extend({more!r})\n"
    told = subprocess.run(
        [sys.executable, "-c", start + code],
        cwd=written.path, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert told.returncode == 0, told.stderr
    # Some runtimes, MNN and Paddle among them, say something of their own before.
    shown = min(5, len(trained.manifest.classes))
    name, _, probability = told.stdout.splitlines()[-shown].rpartition(" ")
    expected = next(Classifier(trained, exact=True).predict(picture))
    assert name == expected.label
    assert float(probability) == pytest.approx(expected.probability, abs=2e-5)
