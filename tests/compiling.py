"""What compiling with PyTorch takes: a compiler, and a network that takes it no minutes."""

from __future__ import annotations

import os
import shutil
import sysconfig
from pathlib import Path

import pytest
from torch import nn

from fleetnet.models.network import BlockSetting, Network, NetworkSetting

takes_a_compiler = pytest.mark.skipif(
    shutil.which(os.environ.get("CXX", "g++")) is None
    or not Path(sysconfig.get_path("include"), "Python.h").exists(),
    reason="compiling takes a C++ compiler and Python's header files",
)


def two_blocks(classes: int) -> Network:
    """Return a network with each kind of layer that the families have."""
    first = BlockSetting(8, 8, 8, 1, expand=False, squeezed=0, shortcut=True)
    second = BlockSetting(8, 16, 32, 2, expand=True, squeezed=4, shortcut=False)
    return Network(NetworkSetting(8, (first, second), 32, 0, nn.SiLU), classes)
