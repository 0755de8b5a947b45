"""The ways to compute a bundle's answers that there are on this machine, to choose from."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from fleetnet.amounts import count
from fleetnet.bundle import Bundle
from fleetnet.errors import FleetnetError
from fleetnet.inference.engines import (
    CPU,
    ENGINES,
    Mode,
    Precision,
    available_threads,
    devices,
    engines_on,
    installed_engines,
    precisions,
)

BATCHES = (1, 4, 8)
"""How many images an engine may get at once in throughput mode."""


@dataclass(frozen=True, order=True)
class Candidate:
    """A way to compute."""

    engine: str
    precision: Precision
    threads: int
    batch: int = 1
    device: str = CPU

    @property
    def what(self) -> str:
        """The engine, the precision, and the device if that is not the processor."""
        where = "" if self.device == CPU else f" on {self.device}"
        return f"{self.engine} {self.precision}{where}"

    def __str__(self) -> str:
        """Return its name for people."""
        threads = count(self.threads, "thread")
        batch = f", batches of {self.batch}" if self.batch > 1 else ""
        return f"{self.what}, {threads}{batch}"


def candidates(
    bundle: Bundle,
    mode: Mode,
    engines: Sequence[str] | None,
    wanted: Sequence[str] | None,
    threads: int | None,
) -> Iterator[Candidate]:
    """Yield what to try: fp32 on the processor first, which the others are compared with.

    Args:
        bundle: whose network.
        mode: what to be fast in.
        engines: which to try; None for all installed ones that need not be named.
        wanted: on which devices; None for all that each engine's runtime finds.
        threads: how many to compute with; None to try several numbers in latency mode.

    Raises:
        FleetnetError: an engine is not installed, or none has a wanted device.
    """
    every = available_threads()
    if threads is not None:
        counts = [threads]
    elif mode == "throughput":
        counts = [every]
    else:
        counts = [2**power for power in range(every.bit_length()) if 2**power < every] + [every]
    names = engines or [name for name in installed_engines() if ENGINES[name].unasked]
    offered = [
        (name, device, precision)
        for name, device in _places(names, wanted)
        for precision in _offered(name, bundle, device)
    ]
    for name, device, precision in sorted(
        offered, key=lambda one: (one[2] != "fp32", one[1] != CPU)
    ):
        # The number of threads matters only on the processor.
        for threads_each in counts if device == CPU else counts[-1:]:
            for batch in BATCHES if mode == "throughput" else BATCHES[:1]:
                yield Candidate(name, precision, threads_each, batch, device)


def _places(names: Sequence[str], wanted: Sequence[str] | None) -> list[tuple[str, str]]:
    """Return each engine with each of its devices, or with the wanted ones."""
    if wanted is None:
        return [(name, device) for name in names for device in _found(name)]
    by_device = [engines_on(device, names) for device in dict.fromkeys(wanted)]
    return [(name, found[name]) for name in names for found in by_device if name in found]


def _found(name: str) -> tuple[str, ...]:
    """Return an engine's devices; if looking for others fails, the processor."""
    try:
        return devices(name)
    except FleetnetError:
        ENGINES.named(name)  # a missing engine is an error of the caller
        return (CPU,)


def _offered(name: str, bundle: Bundle, device: str) -> tuple[Precision, ...]:
    try:
        return tuple(precisions(name, bundle, device))
    except Exception:
        if device == CPU:
            raise
        return ("fp32",)  # a driver that does not work: opening the engine will say why
