"""Results that nobody measured, for tests of what is made of results."""

from __future__ import annotations

from fleetnet.benchmark.machine import Machine
from fleetnet.benchmark.measure import Limits
from fleetnet.benchmark.networks import published_names
from fleetnet.benchmark.plan import Cell, Plan
from fleetnet.benchmark.process import Process
from fleetnet.benchmark.results import NetworkFacts, Peak, Results
from fleetnet.benchmark.timing import Timing
from fleetnet.inference.engines import Precision
from fleetnet.models.registry import published

MACS = {
    "MobileNetV2_x0_25": 0.030, "MobileNetV2_x0_5": 0.092, "MobileNetV2_x0_75": 0.187,
    "MobileNetV2": 0.314, "MobileNetV2_x1_5": 0.681, "MobileNetV2_x2_0": 1.189,
    "MobileNetV2_ssld": 0.314, "ReXNet_1_0": 0.398, "ReXNet_1_3": 0.662, "ReXNet_1_5": 0.876,
    "ReXNet_2_0": 1.529, "ReXNet_3_0": 3.396,
}  # fmt: skip
"""Thousands of millions, about."""
MACHINE = Machine(
    processor="A Processor of 64 Bits, Linux x86_64",
    processors=2,
    system="Some Linux 12",
    memory_bytes=8 * 2**30,
    load=0.1,
    versions={"fleetnet": "0.1.0", "Python": "3.11.7", "openvino": "2026.1.0"},
    date="2026-11-22T10:00:00+00:00",
)


def made_up(
    names: list[str] | None = None,
    *,
    precisions: tuple[Precision, ...] = ("fp32", "bf16"),
    threads: tuple[int, ...] = (1, 2),
    batches: tuple[int, ...] = (1, 4, 8),
) -> Results:
    """Return results in which time depends only on multiply-adds; none in int8."""
    names = published_names() if names is None else names
    plan = Plan(("openvino",), precisions, threads, batches, Limits(10), 3)
    timings: dict[Cell, Timing] = {}
    missing: dict[Cell, str] = {}
    for name in names:
        for precision in precisions:
            for count in threads:
                for batch in batches:
                    cell = Cell(name, "openvino", precision, count, batch)
                    if precision == "int8":
                        missing[cell] = "no int8 here"
                    else:
                        timings[cell] = timing_of(_seconds(cell))
    return Results(
        machine=MACHINE,
        plan=plan,
        networks=tuple(facts(name, precisions) for name in names),
        timings=timings,
        missing=missing,
        processes={
            (name, "openvino", precision): Process(3, 0.9, 0.8, 1.0, 150_000_000)
            for name in names
            for precision in precisions
            if precision != "int8"
        },
        peaks={
            (precision, count): Peak(1e11 * count * (2 if precision == "bf16" else 1), "OpenVINO")
            for precision in precisions
            for count in threads
            if precision != "int8"
        },
    )


def timing_of(seconds: float) -> Timing:
    """Return a timing around a median."""
    return Timing(
        runs=50,
        rounds=10,
        best=0.9 * seconds,
        p25=0.95 * seconds,
        p50=seconds,
        p75=1.05 * seconds,
        p95=1.2 * seconds,
        uncertainty=0.01,
    )


def facts(name: str, precisions: tuple[Precision, ...]) -> NetworkFacts:
    """Return the facts of a published network, its parameters rounded."""
    figures = dict(published()["models"][name])
    return NetworkFacts(
        name=name,
        model=name,
        trained=False,
        classes=1000,
        size=224,
        macs=int(MACS[name] * 1e9),
        parameters=int(figures["mparams"] * 1e6),
        storage={
            ("openvino", precision): int(figures["mparams"] * 4e6) for precision in precisions
        },
        published=figures,
    )


def _seconds(cell: Cell) -> float:
    family = 0.033 if cell.network.startswith("ReXNet") else 0.026
    single = (0.001 + family * MACS[cell.network]) * (0.6 if cell.precision == "bf16" else 1.0)
    return float(single * cell.batch**0.95 / cell.threads**0.9)
