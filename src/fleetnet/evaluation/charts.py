"""The report's charts as SVG that uses the colours and the font of the page around it."""

from __future__ import annotations

import io
import re
import warnings
from collections.abc import Callable, Sequence
from typing import Any, cast

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_svg import FigureCanvasSVG
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator, PercentFormatter

from fleetnet.evaluation.calibration import Reliability
from fleetnet.evaluation.history import EpochFigures
from fleetnet.evaluation.ranking import Curves
from fleetnet.evaluation.rejection import CoverageRisk, Point

INK, FAINT, FIRST, SECOND = "#010203", "#040506", "#070809", "#0a0b0c"
_VARIABLES = {INK: "--ink", FAINT: "--rule", FIRST: "--first", SECOND: "--second"}
"""Colours that no chart has, each a placeholder for a variable of the page's style."""

_STYLE: dict[str, Any] = {
    "svg.fonttype": "none",  # text stays text, in the page's font
    "svg.hashsalt": "fleetnet",
    "text.parse_math": False,  # a dollar in a class's name stays a dollar
    "font.family": "sans-serif",
    "font.size": 9,
    "text.color": INK,
    "axes.labelcolor": INK,
    "axes.edgecolor": FAINT,
    "axes.facecolor": "none",
    "axes.grid": True,
    "axes.axisbelow": True,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.titlesize": 9,
    "axes.titleweight": "bold",
    "axes.titlelocation": "left",
    "grid.color": FAINT,
    "grid.linewidth": 0.6,
    "xtick.color": FAINT,
    "ytick.color": FAINT,
    "xtick.labelcolor": INK,
    "ytick.labelcolor": INK,
    "lines.linewidth": 1.8,
    "legend.frameon": False,
    "figure.facecolor": "none",
    "savefig.facecolor": "none",
}
MAX_POINTS = 400
"""Curves with more points are thinned: nobody sees the difference, and the file stays small."""

Draw = Callable[[Axes], None]


def training_charts(history: Sequence[EpochFigures], epoch: int | None) -> list[tuple[str, str]]:
    """Return charts of accuracy, loss and learning rate, as far as the history has them.

    Args:
        history: at least two epochs.
        epoch: the one that is evaluated, to mark.

    Returns:
        Pairs of a description, for those who cannot see the chart, and the SVG.
    """
    wanted = (
        ("accuracy", (("top1", "held out"), ("train_top1", "training")), True),
        ("loss", (("train_loss", "training"),), False),
        ("learning rate", (("lr", ""),), False),
    )
    charts: list[tuple[str, str]] = []
    for title, lines, share in wanted:
        present = [(key, name) for key, name in lines if any(key in row for row in history)]
        if not present:
            continue

        def draw(
            axes: Axes, present: Any = present, share: bool = share, title: str = title
        ) -> None:
            for (key, name), colour, style in zip(
                present, (FIRST, SECOND), ("-", "--"), strict=False
            ):
                rows = [row for row in history if key in row]
                xs, ys = _thinned([row["epoch"] for row in rows], [row[key] for row in rows])
                axes.plot(xs, ys, style, color=colour, label=name)
                marked = [row[key] for row in rows if row["epoch"] == epoch]
                if marked and key != "lr" and key == present[0][0]:
                    axes.plot([epoch or 0], marked[:1], "o", color=colour, markersize=6)
            axes.set_title(title)
            axes.set_xlabel("epoch")
            axes.xaxis.set_major_locator(MaxNLocator(integer=True))
            if share:
                axes.yaxis.set_major_formatter(PercentFormatter(1.0))
            if len(present) > 1:
                axes.legend()

        values = {name or title: _last(history, key) for key, name in present}
        last = ", ".join(f"{name} {value:.4g}" for name, value in values.items())
        charts.append((f"{title} by epoch; at the end: {last}", svg(draw, (3.4, 2.5), title)))
    return charts


def _last(history: Sequence[EpochFigures], key: str) -> float:
    return [row[key] for row in history if key in row][-1]


def reliability_chart(bins: Reliability, axis: str, share: str) -> str:
    """Draw the share that was right over the probability, with a bar for each bin.

    Args:
        bins: what to draw.
        axis: what the probability is of.
        share: what the share is of.
    """

    def draw(axes: Axes) -> None:
        count = len(bins.counts)
        width = 1 / count
        centres = (np.arange(count) + 0.5) * width
        filled = bins.counts > 0
        heights = bins.accuracy[filled]
        axes.bar(centres[filled], heights, width * 0.9, color=FIRST, alpha=0.8)
        (dots,) = axes.plot(bins.confidence[filled], heights, "o", color=SECOND, markersize=4)
        dots.set_label("mean probability in the bin")
        axes.plot([0, 1], [0, 1], "--", color=INK, linewidth=1, label="perfectly calibrated")
        _unit_square(axes, axis, share)
        # Above the axes, because bars may be anywhere in them.
        legend = axes.legend(loc="lower left", bbox_to_anchor=(0, 1), ncols=2, fontsize=8)
        legend.borderaxespad = 0

    return svg(draw, (4.4, 3.4), "reliability")


