"""The picture of all networks: published accuracy over everything that a network costs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import matplotlib.figure
import matplotlib.ticker
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from fleetnet.benchmark.choice import Candidate, candidates, pareto
from fleetnet.benchmark.label_placement import Label, place_labels
from fleetnet.benchmark.measured import Measurement
from fleetnet.files import atomic_file
from fleetnet.models.registry import structure
from fleetnet.plotting import quiet

DPI = 130
_COLUMNS = 3
_COLORS = (
    "#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000", "#8C564B",
    "#7F7F7F", "#6A3D9A",
)  # fmt: skip
_SHAPES = "oDs^vP*X<>"
_RADIUS = 3.0


@dataclass(frozen=True)
class Panel:
    """Accuracy over one cost.

    Attributes:
        title: what the cost is.
        xlabel: with its unit.
        cost: by a candidate's name; those without a figure are left out.
    """

    title: str
    xlabel: str
    cost: Mapping[str, float]


def panels(networks: Sequence[Candidate], measured: Sequence[Measurement]) -> list[Panel]:
    """Return the panels that have any figure; counted, published, and measured ones."""
    built = {(one.model, one.size): structure(one.model, one.size) for one in networks}
    counted = {one.name: built[one.model, one.size] for one in networks}
    macs = {name: one.macs / 1e6 for name, one in counted.items()}
    parameters = {name: one.trainable / 1e6 for name, one in counted.items()}
    here = _measured_panels(networks, measured)
    storage = next((panel for panel in here if panel.xlabel.startswith("size")), None)
    published = Panel("Storage, published", "size on disk, MB", _published(networks, "storage_mb"))
    found = [
        Panel("Multiply-adds, counted", "million multiply-adds", macs),
        Panel("Parameters, counted", "million parameters", parameters),
        storage or published,
        Panel("Snapdragon 855, published", "1 thread, ms", _published(networks, "sd855_ms")),
        Panel("V100, published", "batch 1, FP32 in TensorRT, ms", _published(networks, "v100_ms")),
        *(panel for panel in here if panel is not storage),
    ]
    return [panel for panel in found if panel.cost]


def _published(networks: Sequence[Candidate], key: str) -> dict[str, float]:
    """Return a document's figure, the first where there are several."""
    values = {one.name: one.figures.get(key) for one in networks}
    return {
        name: float(value[0] if isinstance(value, list) else value)
        for name, value in values.items()
        if value is not None
    }


def _measured_panels(networks: Sequence[Candidate], measured: Sequence[Measurement]) -> list[Panel]:
    """Return the size of the files, and latency in fp32 on the most threads measured."""
    if not measured:
        return []
    most = max(one.threads for one in measured)
    chosen = {
        (one.model, one.size): one
        for one in measured
        if one.threads == most and one.precision == "fp32"
    }
    found = {
        one.name: chosen[one.model, one.size] for one in networks if (one.model, one.size) in chosen
    }
    threads = "1 thread" if most == 1 else f"{most} threads"
    return [
        Panel(
            "Storage, measured here",
            "size of the model's files, MB",
            {name: one.bytes / 1e6 for name, one in found.items()},
        ),
        Panel(
            "Latency, measured here",
            f"median, batch 1, fp32, {threads}, ms",
            {name: one.p50 * 1e3 for name, one in found.items()},
        ),
    ]


def draw_picture(measured: Sequence[Measurement], path: Path, footnote: str = "") -> None:
    """Draw all panels into one PNG file.

    Args:
        measured: figures of this machine; may be none.
        path: of the file, which is replaced.
        footnote: a line to write below, such as the machine's.

    Raises:
        FleetnetError: the file cannot be written.
    """
    figure = picture(measured, footnote)
    with atomic_file(path) as temporary:
        figure.savefig(temporary, format="png", dpi=DPI)


