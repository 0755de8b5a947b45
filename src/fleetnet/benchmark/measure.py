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
"""Called with how much is done, and how much there is in all."""


@dataclass(frozen=True)
class Limits:
    """How long to measure.

    Attributes:
        budget: seconds for all rounds together; :attr:`rounds` are made even beyond it.
        rounds: the least number for every piece of work.
        most_rounds: the greatest number.
        spell: seconds that the runs of one piece of work in one round should fill.
        most_runs: in one spell.
        uncertainty: of a median below which a piece of work gets no further rounds; see
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

    In a round every piece of work gets a spell: one run that is not timed, because the caches hold
    what ran before and its threads may still be busy, then as many timed runs as fit. Work whose
    median is known well enough gets no further rounds, so that noisy work gets more of the budget.

    Args:
        work: what to time, warmed up with :func:`warm_up`.
        limits: how long.
        clock: seconds since any beginning.
        watch: called with the seconds that have passed, and the budget.

    Returns:
        A timing for every key, in the order of ``work``.
    """
    times: dict[Key, list[list[float]]] = {key: [] for key in work}
    started = clock()
    for number in range(limits.most_rounds):
        passed = clock() - started
        if number >= limits.rounds and passed >= limits.budget:
            break
        unknown = [key for key in work if not _is_known(times[key], limits)]
        if not unknown:
            break
        for key in order_of_round(unknown, number, limits.seed):
            times[key].append(_spell(work[key], limits, clock))
            watch(min(clock() - started, limits.budget), limits.budget)
    watch(limits.budget, limits.budget)
    return {key: summarise(rounds) for key, rounds in times.items()}


def warm_up(work: Work, limits: Limits, clock: Clock = time.perf_counter) -> None:
    """Run until one-time work, such as compiling, is done and caches are filled."""
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


def _is_known(rounds: Sequence[Sequence[float]], limits: Limits) -> bool:
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
