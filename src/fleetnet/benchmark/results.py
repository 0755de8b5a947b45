"""Everything that a benchmark found, as values for a program and for the tables."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass, field
from typing import Any

from fleetnet.benchmark.machine import Machine
from fleetnet.benchmark.plan import Cell, Plan
from fleetnet.benchmark.process import Process
from fleetnet.benchmark.timing import Timing
from fleetnet.bundle import Judgement

FORMAT_VERSION = 1


@dataclass(frozen=True)
class NetworkFacts:
    """Facts on a network that need no run.

    Attributes:
        name: in the tables.
        model: the registry's name.
        trained: whether it has trained weights, not ones made for the measurement.
        classes: length of the logits.
        size: side of the input, in pixels.
        macs: multiply-adds for one image.
        parameters: trainable ones; None where they could not be counted.
        storage: bytes of the files an engine loads, by engine and precision.
        published: the documents' figures for this network with ImageNet's classes, or empty.
        judgements: what an engine loses in fewer bits than fp32, as the bundle has it on record.
    """

    name: str
    model: str
    trained: bool
    classes: int
    size: int
    macs: int
    parameters: int | None
    storage: dict[tuple[str, str], int]
    published: dict[str, Any] = field(default_factory=dict)
    judgements: dict[tuple[str, str], Judgement] = field(default_factory=dict)


@dataclass(frozen=True)
class Peak:
    """The highest rate of arithmetic seen, in operations a second, and what reached it."""

    flops: float
    measured_by: str


@dataclass(frozen=True)
class Results:
    """What a benchmark found.

    Attributes:
        machine: where it ran.
        plan: what was to be measured.
        networks: in the order of the tables.
        timings: of every cell that could be measured, in seconds per batch.
        missing: why each of the others could not be measured.
        processes: start-up and memory by network, engine and precision.
        peaks: by precision and threads.
    """

    machine: Machine
    plan: Plan
    networks: tuple[NetworkFacts, ...]
    timings: dict[Cell, Timing]
    missing: dict[Cell, str]
    processes: dict[tuple[str, str, str], Process]
    peaks: dict[tuple[str, int], Peak]

    def images_per_s(self, cell: Cell) -> float | None:
        """Return the median rate of a cell."""
        timing = self.timings.get(cell)
        return cell.batch / timing.p50 if timing else None

    def peak_share(self, cell: Cell) -> float | None:
        """Return the share of the machine's peak that a cell reaches.

        A multiply-add is two operations; the peak is of the same precision and threads.
        """
        rate, peak = self.images_per_s(cell), self.peaks.get((cell.precision, cell.threads))
        if rate is None or peak is None:
            return None
        macs = next(network.macs for network in self.networks if network.name == cell.network)
        return 2 * macs * rate / peak.flops

    def best_rate(self, network: str, engine: str, precision: str) -> Cell | None:
        """Return the cell of most images a second, over batches and threads."""
        cells = [
            cell
            for cell in self.timings
            if (cell.network, cell.engine, cell.precision) == (network, engine, precision)
        ]
        return max(cells, key=lambda cell: self.images_per_s(cell) or 0.0, default=None)

    def to_json(self) -> dict[str, Any]:
        """Return everything as JSON values; ``docs/benchmark.md`` describes them."""
        return {
            "format": "fleetnet-benchmark",
            "format_version": FORMAT_VERSION,
            "machine": dataclasses.asdict(self.machine),
            "plan": dataclasses.asdict(self.plan),
            "peaks": [
                {
                    "precision": precision,
                    "threads": threads,
                    "gflops": round(peak.flops / 1e9, 2),
                    "measured_by": peak.measured_by,
                }
                for (precision, threads), peak in self.peaks.items()
            ],
            "networks": [_network_json(network) for network in self.networks],
            "latency": [
                *(self._cell_json(cell, timing) for cell, timing in self.timings.items()),
                *(
                    {**dataclasses.asdict(cell), "device": self.plan.device, "missing": why}
                    for cell, why in self.missing.items()
                ),
            ],
            "processes": [
                {
                    "network": network,
                    "engine": engine,
                    "precision": precision,
                    "device": self.plan.device,
                    "runs": process.runs,
                    "start_up_s": round(process.start_up, 4),
                    "quickest_s": round(process.quickest, 4),
                    "slowest_s": round(process.slowest, 4),
                    "peak_memory_bytes": process.peak_bytes,
                }
                for (network, engine, precision), process in self.processes.items()
            ],
        }

    def _cell_json(self, cell: Cell, timing: Timing) -> dict[str, Any]:
        times = {
            f"{name}_ms": round(getattr(timing, name) * 1e3, 4)
            for name in ("p50", "p95", "p25", "p75", "best")
        }
        share = self.peak_share(cell)
        # One round has no uncertainty, and JSON no infinity.
        known = timing.rounds > 1
        return {
            **dataclasses.asdict(cell),
            "device": self.plan.device,
            **times,
            "uncertainty": round(timing.uncertainty, 5) if known else None,
            "runs": timing.runs,
            "rounds": timing.rounds,
            "images_per_s": round(cell.batch / timing.p50, 2),
            "peak_share": None if share is None else round(share, 4),
            "oversubscribed": cell.threads > self.machine.processors,
        }


def _network_json(network: NetworkFacts) -> dict[str, Any]:
    values = dataclasses.asdict(network)
    values["storage"] = [
        {"engine": engine, "precision": precision, "bytes": size}
        for (engine, precision), size in network.storage.items()
    ]
    values["judgements"] = [
        {"engine": engine, "precision": precision, **judgement.model_dump(exclude_none=True)}
        for (engine, precision), judgement in network.judgements.items()
    ]
    values["multiply_adds"] = values.pop("macs")
    return values
