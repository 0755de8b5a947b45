"""What to measure: every combination of network, engine, precision, threads and batch size."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import get_args

from fleetnet.benchmark.measure import Limits
from fleetnet.benchmark.networks import BenchmarkedNetwork
from fleetnet.errors import FleetnetError
from fleetnet.inference.engines import (
    CPU,
    DEFAULT_ENGINE,
    MAX_THREADS,
    Precision,
    available_threads,
    check_names,
    precisions,
)

BATCHES = (1, 4, 8)
THREADS = (1, 2, 4)
"""As in the documents' tables."""
MAX_BATCH = 4096
BUDGET, QUICK_BUDGET = 420.0, 40.0
"""Seconds of timing."""
PROCESSES, QUICK_PROCESSES = 3, 1
"""How many processes start-up time is the median of."""
_OVERHEAD = 30 * 2**20
_COPIES = 2.5
"""A compiled network holds its weights as stored and once more in the processor's own layout."""


@dataclass(frozen=True)
class Cell:
    """One figure to measure."""

    network: str
    engine: str
    precision: Precision
    threads: int
    batch: int


@dataclass(frozen=True)
class Plan:
    """How to measure.

    Attributes:
        engines: keys of :data:`~fleetnet.inference.engines.ENGINES`.
        precisions: to compute in; an engine that lacks one has no figures for it.
        threads: numbers of threads to compute with.
        batches: batch sizes.
        limits: how long to measure.
        processes: how many to start for a start-up time; 0 to leave that out.
        device: that computes, as :func:`~fleetnet.inference.engines.find_device` takes it.

    Raises:
        FleetnetError: a value is out of range.
    """

    engines: tuple[str, ...]
    precisions: tuple[Precision, ...]
    threads: tuple[int, ...]
    batches: tuple[int, ...]
    limits: Limits
    processes: int = PROCESSES
    device: str = CPU

    def __post_init__(self) -> None:
        """Check every field."""
        check_names((), self.precisions)
        for name, values, most in (
            ("threads", self.threads, MAX_THREADS),
            ("batch", self.batches, MAX_BATCH),
        ):
            for value in values:
                if not 1 <= value <= most:
                    raise FleetnetError(f"{name} is {value}; it must be from 1 to {most}")
        if not self.limits.budget > 0:
            raise FleetnetError(f"budget is {self.limits.budget:g}; it must be above 0 seconds")

    @property
    def threads_with_processors(self) -> tuple[int, ...]:
        """The numbers of threads that this machine has as many processors for."""
        return tuple(count for count in self.threads if count <= available_threads())


def make_plan(
    subjects: Sequence[BenchmarkedNetwork],
    *,
    engines: Sequence[str] = (),
    asked_precisions: Sequence[Precision] = (),
    threads: Sequence[int] = (),
    batches: Sequence[int] = (),
    budget: float | None = None,
    quick: bool = False,
    device: str = CPU,
) -> Plan:
    """Return a plan with defaults for what a user did not choose.

    The defaults are OpenVINO in every precision that it offers for any of the networks; 1, 2 and 4
    threads, as far as there are processors for them; and batches of 1, 4 and 8. A quick plan has
    only the most threads, and batches of 1 and 8.

    Raises:
        FleetnetError: an engine that is unknown, not installed or without the device, or a value
            out of range.
    """
    engines = tuple(dict.fromkeys(engines)) or (DEFAULT_ENGINE,)
    # Also where a user has chosen precisions: this finds an engine's name that is wrong.
    offered = [
        precision
        for engine in engines
        for subject in subjects
        for precision in precisions(engine, subject.bundle, device)
    ]
    default_threads = usable_threads()[-1:] if quick else usable_threads()
    limits = Limits(
        budget=(QUICK_BUDGET if quick else BUDGET) if budget is None else budget,
        rounds=3 if quick else 5,
    )
    return Plan(
        engines=engines,
        precisions=tuple(dict.fromkeys(asked_precisions)) or in_order(offered),
        threads=tuple(sorted(set(threads))) or default_threads,
        batches=tuple(sorted(set(batches))) or ((BATCHES[0], BATCHES[-1]) if quick else BATCHES),
        limits=limits,
        processes=QUICK_PROCESSES if quick else PROCESSES,
        device=device,
    )


def usable_threads() -> tuple[int, ...]:
    """Return the documents' numbers of threads that this machine has as many processors for."""
    return tuple(count for count in THREADS if count <= available_threads())


def in_order(names: Sequence[Precision]) -> tuple[Precision, ...]:
    """Return each precision once, the widest first."""
    return tuple(name for name in get_args(Precision) if name in names)


def cells_of(subject: BenchmarkedNetwork, plan: Plan) -> Iterator[Cell]:
    """Yield the cells of one network, in the order of the tables."""
    combinations = itertools.product(plan.engines, plan.precisions, plan.threads, plan.batches)
    for engine, precision, threads, batch in combinations:
        yield Cell(subject.name, engine, precision, threads, batch)


def groups(
    subjects: Sequence[BenchmarkedNetwork], plan: Plan, memory: int
) -> list[list[BenchmarkedNetwork]]:
    """Divide the networks into groups whose compiled forms fit into ``memory`` bytes together.

    Networks should be compared in the same rounds, so groups are as few and as large as possible;
    a network that does not fit by itself is a group of its own.
    """
    found: list[list[BenchmarkedNetwork]] = []
    room = 0.0
    for subject in subjects:
        need = _need(subject, plan)
        if not found or need > room:
            found.append([])
            room = memory
        found[-1].append(subject)
        room -= need
    return found


def _need(subject: BenchmarkedNetwork, plan: Plan) -> float:
    cells = sum(1 for _ in cells_of(subject, plan))
    return cells * (_OVERHEAD + _COPIES * subject.storage(DEFAULT_ENGINE, "fp32"))