def histogram_chart(bins: Reliability, axis: str, answers: str) -> str:
    """Draw how many answers there are by probability."""

    def draw(axes: Axes) -> None:
        count = len(bins.counts)
        centres = (np.arange(count) + 0.5) / count
        axes.bar(centres, bins.counts, 0.9 / count, color=FIRST, alpha=0.8)
        axes.set_xlim(0, 1)
        axes.set_xlabel(axis)
        axes.set_ylabel(answers)

    return svg(draw, (4.4, 3.4), "histogram")


def roc_chart(curves: Curves) -> str:
    """Draw the ROC curve."""

    def draw(axes: Axes) -> None:
        axes.plot([0, 1], [0, 1], "--", color=INK, linewidth=1)
        xs, ys = _thinned(curves.false_positive_rate, curves.true_positive_rate)
        axes.plot(xs, ys, color=FIRST)
        axes.set_title("ROC")
        _unit_square(axes, "false positive rate", "true positive rate")

    return svg(draw, (4.4, 3.4), "roc")


def precision_recall_chart(curves: Curves) -> str:
    """Draw precision over recall."""

    def draw(axes: Axes) -> None:
        xs, ys = _thinned(curves.true_positive_rate, curves.precision)
        axes.plot(xs, ys, color=FIRST, drawstyle="steps-pre")
        axes.set_title("Precision and recall")
        _unit_square(axes, "recall", "precision")

    return svg(draw, (4.4, 3.4), "precision-recall")


def coverage_risk_chart(curve: CoverageRisk, chosen: Point | None) -> str:
    """Draw risk over coverage, with the bundle's threshold if it has one."""

    def draw(axes: Axes) -> None:
        xs, ys = _thinned(curve.coverage, curve.risk)
        axes.plot(xs, ys, color=FIRST)
        if chosen is not None and chosen.accepted:
            axes.plot([chosen.coverage], [chosen.risk], "o", color=SECOND, markersize=6)
        axes.set_title("Risk and coverage")
        axes.set_xlim(-0.01, 1.01)
        axes.set_ylim(bottom=0)
        axes.set_xlabel("images whose answer counts")
        axes.set_ylabel("wrong among them")
        for axis in (axes.xaxis, axes.yaxis):
            axis.set_major_formatter(PercentFormatter(1, decimals=None))

    return svg(draw, (4.4, 3.4), "coverage-risk")


def _unit_square(axes: Axes, xlabel: str, ylabel: str) -> None:
    axes.set_xlim(-0.01, 1.01)
    axes.set_ylim(-0.01, 1.03)
    axes.set_xlabel(xlabel)
    axes.set_ylabel(ylabel)


def _thinned(xs: Sequence[float] | Any, ys: Sequence[float] | Any) -> tuple[Any, Any]:
    chosen = np.unique(np.linspace(0, len(xs) - 1, min(len(xs), MAX_POINTS)).astype(int))
    return np.asarray(xs)[chosen], np.asarray(ys)[chosen]


def svg(draw: Draw, inches: tuple[float, float], name: str) -> str:
    """Return what ``draw`` draws as an ``<svg>`` element for a page.

    Args:
        draw: given empty axes.
        inches: the chart's size.
        name: makes its elements' identifiers different from those of the page's other charts.
    """
    buffer = io.StringIO()
    with matplotlib.rc_context(cast("Any", _STYLE)), warnings.catch_warnings():
        # The page's font may have characters that matplotlib's font lacks.
        warnings.filterwarnings("ignore", message="Glyph .* missing")
        figure = Figure(figsize=inches, layout="constrained")
        FigureCanvasSVG(figure)
        draw(figure.subplots())
        figure.savefig(buffer, format="svg", metadata=dict.fromkeys(_METADATA))
    return _for_page(buffer.getvalue(), name)


_METADATA = ("Date", "Creator", "Format", "Type")


def _for_page(text: str, name: str) -> str:
    """Remove what only a separate file needs, and replace colours by variables."""
    text = text[text.index("<svg") :]
    # Its style would apply to the whole page, and its fonts are not the page's.
    text = re.sub(r"<style.*?</style>", "", text, flags=re.DOTALL)
    text = re.sub(r"font-family: [^;\"]*; ", "", text)
    prefix = re.sub(r"\W", "-", name)
    text = re.sub(r'(id="|url\(#|href="#)', rf"\g<1>{prefix}-", text)
    for colour, variable in _VARIABLES.items():
        text = text.replace(colour, f"var({variable})")
    head, _, rest = text.partition(">")
    size = re.search(r'viewBox="0 0 ([\d.]+) ([\d.]+)"', head)
    assert size is not None  # noqa: S101 - matplotlib always writes one
    # In points, 72 of which are 96 pixels in CSS: so text has one size in all charts.
    opening = (
        f'<svg viewBox="0 0 {size[1]} {size[2]}" style="width: {size[1]}pt" aria-hidden="true"'
    )
    return f"{opening}>{rest}"
