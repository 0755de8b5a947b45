"""The whole measurement, from networks to results."""

from __future__ import annotations

import contextlib
import dataclasses
import functools
import tempfile
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple

from fleetnet.amounts import count as counted
from fleetnet.benchmark.machine import Machine, available_memory, this_machine
from fleetnet.benchmark.measure import Limits, time_in_turns, warm_up
from fleetnet.benchmark.networks import BenchmarkedNetwork
from fleetnet.benchmark.peak import SIDES, has_peak, matrix_product, numpy_peak, operations
from fleetnet.benchmark.plan import Cell, Plan, cells_of, groups
from fleetnet.benchmark.process import Process, predict_command, run_processes, write_image
from fleetnet.benchmark.results import NetworkFacts, Peak, Results
from fleetnet.benchmark.timing import Timing
from fleetnet.bundle import self_test_pixels
from fleetnet.errors import FleetnetError
from fleetnet.inference.engines import CPU, Precision, open_engine, precisions
from fleetnet.measuring import Work
from fleetnet.models.registry import find_name, published
from fleetnet.reporting import Warn

Stage = Callable[[str, float, float], None]
"""Called with what is being done, how much of it is done, and how much there is in all."""

_MEMORY_SHARE = 0.5
"""Share of the available memory that compiled networks may take."""
_PUBLISHED_SIZE = 224


class Product(NamedTuple):
    """A matrix product to time."""

    precision: Precision
    threads: int
    side: int


def run_benchmark(
    subjects: Sequence[BenchmarkedNetwork],
    plan: Plan,
    *,
    machine: Machine | None = None,
    stage: Stage = lambda _what, _done, _total: None,
    warn: Warn = lambda _line: None,
) -> Results:
    """Measure every network in every setting of the plan.

    Processes are measured first, while nothing is compiled here that takes memory. Then the
    networks are timed in interleaved rounds, together with matrix products.

    Args:
        subjects: what to measure.
        plan: how.
        machine: the facts on this one; None to find them out.
        stage: called with the progress.
        warn: called with a line about what could not be measured.
    """
    machine = machine or this_machine(plan.engines)
    processes = _run_processes(subjects, plan, stage, warn)
    timings: dict[Cell, Timing] = {}
    missing: dict[Cell, str] = {}
    products: dict[Product, Timing] = {}
    together = groups(subjects, plan, int(_MEMORY_SHARE * available_memory()))
    for number, group in enumerate(together, 1):
        stage_of_group = _numbered(stage, number, len(together))
        with contextlib.ExitStack() as engines:
            work, lacking = _open(group, plan, stage_of_group, engines)
            limits = _limits(plan, len(group) / len(subjects))
            found, best = _time(work, limits, stage_of_group, peaks=plan.device == CPU)
        timings |= found
        missing |= lacking
        for product, timing in best.items():
            if product not in products or timing.best < products[product].best:
                products[product] = timing
    for why, count in Counter(missing.values()).items():
        warn(f"{counted(count, 'figure')} {'is' if count == 1 else 'are'} missing: {why}")
    return Results(
        machine=machine,
        plan=plan,
        networks=tuple(_facts(subject, plan) for subject in subjects),
        timings=timings,
        missing=missing,
        processes=processes,
        peaks=_peaks(products, stage),
    )


def _limits(plan: Plan, share: float) -> Limits:
    return dataclasses.replace(plan.limits, budget=plan.limits.budget * share)


def _numbered(stage: Stage, number: int, of: int) -> Stage:
    if of == 1:
        return stage
    return lambda what, done, total: stage(f"{what}, part {number} of {of}", done, total)


def _run_processes(
    subjects: Sequence[BenchmarkedNetwork], plan: Plan, stage: Stage, warn: Warn
) -> dict[tuple[str, str, str], Process]:
    """Measure start-up time and memory on as many threads as there are processors for."""
    with tempfile.TemporaryDirectory(prefix="fleetnet-bench-") as folder:
        image = Path(folder) / "image.jpg"
        write_image(image)
        commands: dict[tuple[str, str, str], list[str]] = {
            (subject.name, engine, precision): predict_command(
                subject.bundle.path, image, engine, precision, process_threads(plan), plan.device
            )
            for subject in subjects
            for engine in plan.engines
            for precision in plan.precisions
            if precision in precisions(engine, subject.bundle, plan.device)
        }
        found, failed = run_processes(
            commands, plan.processes, functools.partial(stage, "starting processes")
        )
    for why, count in Counter(failed.values()).items():
        warn(f"start-up and memory of {count} settings are missing: {why}")
    return found


