"""The plots of a study of channels."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import matplotlib.figure
import numpy as np
from matplotlib.axes import Axes

from fleetnet.files import atomic_file
from fleetnet.plotting import quiet
from fleetnet.study.channel_study import ChannelLine, drawn
from fleetnet.study.correlation import Correlation
from fleetnet.study.ramps import REFERENCE

DPI = 120
PICTURE = "channels.png"
_PARTS = (("best", "#0072B2"), ("middle", "#BBBBBB"), ("worst", "#D55E00"))
_REFERENCES = ("-", "--")
_MARKERS = {"linear": "o", "piecewise": "^", "stages": "s", REFERENCE: "*"}


def draw_channels(results: Sequence[ChannelLine], found: Correlation | None, folder: Path) -> Path:
    """Draw the configurations by what they learned, and accuracy over rank; return the path.

    Raises:
        FleetnetError: the folder cannot be written to.
    """
    picture = matplotlib.figure.Figure(figsize=(11.5, 4.8), layout="constrained")
    left, right = picture.subplots(1, 2)
    colors = _colors(results)
    _draw_shapes(left, results, colors)
    _draw_scatter(right, results, colors, found)
    with atomic_file(folder / PICTURE) as path:
        picture.savefig(path, format="png", dpi=DPI)
    return folder / PICTURE


def thirds(results: Sequence[ChannelLine]) -> dict[str, list[ChannelLine]]:
    """Return the drawn networks in three parts by their accuracy, the best first."""
    lines = sorted(drawn(results), key=lambda line: (-line.top1, -line.rank))
    each = max(len(lines) // 3, 1)
    return {
        "best": lines[:each],
        "middle": lines[each : max(len(lines) - each, each)],
        "worst": lines[max(len(lines) - each, each) :],
    }


def _colors(results: Sequence[ChannelLine]) -> dict[str, str]:
    parts = thirds(results)
    colors = {line.name: color for part, color in _PARTS for line in parts[part]}
    return colors | {line.name: "#000000" for line in results if line.kind == REFERENCE}


def _draw_shapes(axes: Axes, results: Sequence[ChannelLine], colors: dict[str, str]) -> None:
    parts = thirds(results)
    for line in drawn(results):
        blocks = range(1, len(line.channels) + 1)
        axes.plot(blocks, line.channels, color=colors[line.name], linewidth=0.7, alpha=0.35)
    for part, color in _PARTS:
        if parts[part] and part != "middle":
            mean = np.mean([line.channels for line in parts[part]], axis=0)
            axes.plot(
                range(1, len(mean) + 1),
                mean,
                color=color,
                linewidth=3,
                label=f"mean of the {part} third",
            )
    references = [line for line in results if line.kind == REFERENCE]
    for line, dashes in zip(references, _REFERENCES, strict=False):
        blocks = range(1, len(line.channels) + 1)
        axes.plot(blocks, line.channels, dashes, color="#000000", linewidth=1.4, label=line.name)
    axes.legend(frameon=False, fontsize=9, loc="upper left")
    axes.set_title("Channels of the blocks", loc="left", fontweight="bold")
    axes.set_xlabel("block")
    axes.set_ylabel("channels")
    quiet(axes)


def _draw_scatter(
    axes: Axes,
    results: Sequence[ChannelLine],
    colors: dict[str, str],
    found: Correlation | None,
) -> None:
    for kind, marker in _MARKERS.items():
        some = [line for line in results if line.kind == kind]
        axes.scatter(
            [line.rank for line in some],
            [line.top1 * 100 for line in some],
            color=[colors[line.name] for line in some],
            marker=marker,
            s=130 if kind == REFERENCE else 45,
            zorder=3 if kind == REFERENCE else 2,
        )
        axes.scatter([], [], color="#777777", marker=marker, label=kind)
    for line in results:
        if line.kind == REFERENCE:
            axes.annotate(
                line.name,
                (line.rank, line.top1 * 100),
                xytext=(8, 4),
                textcoords="offset points",
                fontsize=9,
            )
    axes.legend(frameon=False, fontsize=9)
    axes.set_title("Accuracy and rank", loc="left", fontweight="bold")
    if found:
        low, high = found.pearson_interval
        axes.set_title(f"r = {found.pearson:.2f} ({low:.2f} to {high:.2f})", loc="right")
    axes.set_xlabel("rank / channels of the untrained network, mean over blocks")
    axes.set_ylabel("held-out top-1 after a short training, %")
    axes.margins(0.1)
    quiet(axes)
