"""Curves of several training runs side by side, as a picture."""

from __future__ import annotations

import itertools
import math
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from fleetnet.files import atomic_file
from fleetnet.labels import printable
from fleetnet.plotting import check_plot, quiet
from fleetnet.text import shorten
from fleetnet.training.runs import Run

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from matplotlib.lines import Line2D

SHOWN = 12
"""Most runs in a picture: more curves cannot be distinguished."""

_COLORS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9")
"""Okabe and Ito (2008), without yellow and black: distinct for the colour-blind too."""
_STYLES = ("-", "--")
_LONGEST_NAME = 51


def plot_runs(runs: Sequence[Run], names: Sequence[str], file: Path) -> None:
    """Draw top-1 and training loss over the epochs of at most :data:`SHOWN` runs, the first ones.

    Held-out top-1 is drawn with its best epoch marked. Colours and dashes keep the runs apart.

    Args:
        runs: the best first, as :func:`fleetnet.training.runs.find_runs` gives them.
        names: what the legend calls them.
        file: ending in one of :data:`fleetnet.plotting.FORMATS`.

    Raises:
        DataError: another format.
        FleetnetError: matplotlib is not installed, or ``file`` cannot be written.
    """
    check_plot(file)
    figure = _draw(runs[:SHOWN], names[:SHOWN])
    with atomic_file(file) as path, warnings.catch_warnings():
        # Characters that the font lacks become boxes; that is no reason to stop.
        warnings.filterwarnings("ignore", "Glyph .* missing from")
        figure.savefig(path, format=file.suffix[1:].lower(), dpi=120)


def _draw(runs: Sequence[Run], names: Sequence[str]) -> Figure:
    from matplotlib.figure import Figure

    columns = 1 if len(runs) <= 3 else 2
    rows = -(-len(runs) // columns)
    figure = Figure(figsize=(10, 4.2 + 0.22 * rows), layout="constrained")
    top1, loss = figure.subplots(1, 2)
    lines = []
    for run, style in zip(runs, itertools.product(_STYLES, _COLORS), strict=False):
        (line,) = _curve(top1, run, "top1", 100.0, style)
        _curve(loss, run, "train_loss", 1.0, style)
        if run.best:
            top1.plot(run.best["epoch"], run.best["top1"] * 100, "o", color=style[1], markersize=5)
        lines.append(line)
    _dress(top1, "held-out top-1, %")
    _dress(loss, "training loss")
    labels = [f"{number}  {_legend_name(name)}" for number, name in enumerate(names, 1)]
    legend = figure.legend(
        lines, labels, loc="outside lower left", ncols=columns, frameon=False, fontsize=9
    )
    for text in legend.get_texts():
        text.set_parse_math(False)  # a $ in a folder's name does not begin a formula
    return figure


def _curve(axes: Axes, run: Run, key: str, scale: float, style: tuple[str, str]) -> list[Line2D]:
    values = [record.get(key, math.nan) * scale for record in run.history]
    epochs = [record["epoch"] for record in run.history]
    # A single epoch makes no line, so its point is drawn.
    marker = "o" if len(epochs) == 1 else ""
    dashes, color = style
    return axes.plot(
        epochs, values, color=color, linestyle=dashes, linewidth=1.6, marker=marker, markersize=4
    )


def _dress(axes: Axes, title: str) -> None:
    from matplotlib.ticker import MaxNLocator

    axes.set_title(title, loc="left", fontsize=11)
    axes.set_xlabel("epoch")
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    quiet(axes)


def _legend_name(name: str) -> str:
    return shorten(printable(name), _LONGEST_NAME, keep_end=True)
