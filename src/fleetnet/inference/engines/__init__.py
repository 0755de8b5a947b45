"""Runtimes that turn pixels into logits, one file each."""

from __future__ import annotations

import importlib
import os
from typing import Protocol

import numpy as np
import numpy.typing as npt

from fleetnet.bundle import Bundle
from fleetnet.errors import FleetnetError, nearest, require

Logits = npt.NDArray[np.float32]

ENGINES = {
    "openvino": ("openvino", "openvino", ""),
    "onnxruntime": ("onnxruntime", "ONNX Runtime", "onnxruntime"),
    "torch": ("torch", "PyTorch", "train"),
}
"""Engine's name to the module it needs, what people call that, and the extra that brings it."""


class Engine(Protocol):
    """A compiled network on this machine."""

    name: str
    precision: str
    threads: int
    version: str

    def run(self, pixels: npt.NDArray[np.uint8]) -> Logits:
        """Map ``uint8[N, H, W, 3]``, preprocessed RGB, to logits ``float32[N, K]``."""
        ...


def available_threads() -> int:
    """Return how many processors this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def open_engine(name: str, bundle: Bundle, threads: int | None = None) -> Engine:
    """Load a bundle's network into the engine called ``name``.

    Args:
        name: a key of :data:`ENGINES`.
        bundle: what to run; the file the engine takes is checked against its hash.
        threads: how many to compute with; None for all the processors at hand.

    Raises:
        FleetnetError: unknown engine, or it is not installed.
        BundleError: the artifact it needs is absent or damaged.
    """
    if name not in ENGINES:
        raise FleetnetError(
            f"unknown engine '{name}'{nearest(name, ENGINES)} (known: {', '.join(ENGINES)})"
        )
    if threads is not None and not 1 <= threads <= 1024:
        raise FleetnetError(f"threads is {threads}; it must be from 1 to 1024")
    needs, title, extra = ENGINES[name]
    try:
        importlib.import_module(needs)
    except ModuleNotFoundError as error:
        if error.name != needs:
            raise
        raise require(title, extra, f"the engine '{name}'") from None
    module = importlib.import_module(f"fleetnet.inference.engines.{name}")
    engine: Engine = module.open(bundle, threads or available_threads())
    return engine
