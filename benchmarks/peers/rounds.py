"""Interleaved rounds of all contenders, and the ratios of their times."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence

from benchmarks.peers.process import PeerError
from fleetnet.measuring import Spread, ratios, spread, turns

Times = dict[str, list[float]]
"""Name to seconds, one for each round; those of a round have the same index."""
LeftOut = dict[str, str]
"""Name to the reason why it is left out."""


def interleave(
    names: Iterable[str],
    turn: Callable[[str], float],
    rounds: int,
    *,
    seed: int = 0,
    advance: Callable[[], None] = lambda: None,
) -> tuple[Times, LeftOut]:
    """Run every contender once in every round, each round in another order.

    Args:
        names: of the contenders.
        turn: runs one and returns its seconds; a contender that raises :class:`PeerError` is left
            out with all its times, because a comparison needs those of every round.
        rounds: how many.
        seed: of the order.
        advance: called after each turn.
    """
    times: Times = {name: [] for name in names}
    left_out: LeftOut = {}
    for name in turns(times, rounds, seed):
        if name in left_out:
            continue
        try:
            times[name].append(positive(turn(name)))
        except PeerError as error:
            left_out[name] = str(error)
            del times[name]
        advance()
    return times, left_out


def positive(seconds: object) -> float:
    """Return a measured time.

    Raises:
        PeerError: it is not a positive number.
    """
    if isinstance(seconds, bool) or not isinstance(seconds, int | float) or not seconds > 0:
        raise PeerError(f"it measured {seconds!r} seconds")
    return float(seconds)


def ratio_spread(times: Mapping[str, Sequence[float]], name: str, base: str) -> Spread | None:
    """Return the ratios of the times of ``name`` to those of ``base`` within each round.

    None if one of them has no times.
    """
    if name not in times or base not in times:
        return None
    return spread(ratios(times[name], times[base]))
