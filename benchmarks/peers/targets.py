"""What was to be reached, what was, and what bounds it where it was not."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass

from benchmarks.peers.comparison import Outcome
from benchmarks.peers.contenders import Contender
from benchmarks.peers.rounds import Spread, ratios, spread
from benchmarks.peers.tables import NONE, Table

OURS_ENGINE = "OpenVINO"


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
        bf16, fp32 = f"{subject}: fleetnet, bf16", f"{subject}: fleetnet, fp32"
        peer = f"{subject}: timm in ONNX Runtime"
        targets.append(
            at_most(
                f"{subject}: ours in bf16, of the time of timm's export in ONNX Runtime",
                0.5,
                "×",
                ratios(outcome.times, bf16, peer),
                "bf16 halves the multiplications alone; see the README on what is left",
            )
        )
        best = fastest(outcome, (one for one in _fp32_peers(outcome, subject)))
        targets.append(
            at_most(
                f"{subject}: ours in fp32, of the time of the best other fp32 engine"
                + (f" ({best.partition(': ')[2]})" if best else ""),
                0.95,
                "×",
                ratios(outcome.times, fp32, best) if best else None,
                "both compute the same multiplications at the processor's peak",
            )
        )
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


def file_targets(outcome: Outcome, network: Outcome | None, cores: int) -> list[Target]:
    """Judge the ways from files to answers, against the faster of the peer's two."""
    targets = []
    for style, factor in (("PaddleClas-style", 4), ("timm-style", 3)):
        groups = dict.fromkeys(one.subject for one in outcome.contenders if style in one.name)
        for group in groups:
            ours = f"{group}: fleetnet, bf16"
            rivals = (one for one in outcome.contenders if one.subject == group and one.against)
            peer = fastest(outcome, rivals)
            targets.append(
                at_least(
                    f"{group}: files a second, of {style}",
                    factor,
                    "×",
                    ratios(outcome.times, peer, ours) if peer else None,
                    _what_a_photo_costs(outcome, network, group, cores),
                )
            )
    return targets


def _what_a_photo_costs(outcome: Outcome, network: Outcome | None, group: str, cores: int) -> str:
    """Say how much of the processors' time for a photograph the network takes."""
    subject = group.partition(",")[0]
    alone = f"{subject}: fleetnet, bf16"
    mine = f"{group}: fleetnet, bf16"
    if network is None or alone not in network.times or mine not in outcome.times:
        return ""
    computing = 1e3 * spread(network.times[alone]).median
    total = 1e3 * cores * spread(outcome.times[mine]).median
    return (
        f"a photograph takes {total:.1f} ms of {cores} cores' time, of which the network takes "
        f"{computing:.1f}; the rest is reading, decoding and resizing"
    )


def start_targets(outcome: Outcome, sizes: Mapping[str, Mapping[str, int]]) -> list[Target]:
    """Judge start and memory of ours at either precision, and size."""
    targets = []
    for one in outcome.contenders:
        if not one.ours:
            continue
        times, memory = outcome.times.get(one.name), outcome.peak_bytes.get(one.name)
        targets += [
            at_most(
                f"{one.name}: start to first answer",
                1.0,
                " s",
                spread(times) if times else None,
                "imports and the compilation of the graph by OpenVINO",
            ),
            at_most(
                f"{one.name}: resident memory",
                250,
                " MB",
                memory / 1e6 if times and memory else None,
                "OpenVINO's libraries and its copies of the weights",
            ),
        ]
    size = sizes.get("base")
    biggest = sorted(size.items(), key=lambda item: -item[1])[:3] if size else []
    bound = ", ".join(f"{name} {bytes_ / 1e6:.0f} MB" for name, bytes_ in biggest)
    disk = sum(size.values()) / 1e6 if size else None
    return [*targets, at_most("base package with its dependencies", 350, " MB", disk, bound)]


def target_table(targets: Iterable[Target]) -> Table:
    """Return all targets as one table."""
    words = {True: "reached", False: "missed", None: NONE}
    rows = tuple(
        (one.title, one.goal, one.figure, words[one.reached], one.bound or NONE) for one in targets
    )
    columns = ("target", "goal", "measured", "", "what bounds it")
    note = "Ratios are medians of those within each round, with their quartiles."
    return Table("Targets", columns, rows, note)
