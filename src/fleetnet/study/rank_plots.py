"""The plots of a study of rank."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import matplotlib.figure
from matplotlib.axes import Axes
from matplotlib.figure import Figure as Picture

from fleetnet.files import atomic_file
from fleetnet.plotting import quiet
from fleetnet.study.nonlinearities import NONLINEARITIES
from fleetnet.study.random_blocks import BLOCKS
from fleetnet.study.rank_figures import Figure

DPI = 120
_COLORS = ("#000000", "#56B4E9", "#0072B2", "#009E73", "#E69F00", "#D55E00", "#CC79A7", "#888888")
"""Okabe and Ito (2008), distinct with every kind of colour blindness."""
_MARKERS = ("", "o", "s", "^", "D", "v", "P", "X")
_SIZES = (4, 9, 6, 3, 4, 4, 4, 4)
"""Of the markers: the three kinds of ReLU are in the same places."""
STYLES = dict(zip(NONLINEARITIES, zip(_COLORS, _MARKERS, _SIZES, strict=True), strict=True))
VARIED = ("layer 1×1", "bottleneck depthwise")
"""The blocks whose thresholds are varied in a plot."""


def draw_ranks(figures: Sequence[Figure], thresholds: Sequence[float], folder: Path) -> list[Path]:
    """Draw the plots as PNG files; return their paths.

    Raises:
        FleetnetError: the folder cannot be written to.
    """
    drawn = []
    for name, picture in (
        ("rank-ratio.png", ratio_picture(figures, thresholds[0])),
        ("rank-thresholds.png", threshold_picture(figures, thresholds)),
    ):
        with atomic_file(folder / name) as path:
            picture.savefig(path, format="png", dpi=DPI)
        drawn.append(folder / name)
    return drawn


def ratio_picture(figures: Sequence[Figure], threshold: float) -> Picture:
    """Draw the rank ratio over the channels' ratio, a panel for each block."""
    picture = matplotlib.figure.Figure(figsize=(11, 7), layout="constrained")
    panels = picture.subplots(2, 3, sharex=True, sharey=True)
    for axes, block in zip(panels.flat, BLOCKS, strict=True):
        _panel(axes, figures, block, threshold)
        axes.set_title(block, loc="left", fontsize=11)
    title = f"Rank of random features, singular values above {threshold:g} of the largest"
    _dress(picture, panels.flat[0], title)
    return picture


def threshold_picture(figures: Sequence[Figure], thresholds: Sequence[float]) -> Picture:
    """Draw two blocks at each threshold."""
    picture = matplotlib.figure.Figure(
        figsize=(1.5 + 2.7 * len(thresholds), 6.4), layout="constrained"
    )
    panels = picture.subplots(len(VARIED), len(thresholds), sharex=True, sharey=True, squeeze=False)
    for row, block in zip(panels, VARIED, strict=True):
        for axes, threshold in zip(row, thresholds, strict=True):
            _panel(axes, figures, block, threshold)
            axes.set_title(f"{block}, {threshold:g}", loc="left", fontsize=10)
    _dress(picture, panels.flat[0], "The same networks at other thresholds")
    return picture


def _panel(axes: Axes, figures: Sequence[Figure], block: str, threshold: float) -> None:
    for name, (color, marker, size) in STYLES.items():
        points = [
            point
            for point in figures
            if (point.block, point.nonlinearity, point.threshold) == (block, name, threshold)
        ]
        axes.errorbar(
            [point.ratio for point in points],
            [point.mean for point in points],
            yerr=[1.96 * (point.error or 0.0) for point in points],
            color=color,
            marker=marker,
            markersize=size,
            linewidth=1.3,
            elinewidth=0.8,
            linestyle=":" if name == "none" else "-",
            label=name,
        )
    axes.set_ylim(0, 1.04)
    quiet(axes)


def _dress(picture: Picture, panel: Axes, title: str) -> None:
    picture.suptitle(title, x=0.01, ha="left", fontsize=13, fontweight="bold")
    picture.supxlabel("channels of the input / channels of the output", fontsize=10)
    picture.supylabel("rank / channels of the output", fontsize=10)
    handles, labels = panel.get_legend_handles_labels()
    picture.legend(
        handles,
        labels,
        loc="outside right center",
        frameon=False,
        fontsize=9,
        title="after a layer",
    )
