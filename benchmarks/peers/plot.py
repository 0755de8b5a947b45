"""Medians as bars, with the quartiles as whiskers."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from benchmarks.peers.comparison import Outcome
from benchmarks.peers.rounds import spread

OURS, THEIRS = "#d9480f", "#8d99ae"


def draw(panels: Sequence[tuple[str, Outcome]], path: Path) -> bool:
    """Write a picture with a panel a network of each outcome; False if there is nothing to draw.

    Args:
        panels: titles and outcomes.
        path: of the PNG file.
    """
    groups = [
        (f"{title}: {subject}", outcome, subject)
        for title, outcome in panels
        for subject in dict.fromkeys(
            one.subject for one in outcome.contenders if one.name in outcome.times
        )
    ]
    if not groups:
        return False
    counts = [
        sum(one.subject == subject and one.name in outcome.times for one in outcome.contenders)
        for _, outcome, subject in groups
    ]
    size = (9, 0.32 * sum(counts) + 0.95 * len(groups))
    figure = Figure(size, layout="constrained")
    heights = [count + 0.4 for count in counts]
    axes = figure.subplots(len(groups), 1, height_ratios=heights, squeeze=False)
    for axis, (title, outcome, subject) in zip(axes[:, 0], groups, strict=True):
        _panel(axis, outcome, subject)
        axis.set_title(title, loc="left", fontsize=10)
    figure.savefig(path, dpi=110)
    return True


def _panel(axis: Axes, outcome: Outcome, subject: str) -> None:
    members = [
        one for one in outcome.contenders if one.subject == subject and one.name in outcome.times
    ]
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
    axis.invert_yaxis()
    axis.margins(x=0.08)
    axis.tick_params(labelsize=8)
    axis.set_xlabel("ms, less is better", fontsize=8)
    axis.spines[["top", "right"]].set_visible(False)
