"""The table that the report begins with: like compared with like, in a few rows."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

from benchmarks.peers.comparison import Outcome
from benchmarks.peers.contenders import Contender
from benchmarks.peers.rounds import ratio_spread
from benchmarks.peers.tables import Table
from fleetnet.measuring import spread

OURS_ENGINE = "OpenVINO"
NOTE = (
    "Everybody in fp32, with the same weights, images and processors; from files to answers the "
    "fastest of the other project's ways. ÷: how many times as long as "
    "ours the other takes within the same round, median and quartiles; below 1 the other is faster."
)


def headline_table(files: Outcome | None, network: Outcome | None) -> Table | None:
    """Return files to answers, and only networks, in fp32; None if neither was measured."""
    rows = [*_of_files(files)] if files else []
    rows += [*_of_networks(network)] if network else []
    columns = ("what", "ours, ms", "other", "other, ms", "other ÷ ours")
    return Table("Like with like", columns, tuple(rows), NOTE) if rows else None


def _of_files(outcome: Outcome) -> Iterator[tuple[str, ...]]:
    """Yield rows of the fastest of the other project's ways, mostly the pipelined one."""
    for subject, ours, others in _groups(outcome):
        best = fastest(outcome, others)
        for other in others:
            if other.name == best:
                yield _row(outcome, f"file to top-5, {subject}", ours, other)


def _of_networks(outcome: Outcome) -> Iterator[tuple[str, ...]]:
    """Yield rows of the fastest engine, and of the fastest that is not the one we use."""
    for subject, ours, others in _groups(outcome):
        foreign = [one for one in others if OURS_ENGINE not in one.name]
        chosen = {fastest(outcome, others), fastest(outcome, foreign)} - {None}
        for other in others:
            if other.name in chosen:
                yield _row(outcome, f"network, {subject}", ours, other)


def _groups(outcome: Outcome) -> Iterator[tuple[str, Contender, list[Contender]]]:
    """Yield each network with our contender and the others that were measured."""
    for subject in dict.fromkeys(one.subject for one in outcome.contenders):
        members = [
            one
            for one in outcome.contenders
            if one.subject == subject and one.name in outcome.times
        ]
        ours = next((one for one in members if one.ours and not one.against), None)
        if ours is not None:
            yield subject, ours, [one for one in members if not one.ours and one.fp32]


def fastest(outcome: Outcome, contenders: Iterable[Contender]) -> str | None:
    """Return the name of the one with the lowest median, of those that were measured."""
    names = [one.name for one in contenders if one.name in outcome.times]
    return min(names, key=lambda name: spread(outcome.times[name]).median, default=None)


def _row(outcome: Outcome, what: str, ours: Contender, other: Contender) -> tuple[str, ...]:
    ratio = ratio_spread(outcome.times, other.name, ours.name)
    assert ratio is not None  # noqa: S101 - both were measured
    return (
        what,
        _milliseconds(outcome.times[ours.name]),
        other.name.partition(": ")[2],
        _milliseconds(outcome.times[other.name]),
        ratio.with_quartiles(".2f"),
    )


def _milliseconds(seconds: Sequence[float]) -> str:
    return spread([1e3 * value for value in seconds]).with_quartiles(".2f")
