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
from fleetnet.benchmark.measure import Limits, Work, time_in_turns, warm_up
from fleetnet.benchmark.networks import Subject
from fleetnet.benchmark.peak import SIDES, has_peak, matrix_product, numpy_peak, operations
from fleetnet.benchmark.plan import Cell, Plan, cells_of, groups
from fleetnet.benchmark.process import Process, predict_command, run_processes, write_image
from fleetnet.benchmark.results import NetworkFacts, Peak, Results
from fleetnet.benchmark.timing import Timing
from fleetnet.bundle import self_test_pixels
from fleetnet.errors import FleetnetError
from fleetnet.inference.engines import Precision, open_engine, precisions
from fleetnet.models.registry import find_model, published

Stage = Callable[[str, float, float], None]
"""Told what is being done, how much of it is done, and how much there is."""
Warn = Callable[[str], None]

_MEMORY_SHARE = 0.5
"""Of the available memory, what compiled networks may take."""
_PUBLISHED_SIZE = 224


class Product(NamedTuple):
    """A matrix product to time."""

    precision: Precision
    threads: int
    side: int


def run_benchmark(
    subjects: Sequence[Subject],
    plan: Plan,
    *,
    machine: Machine | None = None,
    stage: Stage = lambda _what, _done, _total: None,
    warn: Warn = lambda _line: None,
) -> Results:
    """Measure every network in every setting of the plan.

    Processes are started before anything is compiled here, so that they have the memory. Then the
    networks are timed in turns, with matrix products among them.

    Args:
        subjects: what to measure.
        plan: how.
        machine: what is known of this one; None to find out.
        stage: told of progress.
        warn: told in a line of what could not be measured.
    """
    machine = machine or this_machine(plan.engines)
    processes = _run_processes(subjects, plan, stage, warn)
    timings: dict[Cell, Timing] = {}
    missing: dict[Cell, str] = {}
    products: dict[Product, Timing] = {}
    parts = groups(subjects, plan, int(_MEMORY_SHARE * available_memory()))
    for number, part in enumerate(parts, 1):
        told = _numbered(stage, number, len(parts))
        with contextlib.ExitStack() as engines:
            work, lacking = _open(part, plan, told, engines)
            found, best = _time(work, _limits(plan, len(part) / len(subjects)), told)
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
    subjects: Sequence[Subject], plan: Plan, stage: Stage, warn: Warn
) -> dict[tuple[str, str, str], Process]:
    """Measure start-up and memory with the most threads that have a processor each."""
    with tempfile.TemporaryDirectory(prefix="fleetnet-bench-") as folder:
        image = Path(folder) / "image.jpg"
        write_image(image)
        commands: dict[tuple[str, str, str], list[str]] = {
            (subject.name, engine, precision): predict_command(
                subject.bundle.path, image, engine, precision, process_threads(plan)
            )
            for subject in subjects
            for engine in plan.engines
            for precision in plan.precisions
            if precision in precisions(engine, subject.bundle)
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
    subjects: Sequence[Subject], plan: Plan, stage: Stage, engines: contextlib.ExitStack
) -> tuple[dict[Cell, Work], dict[Cell, str]]:
    """Compile every cell in an engine of its own, which ``engines`` closes, and run it warm.

    OpenVINO compiles for each batch size and keeps few of them, so that cells which shared an
    engine might compile while they are timed.
    """
    work: dict[Cell, Work] = {}
    missing: dict[Cell, str] = {}
    todo = [(subject, cell) for subject in subjects for cell in cells_of(subject, plan)]
    for number, (subject, cell) in enumerate(todo):
        stage("compiling", number, len(todo))
        try:
            engine = open_engine(
                cell.engine, subject.bundle, cell.threads, precision=cell.precision
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
    work: dict[Cell, Work], limits: Limits, stage: Stage
) -> tuple[dict[Cell, Timing], dict[Product, Timing]]:
    """Time networks and, among them, matrix products in the same precisions and threads."""
    settings = dict.fromkeys((cell.precision, cell.threads) for cell in work)
    products = {
        Product(precision, threads, side): matrix_product(side, precision, threads)
        for precision, threads in settings
        if has_peak(precision)
        for side in SIDES
    }
    both: dict[Cell | Product, Work] = dict([*work.items(), *products.items()])
    found = time_in_turns(both, limits, watch=functools.partial(stage, "timing, seconds"))
    return (
        {key: timing for key, timing in found.items() if isinstance(key, Cell)},
        {key: timing for key, timing in found.items() if isinstance(key, Product)},
    )


def _peaks(products: dict[Product, Timing], stage: Stage) -> dict[tuple[str, int], Peak]:
    """Return the highest rate by precision and threads; in fp32 NumPy's own may be higher."""
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


def _facts(subject: Subject, plan: Plan) -> NetworkFacts:
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
    )


def _published(subject: Subject) -> dict[str, object]:
    """Return the documents' figures of a network as it was published; of any other none."""
    if subject.trained or subject.size != _PUBLISHED_SIZE:
        return {}
    return dict(published()["models"].get(find_model(subject.model).published_as, {}))
