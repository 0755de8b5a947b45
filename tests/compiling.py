"""What compiling with PyTorch takes: a compiler, and a network that takes it no minutes."""

from __future__ import annotations

import os
import shutil
import sysconfig
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

import pytest
from torch import nn

from fleetnet.models.network import BlockSetting, MobileNetwork, NetworkSetting

Test = TypeVar("Test", bound=Callable[..., None])


def takes_a_compiler(test: Test) -> Test:
    """Mark a test that compiles: it is skipped without a compiler, and has time for it."""
    compiler = shutil.which(os.environ.get("CXX", "g++"))
    header = Path(sysconfig.get_path("include"), "Python.h")
    absent = pytest.mark.skipif(
        compiler is None or not header.exists(),
        reason="compiling takes a C++ compiler and Python's header files",
    )
    # A minute on an idle core, of which a busy machine leaves little.
    marked: Test = pytest.mark.slow(pytest.mark.timeout(3600)(absent(test)))
    return marked


def two_blocks(classes: int) -> MobileNetwork:
    """Return a network with each kind of layer that the families have."""
    first = BlockSetting(8, 8, 8, 1, expand=False, squeezed=0, shortcut=True)
    second = BlockSetting(8, 16, 32, 2, expand=True, squeezed=4, shortcut=False)
    return MobileNetwork(NetworkSetting(8, (first, second), 32, 0, nn.SiLU), classes)
