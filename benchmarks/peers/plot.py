"""Medians as bars, with the quartiles as whiskers."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from benchmarks.peers.comparison import Outcome
from benchmarks.peers.contenders import Contender
from fleetnet.measuring import spread

OURS, THEIRS = "#d9480f", "#8d99ae"


def draw(outcomes: Sequence[tuple[str, Outcome]], path: Path) -> bool:
    """Write a picture with a panel a network of each outcome; False if there is nothing to draw.

    Args:
        outcomes: with what they measure.
        path: of the PNG file.
    """
    panels = [
        (f"{title}: {subject}", outcome, members)
        for title, outcome in outcomes
        for subject, members in _measured(outcome).items()
    ]
    if not panels:
        return False
    columns = min(2, len(panels))
    rows = [panels[start : start + columns] for start in range(0, len(panels), columns)]
    counts = [max(len(members) for _, _, members in row) for row in rows]
    size = (6.5 * columns, 0.3 * sum(counts) + 0.9 * len(rows))
    figure = Figure(size, layout="constrained")
    heights = [count + 0.4 for count in counts]
    axes = figure.subplots(len(rows), columns, height_ratios=heights, squeeze=False)
    for axis in axes.flat[len(panels) :]:
        axis.set_axis_off()
    rooms = [count for count in counts for _ in range(columns)]
    for axis, room, (title, outcome, members) in zip(axes.flat, rooms, panels, strict=False):
        _panel(axis, outcome, members)
        # Bars are as thick in every panel.
        axis.set_ylim(room - 0.5, -0.5)
        axis.set_title(title, loc="left", fontsize=10)
    figure.savefig(path, dpi=110)
    return True


def _measured(outcome: Outcome) -> dict[str, list[Contender]]:
    """Return those that have times, by network."""
    found: dict[str, list[Contender]] = {}
    for one in outcome.contenders:
        if one.name in outcome.times:
            found.setdefault(one.subject, []).append(one)
    return found


def _panel(axis: Axes, outcome: Outcome, members: Sequence[Contender]) -> None:
    spreads = [spread([1e3 * value for value in outcome.times[one.name]]) for one in members]
    names = [one.name.partition(": ")[2] for one in members]
    axis.barh(
        names,
        [one.median for one in spreads],
        xerr=[
            [one.median - one.low for one in spreads],
            [one.high - one.median for one in spreads],
        ],
        color=[OURS if one.ours else THEIRS for one in members],
        error_kw={"elinewidth": 1, "ecolor": "#333333"},
        height=0.7,
    )
    for row, one in enumerate(spreads):
        axis.annotate(
            f"{one.median:.1f}",
            (one.high, row),
            xytext=(4, 0),
            textcoords="offset points",
            va="center",
            fontsize=8,
        )
    axis.margins(x=0.08)
    axis.tick_params(labelsize=8)
    axis.set_xlabel("ms, less is better", fontsize=8)
    axis.spines[["top", "right"]].set_visible(False)
