"""Rounds in which everybody takes a turn, and what their times say about one another."""

from __future__ import annotations

import random
import statistics
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import NamedTuple

from benchmarks.peers.process import PeerError

Times = dict[str, list[float]]
"""Name to seconds, an entry a round; the entries of one round stand at the same place."""
LeftOut = dict[str, str]
"""Name to the reason why it does not take part."""


class Spread(NamedTuple):
    """Of the values of all rounds."""

    median: float
    low: float
    high: float
    """The quartiles."""
    least: float
    most: float


def interleave(
    names: Iterable[str],
    turn: Callable[[str], float],
    rounds: int,
    *,
    seed: int = 0,
    advance: Callable[[], None] = lambda: None,
) -> tuple[Times, LeftOut]:
    """Give everybody a turn in every round, in random order.

    Args:
        names: who takes part.
        turn: does one's turn and returns its seconds; whoever raises :class:`PeerError` is out,
            with all its times, since a comparison needs those of every round.
        rounds: how many.
        seed: of the order.
        advance: called after each turn.
    """
    rng = random.Random(seed)  # noqa: S311 - not a secret
    times: Times = {name: [] for name in names}
    left_out: LeftOut = {}
    for _ in range(rounds):
        order = list(times)
        rng.shuffle(order)
        for name in order:
            try:
                times[name].append(positive(turn(name)))
            except PeerError as error:
                left_out[name] = str(error)
                del times[name]
            advance()
    return times, left_out


def positive(seconds: object) -> float:
    """Return a time that was measured.

    Raises:
        PeerError: it is none.
    """
    if isinstance(seconds, bool) or not isinstance(seconds, int | float) or not seconds > 0:
        raise PeerError(f"it measured {seconds!r} seconds")
    return float(seconds)


def spread(values: Sequence[float]) -> Spread:
    """Return median, quartiles and extremes of at least one value."""
    low, median, high = (
        statistics.quantiles(values, n=4, method="inclusive") if len(values) > 1 else [*values] * 3
    )
    return Spread(median, low, high, min(values), max(values))


def ratios(times: Mapping[str, Sequence[float]], name: str, base: str) -> Spread | None:
    """Return how many times as long as ``base`` takes ``name`` does, within each round.

    None if one of them has no times.
    """
    if name not in times or base not in times:
        return None
    return spread([own / other for own, other in zip(times[name], times[base], strict=True)])
