"""The picture of coverage and risk."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import matplotlib.figure
from matplotlib.ticker import PercentFormatter

from fleetnet.evaluation.rejection import CoverageRisk, Point
from fleetnet.files import atomic_file
from fleetnet.plotting import quiet

DPI = 120
_COLORS = ("#0072B2", "#D55E00", "#009E73")
"""Of Okabe and Ito (2008), distinct with every kind of colour blindness."""


def draw_coverage_risk(
    curves: Mapping[str, CoverageRisk], chosen: Point | None, title: str, file: Path
) -> None:
    """Draw risk over coverage as a PNG file, a line for each score.

    Args:
        curves: by the name of the score.
        chosen: what to mark; None for nothing.
        title: above it.
        file: to write.

    Raises:
        FleetnetError: the file cannot be written.
    """
    picture = matplotlib.figure.Figure(figsize=(6.4, 4.2), layout="constrained")
    axes = picture.subplots()
    for (name, curve), color in zip(curves.items(), _COLORS, strict=False):
        label = f"{name} (area {curve.area:.4f})"
        axes.plot(curve.coverage, curve.risk, color=color, linewidth=1.6, label=label)
    if chosen is not None:
        axes.plot(
            [chosen.coverage], [chosen.risk], "o", color="#000000", markersize=6, label="chosen"
        )
    axes.set_xlim(0, 1.01)
    axes.set_ylim(bottom=0)
    axes.set_xlabel("coverage: images whose answer counts")
    axes.set_ylabel("risk: wrong answers among them")
    for axis in (axes.xaxis, axes.yaxis):
        axis.set_major_formatter(PercentFormatter(1, decimals=None))
    quiet(axes)
    axes.legend(frameon=False, fontsize=9, loc="upper center")
    axes.set_title(title, loc="left", fontsize=11, parse_math=False)
    with atomic_file(file) as path:
        picture.savefig(path, format="png", dpi=DPI)