def process_threads(plan: Plan) -> int:
    """Return how many threads the processes compute with."""
    return max(plan.threads_with_processors, default=plan.threads[0])


def _open(
    subjects: Sequence[BenchmarkedNetwork], plan: Plan, stage: Stage, engines: contextlib.ExitStack
) -> tuple[dict[Cell, Work], dict[Cell, str]]:
    """Compile every cell in an engine of its own, which ``engines`` closes, and warm it up.

    OpenVINO compiles for each batch size and keeps only a few: cells that share an engine might
    compile while they are timed.
    """
    work: dict[Cell, Work] = {}
    missing: dict[Cell, str] = {}
    todo = [(subject, cell) for subject in subjects for cell in cells_of(subject, plan)]
    for number, (subject, cell) in enumerate(todo):
        stage("compiling", number, len(todo))
        try:
            engine = open_engine(
                cell.engine,
                subject.bundle,
                cell.threads,
                precision=cell.precision,
                device=plan.device,
            )
        except FleetnetError as error:
            missing[cell] = str(error)
            continue
        engines.enter_context(engine)
        work[cell] = functools.partial(engine.run, self_test_pixels(cell.batch, subject.size))
        warm_up(work[cell], plan.limits)
    stage("compiling", len(todo), len(todo))
    return work, missing


def _time(
    work: dict[Cell, Work], limits: Limits, stage: Stage, *, peaks: bool
) -> tuple[dict[Cell, Timing], dict[Product, Timing]]:
    """Time networks and, with ``peaks``, matrix products in their precisions and threads."""
    settings = dict.fromkeys((cell.precision, cell.threads) for cell in work)
    products = {
        Product(precision, threads, side): matrix_product(side, precision, threads)
        for precision, threads in settings
        if peaks and has_peak(precision)
        for side in SIDES
    }
    both: dict[Cell | Product, Work] = dict([*work.items(), *products.items()])
    found = time_in_turns(both, limits, watch=functools.partial(stage, "timing, seconds"))
    return (
        {key: timing for key, timing in found.items() if isinstance(key, Cell)},
        {key: timing for key, timing in found.items() if isinstance(key, Product)},
    )


def _peaks(products: dict[Product, Timing], stage: Stage) -> dict[tuple[str, int], Peak]:
    """Return the highest rate by precision and threads; in fp32 that of NumPy may be higher."""
    found: dict[tuple[str, int], Peak] = {}
    for product, timing in products.items():
        key = (str(product.precision), product.threads)
        flops = operations(product.side) / timing.best
        if key not in found or flops > found[key].flops:
            found[key] = Peak(flops, f"OpenVINO, {product.side}×{product.side}")
    narrow = [key for key in found if key[0] == "fp32"]
    for number, key in enumerate(narrow):
        stage("multiplying matrices with NumPy", number, len(narrow))
        flops = numpy_peak(key[1]) or 0.0
        if flops > found[key].flops:
            found[key] = Peak(flops, "NumPy")
    return found


def _facts(subject: BenchmarkedNetwork, plan: Plan) -> NetworkFacts:
    manifest = subject.bundle.manifest
    return NetworkFacts(
        name=subject.name,
        model=subject.model,
        trained=subject.trained,
        classes=manifest.model.num_classes,
        size=subject.size,
        macs=subject.macs,
        parameters=subject.parameters,
        storage={
            (engine, precision): subject.storage(engine, precision)
            for engine in plan.engines
            for precision in plan.precisions
        },
        published=_published(subject),
        judgements={
            (engine, precision): judgement
            for engine in plan.engines
            for precision in plan.precisions
            if (judgement := subject.bundle.judgement(engine, precision))
        },
    )


def _published(subject: BenchmarkedNetwork) -> dict[str, object]:
    """Return the documents' figures if a network is measured as published, else none."""
    if subject.trained or subject.size != _PUBLISHED_SIZE:
        return {}
    return dict(published()["models"].get(find_name(subject.model).name, {}))
