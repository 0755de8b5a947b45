"""What every engine offers, and how one is set up."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Literal, Protocol, get_args

import numpy as np
import numpy.typing as npt

from fleetnet.errors import FleetnetError, check_known
from fleetnet.inference.engines.closing import Closable

Pixels = npt.NDArray[np.uint8]
Logits = npt.NDArray[np.float32]

Precision = Literal["fp32", "bf16", "fp16", "int8"]
Mode = Literal["latency", "throughput"]

CPU = "cpu"
"""The default device, which every engine has unless it says otherwise."""
MAX_THREADS = 1024


@dataclass(frozen=True)
class Setup:
    """How an engine computes.

    Attributes:
        precision: of the arithmetic; :func:`fleetnet.inference.engines.precisions` says what an
            engine offers.
        threads: how many to compute with, over all streams.
        mode: ``latency`` gives each answer as soon as possible, ``throughput`` as many as possible
            per second, with several batches in flight.
        streams: how many batches are computed at the same time, each on its share of the threads.
            None for one in latency mode, and for one per thread in throughput mode, where small
            networks gain nothing from a second thread.
        device: which to compute on, one of :func:`fleetnet.inference.engines.devices`.

    Raises:
        FleetnetError: a value that no engine knows.
    """

    precision: Precision = "fp32"
    threads: int = 1
    mode: Mode = "latency"
    streams: int | None = None
    device: str = CPU

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
        """How many batches are computed at the same time."""
        return self.streams or (self.threads if self.mode == "throughput" else 1)


class Engine(Closable, Protocol):
    """A compiled network on this machine, for any number of threads.

    Each caller gets the answers to its own batches, whatever else is computed, opened and closed
    at the same time. All callers share what :class:`Setup` gives the engine: more callers do not
    use more processors.

    At the end of a ``with`` block an engine is closed.
    """

    name: str
    precision: Precision
    device: str = CPU
    threads: int
    version: str

    def run(self, pixels: Pixels) -> Logits:
        """Map ``uint8[N, H, W, 3]``, preprocessed RGB, to logits ``float32[N, K]``."""
        ...

    def run_all(self, batches: Iterable[Pixels]) -> Iterator[Logits]:
        """Map batches as :meth:`run` does, in order, lazily; in throughput mode several at a time.

        At most one batch more is taken than can be computed at once. What ``batches`` raises is
        raised after the answers to its earlier batches.
        """
        ...


class GraphEngine(Engine, Protocol):
    """An engine that runs an ONNX graph, whatever its outputs are."""

    def outputs(self, pixels: Pixels) -> dict[str, Logits]:
        """Return every output of the graph by name."""
        ...
