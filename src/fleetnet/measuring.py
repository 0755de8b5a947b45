"""Timing pieces of work in interleaved rounds, so that the machine's noise affects all alike.

Figures are medians with quartiles. Two pieces of work are compared by the median of the ratios
within a round, in which both met the same noise.
"""

from __future__ import annotations

import random
import statistics
import time
from collections.abc import Callable, Hashable, Iterable, Iterator, Mapping, Sequence
from typing import NamedTuple, TypeVar

Key = TypeVar("Key", bound=Hashable)
Result = TypeVar("Result")
Work = Callable[[], object]
Clock = Callable[[], float]
"""Returns seconds: ``time.perf_counter``, or ``time.process_time`` for processor time of this
process."""


class Spread(NamedTuple):
    """Median, quartiles and extremes of some values."""

    median: float
    low: float
    """The first quartile."""
    high: float
    """The third quartile."""
    least: float
    most: float

    def with_quartiles(self, form: str) -> str:
        """Return the median and the quartiles as text, each number in the format ``form``."""
        return f"{self.median:{form}} ({self.low:{form}}–{self.high:{form}})"

    def with_range(self, form: str) -> str:
        """Return the median, the minimum and the maximum as text, likewise."""
        return f"{self.median:{form}} ({self.least:{form}}–{self.most:{form}})"


class Elapsed(NamedTuple):
    """How long something took."""

    seconds: float
    processor_seconds: float
    """Of all threads of this process; processes that it started are not in it."""


def seconds_of(work: Work, clock: Clock = time.perf_counter) -> float:
    """Return how long one run of ``work`` takes."""
    started = clock()
    work()
    return clock() - started


def elapsed(work: Callable[[], Result]) -> tuple[Result, Elapsed]:
    """Return the result of ``work``, and how long it took by both clocks."""
    started, computed = time.perf_counter(), time.process_time()
    result = work()
    return result, Elapsed(time.perf_counter() - started, time.process_time() - computed)


def time_runs(
    work: Work, runs: int, *, warm_up: int = 1, clock: Clock = time.perf_counter
) -> list[float]:
    """Return the seconds of so many runs, after ``warm_up`` runs that are not timed."""
    for _ in range(warm_up):
        work()
    return [seconds_of(work, clock) for _ in range(runs)]


def time_in_rounds(
    work: Mapping[Key, Work],
    rounds: int,
    *,
    warm_up: int = 1,
    before_each: int = 0,
    clock: Clock = time.perf_counter,
) -> dict[Key, list[float]]:
    """Time each piece of work once in every round.

    Args:
        work: what to time, by any name.
        rounds: how many; each has another order.
        warm_up: runs of each piece of work before the first round, which are not timed.
        before_each: runs before each timed one, not timed: they bring its data back into the
            processor's cache, as if nothing else had run in between.
        clock: what to time by.

    Returns:
        Seconds by key, in the order of ``work``, and within a key by round.
    """
    for run in work.values():
        for _ in range(warm_up):
            run()
    times: dict[Key, list[float]] = {key: [] for key in work}
    for key in turns(work, rounds):
        times[key] += time_runs(work[key], 1, warm_up=before_each, clock=clock)
    return times


def turns(keys: Iterable[Key], rounds: int, seed: int = 0) -> Iterator[Key]:
    """Yield every key once in each round, each round in another order."""
    every = list(keys)
    for number in range(rounds):
        yield from order_of_round(every, number, seed)


def order_of_round(keys: Sequence[Key], number: int, seed: int = 0) -> list[Key]:
    """Return the keys in the order in which round ``number`` visits them."""
    shuffled = list(keys)
    random.Random(f"{seed}/{number}").shuffle(shuffled)  # noqa: S311 - not a secret
    return shuffled


def spread(values: Sequence[float]) -> Spread:
    """Return median, quartiles and extremes of at least one value.

    Quartiles are interpolated linearly between ranks, as NumPy does.
    """
    low, median, high = (
        statistics.quantiles(values, n=4, method="inclusive") if len(values) > 1 else [*values] * 3
    )
    return Spread(median, low, high, min(values), max(values))


def ratios(values: Sequence[float], base: Sequence[float]) -> list[float]:
    """Return each value divided by the one of ``base`` in the same round."""
    return [own / other for own, other in zip(values, base, strict=True)]
