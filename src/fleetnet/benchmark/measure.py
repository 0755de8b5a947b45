"""Timing many pieces of work in interleaved rounds, until their medians are known or time is up."""

from __future__ import annotations

import gc
import math
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

from fleetnet.benchmark.timing import Timing, summarise, uncertainty
from fleetnet.measuring import Clock, Key, Work, order_of_round, seconds_of, time_runs

Watch = Callable[[float, float], None]
"""Told how much is done, and of how much."""


@dataclass(frozen=True)
class Limits:
    """How long to measure.

    Attributes:
        budget: seconds for all rounds together; :attr:`rounds` are made even beyond it.
        rounds: how many every piece of work gets, at least.
        most_rounds: how many it gets at most.
        spell: seconds of one piece of work in one round, to be filled with runs.
        most_runs: of one spell.
        uncertainty: of a median below which that work needs no further rounds; see
            :class:`~fleetnet.benchmark.timing.Timing`.
        warm_up: seconds of running before anything is timed, after the first run.
        seed: of the order within each round.
    """

    budget: float
    rounds: int = 5
    most_rounds: int = 200
    spell: float = 0.04
    most_runs: int = 20
    uncertainty: float = 0.005
    warm_up: float = 0.1
    seed: int = 0


def time_in_turns(
    work: Mapping[Key, Work],
    limits: Limits,
    *,
    clock: Clock = time.perf_counter,
    watch: Watch = lambda _done, _total: None,
) -> dict[Key, Timing]:
    """Time each piece of work in rounds, each round in another order.

    A round visits every piece of work for a spell: one run that is not timed, because whatever ran
    before has the caches and other threads may still be busy, then as many timed ones as fit. Work
    whose median is known well enough is left out of further rounds, which gives the rest of the
    budget to what noise has hit.

    Args:
        work: what to time; should have been through :func:`warm_up`, or its first spells will tell.
        limits: how long.
        clock: seconds from any beginning.
        watch: told the seconds that have passed, and the budget.

    Returns:
        A timing for every key, in the order of ``work``.
    """
    times: dict[Key, list[list[float]]] = {key: [] for key in work}
    started = clock()
    for number in range(limits.most_rounds):
        passed = clock() - started
        if number >= limits.rounds and passed >= limits.budget:
            break
        unsettled = [key for key in work if not _settled(times[key], limits)]
        if not unsettled:
            break
        for key in order_of_round(unsettled, number, limits.seed):
            times[key].append(_spell(work[key], limits, clock))
            watch(min(clock() - started, limits.budget), limits.budget)
    watch(limits.budget, limits.budget)
    return {key: summarise(rounds) for key, rounds in times.items()}


def warm_up(work: Work, limits: Limits, clock: Clock = time.perf_counter) -> None:
    """Run until what happens only at first, such as compiling, is over and caches are filled."""
    work()
    started = clock()
    for _ in range(limits.most_runs):
        work()
        if clock() - started >= limits.warm_up:
            break


def runs_of_spell(seconds: float, limits: Limits) -> int:
    """Return how many runs of so many seconds fill a spell, at least one."""
    if seconds * limits.most_runs <= limits.spell:
        return limits.most_runs  # also for no time at all, by which nothing can be divided
    return max(1, math.ceil(limits.spell / seconds))


def _settled(rounds: Sequence[Sequence[float]], limits: Limits) -> bool:
    return len(rounds) >= limits.rounds and uncertainty(rounds) <= limits.uncertainty


def _spell(work: Work, limits: Limits, clock: Clock) -> list[float]:
    work()
    with _no_garbage_collection():
        first = seconds_of(work, clock)
        more = runs_of_spell(first, limits) - 1
        return [first, *time_runs(work, more, warm_up=0, clock=clock)]


@contextmanager
def _no_garbage_collection() -> Iterator[None]:
    """Keep Python from collecting in the middle of a run, as :mod:`timeit` does."""
    was_enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_enabled:
            gc.enable()
