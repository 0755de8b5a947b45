"""The C++ predictor where it is built, beside which the Python package is run."""

from __future__ import annotations

import os
import shlex
import sys
from pathlib import Path

import pytest

from cpp.library import Library

BUILD = "FLEETNET_CPP_BUILD"
"""Names the folder of another build than ``build/cpp``."""
RUNNER = "FLEETNET_CPP_RUNNER"
"""Is put before each command, such as an emulator of another processor."""


@pytest.fixture(scope="session")
def cpp_build() -> Path:
    """Return the folder where the C++ predictor is built, or skip the test."""
    folder = Path(os.environ.get(BUILD, Path(__file__).parents[2] / "build" / "cpp")).absolute()
    if not folder.is_dir():
        pytest.skip(f"the C++ predictor is not built in {folder} ('make cpp' builds it)")
    return folder


@pytest.fixture(scope="session")
def library(cpp_build: Path) -> Library:
    """Return the C interface, or skip the test; it has to be built for this processor."""
    path = cpp_build / "libfleetnet.so"
    if not path.is_file() or os.environ.get(RUNNER):
        pytest.skip(f"there is no {path} that runs here ('make cpp' builds it)")
    return Library(path)


@pytest.fixture(scope="session")
def predictor(cpp_build: Path) -> list[str]:
    """Return how to call ``fleetnet-predict``, or skip the test."""
    ending = ".exe" if sys.platform == "win32" else ""
    command = cpp_build / "command" / f"fleetnet-predict{ending}"
    if not command.is_file():
        pytest.skip(f"{command} is not built ('make cpp' builds it)")
    return [*shlex.split(os.environ.get(RUNNER, "")), str(command)]
