"""What was to be reached, what was, and what bounds it where it was not."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass

from benchmarks.peers.comparison import Outcome
from benchmarks.peers.contenders import PRECISIONS, Contender
from benchmarks.peers.rounds import Spread, ratios, spread
from benchmarks.peers.tables import NONE, Table

OURS_ENGINE = "OpenVINO"
LOW_BOUND = "1×1 convolutions gain, depthwise ones and the rest hardly do (README)"
FP32_BOUND = "1×1 convolutions near the peak of the core, in all good engines (README)"


@dataclass(frozen=True)
class Target:
    """One figure that was to be reached.

    Attributes:
        title: what is measured.
        goal: in words.
        figure: what was measured, in words.
        reached: None where it was not measured.
        bound: where it was not reached, what bounds it.
    """

    title: str
    goal: str
    figure: str
    reached: bool | None
    bound: str = ""


def at_most(
    title: str, limit: float, unit: str, value: Spread | float | None, bound: str = ""
) -> Target:
    """Return a target whose figure should not be larger."""
    return _target(title, "≤", limit, unit, value, bound, lambda number: number <= limit)


def at_least(
    title: str, limit: float, unit: str, value: Spread | float | None, bound: str = ""
) -> Target:
    """Return a target whose figure should not be smaller."""
    return _target(title, "≥", limit, unit, value, bound, lambda number: number >= limit)


def _target(
    title: str,
    sign: str,
    limit: float,
    unit: str,
    value: Spread | float | None,
    bound: str,
    met: Callable[[float], bool],
) -> Target:
    goal = f"{sign} {limit:g}{unit}"
    if value is None:
        return Target(title, goal, "not measured", None)
    if isinstance(value, Spread):
        number, text = value.median, f"{value.median:.2f} ({value.low:.2f}–{value.high:.2f}){unit}"
    else:
        number, text = value, f"{value:.3g}{unit}"
    reached = met(number)
    return Target(title, goal, text, reached, "" if reached else bound)


def network_targets(outcome: Outcome) -> list[Target]:
    """Judge the networks on one thread."""
    targets = []
    for subject in ("mobilenetv2_100", "ReXNet_1_0"):
        fp32 = f"{subject}: fleetnet, {PRECISIONS[0]}"
        for precision in PRECISIONS[1:]:
            ours = f"{subject}: fleetnet, {precision}"
            ratio = ratios(outcome.times, ours, f"{subject}: timm in ONNX Runtime")
            title = f"{subject}, {precision} ÷ timm in ONNX Runtime"
            targets.append(at_most(title, 0.5, "×", ratio, LOW_BOUND))
        best = fastest(outcome, _fp32_peers(outcome, subject))
        ratio = ratios(outcome.times, fp32, best) if best else None
        name = best.partition(": ")[2] if best else "the best other fp32"
        targets.append(at_most(f"{subject}, fp32 ÷ {name}", 0.95, "×", ratio, FP32_BOUND))
    return targets


def _fp32_peers(outcome: Outcome, subject: str) -> Iterable[Contender]:
    """Give other projects' fp32 engines; OpenVINO is the one that ours runs on."""
    for one in outcome.contenders:
        if one.subject == subject and one.fp32 and one.against and OURS_ENGINE not in one.name:
            yield one


def fastest(outcome: Outcome, contenders: Iterable[Contender]) -> str | None:
    """Return the name of the one with the lowest median, of those that were measured."""
    names = [one.name for one in contenders if one.name in outcome.times]
    return min(names, key=lambda name: spread(outcome.times[name]).median, default=None)


def file_targets(outcome: Outcome, network: Outcome | None) -> list[Target]:
    """Judge the ways from files to answers, against the faster of a peer's two."""
    targets = []
    for style, factor in (("PaddleClas-style", 4), ("timm-style", 3)):
        groups = dict.fromkeys(one.subject for one in outcome.contenders if style in one.name)
        for group in groups:
            members = [one for one in outcome.contenders if one.subject == group]
            peer = fastest(outcome, (one for one in members if not one.ours))
            for one in members:
                if one.ours and not one.fp32:
                    ratio = ratios(outcome.times, peer, one.name) if peer else None
                    bound = _what_a_photo_costs(outcome, network, one)
                    title = f"{style} ÷ ours, {one.name}"
                    targets.append(at_least(title, factor, "×", ratio, bound))
    return targets


def _what_a_photo_costs(outcome: Outcome, network: Outcome | None, one: Contender) -> str:
    """Say how much of the processors' time for a photograph the network takes."""
    precision = one.setting.partition(":")[2]
    alone = f"{one.subject.partition(',')[0]}: fleetnet, {precision}"
    if network is None or alone not in network.times or one.name not in outcome.processor:
        return ""
    computing = 1e3 * spread(network.times[alone]).median
    total = 1e3 * spread(outcome.processor[one.name]).median
    if computing > total:
        return "other work on the machine: the network alone took longer than all its processors"
    return (
        f"a photograph takes {total:.1f} ms of processor time; the network alone takes "
        f"{computing:.1f}, the rest is reading, decoding and resizing"
    )


def start_targets(outcome: Outcome, sizes: Mapping[str, Mapping[str, int]]) -> list[Target]:
    """Judge the slowest start and the largest memory of ours, and its size."""
    ours = [one.name for one in outcome.contenders if one.ours and one.name in outcome.times]
    starts = {name: spread(outcome.times[name]) for name in ours}
    slowest = max(starts, key=lambda name: starts[name].median, default=None)
    peaks = {name: outcome.peak_bytes[name] / 1e6 for name in ours}
    largest = max(peaks, key=peaks.__getitem__, default=None)
    size = sizes.get("base")
    biggest = sorted(size.items(), key=lambda item: -item[1])[:3] if size else []
    packages = ", ".join(f"{name} {bytes_ / 1e6:.0f} MB" for name, bytes_ in biggest)
    return [
        at_most(
            f"start to first answer ({slowest or 'ours'})",
            1.0,
            " s",
            starts[slowest] if slowest else None,
            _what_a_start_costs(outcome, slowest) if slowest else "",
        ),
        at_most(
            f"resident memory ({largest or 'ours'})",
            250,
            " MB",
            peaks[largest] if largest else None,
            "OpenVINO's libraries, and its copies of the weights",
        ),
        at_most(
            "base package with its dependencies",
            350,
            " MB",
            sum(size.values()) / 1e6 if size else None,
            packages,
        ),
    ]


def _what_a_start_costs(outcome: Outcome, name: str) -> str:
    busy = outcome.processor.get(name)
    if not busy:
        return ""
    return (
        f"{spread(busy).median:.2f} s of processor time, for imports and for OpenVINO's "
        "compilation of the graph"
    )


def target_table(targets: Iterable[Target]) -> Table:
    """Return all targets as one table."""
    words = {True: "reached", False: "missed", None: NONE}
    rows = tuple(
        (one.title, one.goal, one.figure, words[one.reached], one.bound or NONE) for one in targets
    )
    columns = ("target", "goal", "measured", "", "what bounds it")
    note = "Ratios are medians of those within each round, with their quartiles."
    return Table("Targets", columns, rows, note, details=frozenset({4}))
