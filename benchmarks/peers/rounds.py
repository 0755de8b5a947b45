"""Rounds in which everybody takes a turn, and what their times say about one another."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence

from benchmarks.peers.process import PeerError
from fleetnet.measuring import Spread, ratios, spread, turns

Times = dict[str, list[float]]
"""Name to seconds, an entry a round; the entries of one round stand at the same place."""
LeftOut = dict[str, str]
"""Name to the reason why it does not take part."""


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
    """Return a time that was measured.

    Raises:
        PeerError: it is none.
    """
    if isinstance(seconds, bool) or not isinstance(seconds, int | float) or not seconds > 0:
        raise PeerError(f"it measured {seconds!r} seconds")
    return float(seconds)


def ratio_spread(times: Mapping[str, Sequence[float]], name: str, base: str) -> Spread | None:
    """Return how many times as long as ``base`` takes ``name`` does, within each round.

    None if one of them has no times.
    """
    if name not in times or base not in times:
        return None
    return spread(ratios(times[name], times[base]))
