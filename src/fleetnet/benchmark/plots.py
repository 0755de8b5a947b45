"""Charts of accuracy over latency and over storage, as in the MobileNetV2 document."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import matplotlib.figure
import matplotlib.ticker
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from fleetnet.amounts import count
from fleetnet.benchmark.label_placement import Label, place_labels
from fleetnet.benchmark.plan import Cell
from fleetnet.benchmark.results import NetworkFacts, Results
from fleetnet.benchmark.tables import settings
from fleetnet.files import atomic_file
from fleetnet.models.registry import find_name
from fleetnet.plotting import quiet

LATENCY, STORAGE = "accuracy_latency.png", "accuracy_storage.png"
DPI = 150

_COLORS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000")
"""Of the families, in order: Okabe and Ito (2008), distinct with every kind of colour blindness."""
_SHAPES = "oDs^vP*"
_DASHES: tuple[Literal["-", "--", ":", "-."], ...] = ("-", "--", ":", "-.")
"""Line styles of the engines and precisions, in order."""
_AREA_OF_A_GMAC = 100.0
"""Area of a marker for a thousand million multiply-adds, in square points."""
_LEAST_AREA = 14.0


@dataclass(frozen=True)
class _Point:
    name: str
    x: float
    top1: float
    macs: int


def drawable(results: Results) -> bool:
    """Tell whether any of the networks has a published accuracy to draw."""
    return any(_has_accuracy(network) for network in results.networks)


def draw_all(results: Results, folder: Path) -> list[Path]:
    """Draw both charts as PNG files; return their paths.

    Raises:
        FleetnetError: the folder cannot be written to.
    """
    drawn = []
    for name, figure in (
        (LATENCY, latency_figure(results)),
        (STORAGE, storage_figure(results)),
    ):
        with atomic_file(folder / name) as path:
            figure.savefig(path, format="png", dpi=DPI)
        drawn.append(folder / name)
    return drawn


def latency_figure(results: Results) -> Figure:
    """Draw accuracy over the latency of the smallest batch on the fewest threads."""
    threads, batch = min(results.plan.threads), min(results.plan.batches)

    def milliseconds(network: NetworkFacts, engine: str, precision: str) -> float | None:
        found = (
            timing.p50 * 1e3
            for cell, timing in results.timings.items()
            if cell == Cell(network.name, engine, cell.precision, threads, batch)
            and cell.precision == precision
        )
        return next(found, None)

    chosen = settings(results)[: len(_DASHES)]
    return _figure(
        results,
        f"Accuracy over latency, batch {batch}, {count(threads, 'thread')}",
        "median latency, ms",
        {f"{engine} {precision}": (engine, precision) for engine, precision in chosen},
        milliseconds,
    )


def storage_figure(results: Results) -> Figure:
    """Draw accuracy over the size of the file that the first engine loads."""
    first = settings(results)[:1]

    def megabytes(network: NetworkFacts, engine: str, precision: str) -> float | None:
        return network.storage[engine, precision] / 1e6

    return _figure(
        results,
        "Accuracy over storage size",
        "size of the model's file, MB",
        {f"{engine} {precision}": (engine, precision) for engine, precision in first},
        megabytes,
    )


Measure = Callable[[NetworkFacts, str, str], float | None]


def _figure(
    results: Results,
    title: str,
    xlabel: str,
    lines: dict[str, tuple[str, str]],
    measure: Measure,
) -> Figure:
    figure = matplotlib.figure.Figure(figsize=(10, 6.6), layout="constrained")
    axes = figure.subplots()
    axes.set_xscale("log")
    labelled: list[_Point] = []
    styles = _styles(results)
    for dashes, setting in zip(_DASHES, lines.values(), strict=False):
        for family, points in _families(results, setting, measure).items():
            _draw_line(axes, styles[family], points, dashes)
            if dashes == _DASHES[0]:
                labelled += points
    _dress(axes, title, xlabel)
    _legend(axes, styles, list(lines))
    figure.supxlabel(results.machine.line, fontsize=7.5, color="#666666", wrap=True)
    # Labels are placed in pixels, so the layout has to be final before.
    figure.draw_without_rendering()
    place_labels(
        axes,
        [
            Label(point.name, point.x, point.top1, float(np.sqrt(_area(point.macs))) / 2)
            for point in labelled
        ],
    )
    return figure


def _families(
    results: Results, setting: tuple[str, str], measure: Measure
) -> dict[str, list[_Point]]:
    """Return the points of each family's line, from the smallest network to the largest."""
    found: dict[str, list[_Point]] = {}
    for network in results.networks:
        x = measure(network, *setting) if _has_accuracy(network) else None
        if x is not None:
            point = _Point(network.name, x, network.published["top1"] * 100, network.macs)
            found.setdefault(_family(network), []).append(point)
    return {name: sorted(points, key=lambda point: point.macs) for name, points in found.items()}


