"""From files to their five best classes, and from the start of a process to its first answer."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import Any

from benchmarks.peers.comparison import Outcome, Place, Workers, by_name, rows_of, start, text_of
from benchmarks.peers.contenders import Contender
from benchmarks.peers.process import OPEN_S, TURN_S, PeerError
from benchmarks.peers.rounds import interleave, positive

TOP_K = 5


def compare_files(
    contenders: list[Contender],
    place: Place,
    photos: Sequence[str],
    rounds: int,
    advance: Callable[[], None] = lambda: None,
) -> Outcome:
    """Time passes over photographs, which are read again in each; times are per photograph.

    A contender's top-1 should be that of the first name in its ``against``.
    """
    outcome = Outcome(contenders)
    named = by_name(contenders)
    first: dict[str, list[float]] = {}

    def one_pass(contender: Contender, workers: Workers) -> float:
        reply = workers.worker(contender).ask(do="pass", name=contender.name, paths=list(photos))
        best = [row[0] for row in rows_of(reply, "top", len(photos), TOP_K)]
        first.setdefault(contender.name, best)
        expected = first.get(contender.against[0] if contender.against else contender.name)
        if expected is not None:
            same = sum(a == b for a, b in zip(best, expected, strict=True))
            outcome.agreement[contender.name] = f"{same / len(photos):.0%}"
        busy = positive(reply.get("processor_seconds")) / len(photos)
        outcome.processor.setdefault(contender.name, []).append(busy)
        return positive(reply.get("seconds")) / len(photos)

    with Workers(place) as workers:
        for contender in contenders:
            place.say(f"opening {contender.name}")
            try:
                worker = workers.worker(contender)
                outcome.about[contender.name] = text_of(worker.ask(OPEN_S, do="about"), "about")
                worker.ask(OPEN_S, **_opening(contender, place))
                one_pass(contender, workers)
            except PeerError as error:
                outcome.leave_out({contender.name: str(error)})
        ready = [name for name in named if name not in outcome.left_out]
        outcome.processor.clear()
        outcome.times, dropped = interleave(
            ready, lambda name: one_pass(named[name], workers), rounds, advance=advance
        )
    outcome.leave_out(dropped)
    return outcome


def _opening(contender: Contender, place: Place) -> dict[str, Any]:
    model = str(place.models / contender.model)
    return {"do": "files", "name": contender.name, "model": model}


def compare_starts(
    contenders: list[Contender],
    place: Place,
    photos: Sequence[str],
    rounds: int,
    advance: Callable[[], None] = lambda: None,
) -> Outcome:
    """Time fresh processes from their start to the answer for one photograph.

    Before that, in a round that does not count, each answers for all photographs, to fill the file
    cache and to measure its peak of resident memory.
    """
    outcome = Outcome(contenders)
    named = by_name(contenders)
    for name, contender in named.items():
        place.say(f"starting {name}")
        try:
            with start(contender, place) as worker:
                worker.ask(OPEN_S, **_opening(contender, place))
                reply = worker.ask(TURN_S, do="pass", name=name, paths=list(photos))
            outcome.peak_bytes[name] = round(positive(reply.get("peak_bytes")))
        except PeerError as error:
            outcome.leave_out({name: str(error)})

    def turn(name: str) -> float:
        started = time.perf_counter()
        with start(named[name], place) as worker:
            first = {"do": "pass", "name": name, "paths": list(photos[:1])}
            *_, reply = worker.ask_all([_opening(named[name], place), first], OPEN_S)
            seconds = time.perf_counter() - started  # closing the process is not part of it
        rows_of(reply, "top", 1, TOP_K)
        busy = positive(reply.get("processor_seconds_so_far"))
        outcome.processor.setdefault(name, []).append(busy)
        return seconds

    ready = [name for name in named if name not in outcome.left_out]
    outcome.times, dropped = interleave(ready, turn, rounds, advance=advance)
    outcome.leave_out(dropped)
    return outcome
