"""Measuring every network that has a published accuracy, a few at a time, and going on later."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from fleetnet.benchmark.choice import candidates
from fleetnet.benchmark.machine import Machine
from fleetnet.benchmark.measure import Limits
from fleetnet.benchmark.measured import Measurement, read_measured, write_measured
from fleetnet.benchmark.networks import find_subjects
from fleetnet.benchmark.plan import Plan, in_order, usable_threads
from fleetnet.benchmark.results import Results
from fleetnet.benchmark.run import Stage, run_benchmark
from fleetnet.inference.engines import DEFAULT_ENGINE, precisions
from fleetnet.reporting import Say, Warn

AT_ONCE = 4
"""Networks that are timed in turns, and written down together."""
BUDGET = 5.0
"""Seconds of timing for each network."""


def measure_everything(
    machine: Machine,
    *,
    stage: Stage = lambda _what, _done, _total: None,
    say: Say = lambda _line: None,
    warn: Warn = lambda _line: None,
) -> tuple[Measurement, ...]:
    """Measure what was not measured yet; the file is written after every few networks.

    Each network is measured at the size of its published accuracy, at batch 1 in the default
    engine, in every precision that the engine has for it, on one thread and on as many as there
    are processors.

    Args:
        machine: the facts on this one; figures under other conditions are replaced.
        stage: called with the progress.
        say: called with a line after every few networks.
        warn: called with a line about what could not be measured.

    Returns:
        All figures of this machine.
    """
    found = list(read_measured(machine))
    wanted = list(dict.fromkeys((one.model, one.size) for one in candidates()))
    there = {(one.model, one.size) for one in found}
    todo = [one for one in wanted if one not in there]
    say(f"{len(wanted)} networks, of which {len(wanted) - len(todo)} were measured before")
    done = len(wanted) - len(todo)
    for size, few in _few_at_once(todo):
        found += _measure(few, size, machine, stage, warn)
        write_measured(machine, found)
        done += len(few)
        say(f"{done} of {len(wanted)} measured, the last {few[-1]}")
    return tuple(found)


def _few_at_once(todo: Sequence[tuple[str, int]]) -> Iterator[tuple[int, list[str]]]:
    """Yield a size and some networks that are measured at it."""
    for size in dict.fromkeys(size for _, size in todo):
        names = [name for name, of_size in todo if of_size == size]
        for start in range(0, len(names), AT_ONCE):
            yield size, names[start : start + AT_ONCE]


def _measure(
    names: Sequence[str], size: int, machine: Machine, stage: Stage, warn: Warn
) -> Iterator[Measurement]:
    subjects = find_subjects(
        names, size, lambda done, total: stage("preparing networks", done, total)
    )
    offered = [one for subject in subjects for one in precisions(DEFAULT_ENGINE, subject.bundle)]
    plan = Plan(
        engines=(DEFAULT_ENGINE,),
        precisions=in_order(offered),
        threads=tuple(sorted({1, usable_threads()[-1]})),
        batches=(1,),
        limits=Limits(budget=BUDGET * len(names)),
        processes=0,
    )
    return _figures(run_benchmark(subjects, plan, machine=machine, stage=stage, warn=warn))


def _figures(results: Results) -> Iterator[Measurement]:
    networks = {network.name: network for network in results.networks}
    for cell, timing in results.timings.items():
        network = networks[cell.network]
        yield Measurement(
            model=network.model,
            size=network.size,
            engine=cell.engine,
            precision=cell.precision,
            threads=cell.threads,
            p50=timing.p50,
            bytes=network.storage[cell.engine, cell.precision],
            macs=network.macs,
            parameters=network.parameters or 0,
        )