def picture(measured: Sequence[Measurement], footnote: str = "") -> Figure:
    """Return the picture: a panel for each cost, a colour for each family, the front in grey."""
    networks = candidates()
    shown = panels(networks, measured)
    rows = -(-len(shown) // _COLUMNS)
    figure = matplotlib.figure.Figure(figsize=(7 * _COLUMNS, 5.6 * rows + 1), layout="constrained")
    grid = figure.subplots(rows, _COLUMNS, squeeze=False)
    styles = _styles(networks)
    labelled = [
        (axes, _draw(axes, panel, networks, styles))
        for axes, panel in zip(grid.flat, shown, strict=False)
    ]
    for axes in list(grid.flat)[len(shown) :]:
        axes.set_axis_off()
    _legend(figure, styles)
    if footnote:
        figure.supxlabel(footnote, fontsize=8, color="#666666")
    # Labels are placed in pixels, so the layout has to be final before.
    figure.draw_without_rendering()
    for axes, labels in labelled:
        place_labels(axes, labels, fontsize=7.5)
    return figure


def _styles(networks: Sequence[Candidate]) -> dict[str, tuple[str, str]]:
    families = dict.fromkeys(one.family for one in networks)
    return {
        family: (_COLORS[number % len(_COLORS)], _SHAPES[number % len(_SHAPES)])
        for number, family in enumerate(families)
    }


def _draw(
    axes: Axes,
    panel: Panel,
    networks: Sequence[Candidate],
    styles: Mapping[str, tuple[str, str]],
) -> list[Label]:
    """Draw a panel; return the labels of its front."""
    points = [one for one in networks if one.name in panel.cost]
    front = pareto(points, lambda one: panel.cost[one.name], lambda one: one.top1)
    axes.set_xscale("log")
    corners = _corners([(panel.cost[one.name], one.top1 * 100) for one in front])
    axes.plot(*zip(*corners, strict=True), color="#aaaaaa", linewidth=1.2, zorder=1)
    for family, (color, marker) in styles.items():
        members = [one for one in points if one.family == family]
        axes.scatter(
            [panel.cost[one.name] for one in members],
            [one.top1 * 100 for one in members],
            s=[(2 * _RADIUS) ** 2] * len(members),
            marker=marker,
            facecolors=[color if one in front else "white" for one in members],
            edgecolors=color,
            linewidths=1.1,
            zorder=3,
        )
    _dress(axes, panel)
    return [Label(one.name, panel.cost[one.name], one.top1 * 100, _RADIUS) for one in front]


def _corners(front: Sequence[tuple[float, float]]) -> list[tuple[float, float]]:
    """Return the stairs through a front: each network is the best until the next one's cost."""
    stairs = [front[0]]
    for x, y in front[1:]:
        stairs += [(x, stairs[-1][1]), (x, y)]
    return stairs


def _dress(axes: Axes, panel: Panel) -> None:
    axes.set_title(panel.title, loc="left", fontsize=11, fontweight="bold")
    axes.set_xlabel(panel.xlabel, fontsize=9)
    axes.set_ylabel("published ImageNet-1k top-1, %", fontsize=9)
    axes.margins(x=0.2, y=0.08)
    quiet(axes)
    axes.xaxis.set_major_locator(matplotlib.ticker.LogLocator(subs=(1, 2, 5)))
    axes.xaxis.set_major_formatter(matplotlib.ticker.FormatStrFormatter("%g"))
    axes.xaxis.set_minor_formatter(matplotlib.ticker.NullFormatter())


def _legend(figure: Figure, styles: Mapping[str, tuple[str, str]]) -> None:
    handles = [
        Line2D([], [], color=color, marker=marker, linestyle="", label=family)
        for family, (color, marker) in styles.items()
    ]
    handles.append(
        Line2D([], [], color="#aaaaaa", linewidth=1.2, label="front: filled marks, with names")
    )
    figure.legend(
        handles=handles, loc="outside upper center", ncols=min(len(handles), 7), frameon=False
    )
