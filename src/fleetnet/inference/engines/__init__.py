"""Runtimes that turn pixels into logits, one file each."""

from __future__ import annotations

import importlib
import importlib.util
import os
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from types import ModuleType, TracebackType
from typing import Literal, Protocol, Self, get_args

import numpy as np
import numpy.typing as npt

from fleetnet.bundle import Bundle
from fleetnet.errors import FleetnetError, check_known, require
from fleetnet.telemetry import without_telemetry

Pixels = npt.NDArray[np.uint8]
Logits = npt.NDArray[np.float32]

Precision = Literal["fp32", "bf16", "fp16", "int8"]
Mode = Literal["latency", "throughput"]

ENGINES = {
    "openvino": ("openvino", "openvino", ""),
    "onnxruntime": ("onnxruntime", "ONNX Runtime", "onnxruntime"),
    "torch": ("torch", "PyTorch", "train"),
    "torch-compiled": ("torch", "PyTorch", "train"),
}
"""Engine's name to the module it needs, what people call that, and the extra that brings it."""
MAX_THREADS = 1024


@dataclass(frozen=True)
class Setup:
    """How an engine computes.

    Attributes:
        precision: of the arithmetic; what an engine offers, :func:`precisions` says.
        threads: how many to compute with, over all streams.
        mode: ``latency`` gives each answer as soon as it can, ``throughput`` as many a second as
            it can, with several batches in flight.
        streams: how many batches are computed side by side, each on its share of the threads;
            None for one in latency mode and one a thread in throughput mode, where small
            networks gain nothing from a second thread.

    Raises:
        FleetnetError: a value that no engine knows.
    """

    precision: Precision = "fp32"
    threads: int = 1
    mode: Mode = "latency"
    streams: int | None = None

    def __post_init__(self) -> None:
        """Check every field."""
        for name, value, known in (
            ("precision", self.precision, get_args(Precision)),
            ("mode", self.mode, get_args(Mode)),
        ):
            check_known(name, value, known)
        for name, number in (("threads", self.threads), ("streams", self.streams)):
            if number is not None and not isinstance(number, int | np.integer):
                raise FleetnetError(f"{name} is {number!r}; it must be a whole number")
        if not 1 <= self.threads <= MAX_THREADS:
            raise FleetnetError(f"threads is {self.threads}; it must be from 1 to {MAX_THREADS}")
        if self.streams is not None and not 1 <= self.streams <= self.threads:
            raise FleetnetError(
                f"streams is {self.streams}; it must be from 1 to the number of threads, "
                f"{self.threads}"
            )

    @property
    def in_flight(self) -> int:
        """How many batches are computed side by side."""
        return self.streams or (self.threads if self.mode == "throughput" else 1)


class Engine(Protocol):
    """A compiled network on this machine, for any number of threads.

    Each caller gets the answers to its own batches, whatever else is computed, opened and closed
    meanwhile. Threads share what :class:`Setup` gives the engine: more callers mean no more
    processors.

    At the end of a ``with`` block an engine is closed.
    """

    name: str
    precision: Precision
    threads: int
    version: str

    def run(self, pixels: Pixels) -> Logits:
        """Map ``uint8[N, H, W, 3]``, preprocessed RGB, to logits ``float32[N, K]``."""
        ...

    def run_all(self, batches: Iterable[Pixels]) -> Iterator[Logits]:
        """Map batches as :meth:`run` does, in order, lazily; in throughput mode side by side.

        No more batches are taken than can be computed at once and one. What ``batches`` raises is
        raised after the answers to those before.
        """
        ...

    def close(self) -> None:
        """Let go of the network; a second time changes nothing.

        A call that has begun, an iteration too, is finished; any other raises
        :class:`fleetnet.errors.FleetnetError`.
        """
        ...

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()


def available_threads() -> int:
    """Return how many processors this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def installed_engines() -> list[str]:
    """Return the names of the engines whose runtime is installed."""
    return [name for name, (module, *_) in ENGINES.items() if importlib.util.find_spec(module)]


def check_names(engines: Iterable[str], asked: Iterable[str] = ()) -> None:
    """Refuse a name that no engine or precision has, before the work; nothing is imported.

    Raises:
        FleetnetError: names the first, the nearest and all of them.
    """
    for engine in engines:
        check_known("engine", engine, ENGINES)
    for precision in asked:
        check_known("precision", precision, get_args(Precision))


def precisions(name: str, bundle: Bundle) -> tuple[Precision, ...]:
    """Return the precisions that an engine offers on this machine for a bundle, fp32 first.

    Raises:
        FleetnetError: unknown engine, or it is not installed.
    """
    found: tuple[Precision, ...] = _module(name).precisions(bundle)
    return found


def open_engine(
    name: str,
    bundle: Bundle,
    threads: int | None = None,
    *,
    precision: Precision = "fp32",
    mode: Mode = "latency",
    streams: int | None = None,
) -> Engine:
    """Load a bundle's network into the engine called ``name``.

    Args:
        name: a key of :data:`ENGINES`.
        bundle: what to run; the file the engine takes is checked against its hash.
        threads: how many to compute with; None for all the processors at hand.
        precision: see :class:`Setup`.
        mode: see :class:`Setup`.
        streams: see :class:`Setup`.

    Raises:
        FleetnetError: unknown engine, it is not installed, or it does not offer the precision
            here.
        BundleError: the artifact it needs is absent or damaged.
    """
    setup = Setup(precision, threads or available_threads(), mode, streams)
    if threads is not None and threads < 1:
        raise FleetnetError(f"threads is {threads}; it must be from 1 to {MAX_THREADS}")
    module = _module(name)
    offered = module.precisions(bundle)
    if precision not in offered:
        raise FleetnetError(f"{name} {_why_not(name, precision)}: choose {' or '.join(offered)}")
    engine: Engine = module.open(bundle, setup)
    return engine


def _why_not(name: str, precision: Precision) -> str:
    if precision == "int8" and name in ("openvino", "onnxruntime"):
        return "finds no int8 network in this bundle (fleetnet quantize makes one)"
    return f"does not offer {precision} on this processor"


def _module(name: str) -> ModuleType:
    check_known("engine", name, ENGINES)
    needs, title, extra = ENGINES[name]
    try:
        with without_telemetry():
            importlib.import_module(needs)
    except ModuleNotFoundError as error:
        if error.name != needs:
            raise
        raise require(title, extra, f"the engine '{name}'") from None
    return importlib.import_module(f"fleetnet.inference.engines.{name.replace('-', '_')}")