def _family(network: NetworkFacts) -> str:
    """Return what a network's family is called, with the set of weights where the name is of one.

    Networks are named by the family and, after an underscore, their size.
    """
    named = find_name(network.model)
    family = named.entry.name.partition("_")[0]
    return f"{family}, {named.weights}" if named.weights else family


def _styles(results: Results) -> dict[str, tuple[str, str]]:
    """Return the colour and the marker of each family that is drawn."""
    families = dict.fromkeys(_family(one) for one in results.networks if _has_accuracy(one))
    styles = itertools.cycle(zip(_COLORS, _SHAPES, strict=True))
    return dict(zip(families, styles, strict=False))


def _has_accuracy(network: NetworkFacts) -> bool:
    return "top1" in network.published


def _draw_line(axes: Axes, style: tuple[str, str], points: Sequence[_Point], dashes: str) -> None:
    xs, ys = [point.x for point in points], [point.top1 for point in points]
    color, marker = style
    axes.plot(xs, ys, dashes, color=color, linewidth=1.5, zorder=2)
    axes.scatter(
        xs,
        ys,
        s=[_area(point.macs) for point in points],
        marker=marker,
        facecolors=color if dashes == _DASHES[0] else "white",
        edgecolors=color,
        linewidths=1.3,
        zorder=3,
    )


def _area(macs: float) -> float:
    return _LEAST_AREA + _AREA_OF_A_GMAC * macs / 1e9


def _dress(axes: Axes, title: str, xlabel: str) -> None:
    axes.set_title(title, loc="left", fontsize=13, fontweight="bold")
    axes.set_xlabel(xlabel)
    axes.set_ylabel("published ImageNet-1k top-1, %")
    axes.margins(x=0.12, y=0.1)
    quiet(axes)
    ticks = matplotlib.ticker.LogLocator(subs=(1, 2, 5))
    axes.xaxis.set_major_locator(ticks)
    axes.xaxis.set_major_formatter(matplotlib.ticker.FormatStrFormatter("%g"))
    axes.xaxis.set_minor_formatter(matplotlib.ticker.NullFormatter())


def _legend(axes: Axes, styles: dict[str, tuple[str, str]], lines: Sequence[str]) -> None:
    """Explain colours, dashes and areas in the corner that rising curves leave free."""
    handles = [
        Line2D([], [], color=color, marker=marker, linewidth=1.5, label=name)
        for name, (color, marker) in styles.items()
    ]
    handles += [
        Line2D([], [], color="#555555", linestyle=dashes, linewidth=1.5, label=name)
        for dashes, name in zip(_DASHES, lines, strict=False)
    ]
    handles += [
        Line2D(
            [],
            [],
            color="#999999",
            linestyle="",
            marker="o",
            markersize=float(np.sqrt(_area(gmacs * 1e9))),
            label=f"{gmacs:g} GMACs",
        )
        for gmacs in (0.1, 1, 3)
    ]
    axes.legend(
        handles=handles,
        loc="lower right",
        labelspacing=0.9,
        edgecolor="none",
        framealpha=1,
        fontsize=9,
    )
