"""Only the network: random inputs one after another, contenders in interleaved rounds."""

from __future__ import annotations

import statistics
from collections.abc import Callable

import numpy as np
import numpy.typing as npt

from benchmarks.peers.comparison import (
    Outcome,
    Place,
    Workers,
    by_name,
    numbers_of,
    rows_of,
    text_of,
)
from benchmarks.peers.contenders import EXACT, Contender
from benchmarks.peers.process import OPEN_S, PeerError
from benchmarks.peers.rounds import interleave
from fleetnet.inference.binomial import at_least

WARM = 3
"""Runs at the beginning of each turn that do not count: the caches are somebody else's by then."""

MANY = 50
"""Images of which a share is worth a percentage."""

Probabilities = npt.NDArray[np.float32]


def compare_networks(
    contenders: list[Contender],
    place: Place,
    rounds: int,
    runs: int,
    advance: Callable[[], None] = lambda: None,
) -> Outcome:
    """Time networks; a turn's time is the median of its runs.

    Args:
        contenders: who is to take part.
        place: where everything is.
        rounds: how many turns each has.
        runs: inferences a turn.
        advance: called after each turn.
    """
    outcome = Outcome(contenders)
    named = by_name(contenders)
    with Workers(place) as workers:
        for contender in contenders:
            place.say(f"opening {contender.name}")
            try:
                _open(contender, workers, place, outcome)
            except PeerError as error:
                outcome.leave_out({contender.name: str(error)})

        def turn(name: str) -> float:
            reply = workers.worker(named[name]).ask(
                do="time",
                name=name,
                warm=WARM,
                runs=runs,
                inputs=len(_expected(named[name], place)),
            )
            return statistics.median(numbers_of(reply, "seconds", runs))

        ready = [name for name in named if name not in outcome.left_out]
        outcome.times, dropped = interleave(ready, turn, rounds, advance=advance)
    outcome.leave_out(dropped)
    return outcome


def _open(contender: Contender, workers: Workers, place: Place, outcome: Outcome) -> None:
    name, worker = contender.name, workers.worker(contender)
    outcome.about[name] = text_of(worker.ask(OPEN_S, do="about"), "about")
    worker.ask(
        OPEN_S,
        do="network",
        name=name,
        model=str(place.models / contender.model),
        inputs=str(
            place.models / (f"{contender.data}.inputs.npz" if contender.data else "inputs.npz")
        ),
    )
    expected = _expected(contender, place)
    reply = worker.ask(do="check", name=name, inputs=len(expected))
    found = np.asarray(rows_of(reply, "probabilities", *expected.shape), np.float32)
    outcome.agreement[name] = agreement(found, expected, exact=contender.fp32)


def _expected(contender: Contender, place: Place) -> Probabilities:
    expected: Probabilities = np.load(place.models / f"{contender.data or contender.subject}.npy")
    return expected


def agreement(found: Probabilities, expected: Probabilities, *, exact: bool) -> str:
    """Say how far probabilities are from those of PyTorch, ``float32[N, K]`` both.

    Raises:
        PeerError: too far for the same network: in fp32 beyond :data:`EXACT` or with another
            top-1; with fewer bits no probabilities at all.
    """
    if not np.allclose(found.sum(1), 1, atol=1e-2) or found.min() < 0:
        raise PeerError("its answers are no probabilities")
    difference = float(np.abs(found - expected).max())
    same = found.argmax(1) == expected.argmax(1)
    if exact and not (difference <= EXACT and same.all()):
        raise PeerError(
            f"it computes something else: probabilities differ by up to {difference:.2g}, top-1 is "
            f"the same on {same.sum()} of {len(same)}"
        )
    return f"{difference:.0e}, {_share(int(same.sum()), len(same))}"


def _share(same: int, count: int) -> str:
    """Say how often top-1 is the same, and of many how often that makes it surely."""
    if count < MANY:
        return f"{same}/{count}"
    sure = at_least(count, count - same)
    return f"{same / count:.1%} of {count} (surely {sure:.1%})"
