"""The figures of a study as a table and as a picture."""

from __future__ import annotations

import statistics
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import matplotlib.figure
from matplotlib.axes import Axes
from matplotlib.ticker import PercentFormatter

from benchmarks.distillation.few_labels import spread
from benchmarks.smaller.plan import FULL, ROADS
from fleetnet.files import atomic_file
from fleetnet.plotting import quiet

DPI = 110
COLORS = {FULL: "#000000", "width": "#0072B2", "pruned": "#D55E00", "distilled": "#009E73"}
"""Of Okabe and Ito (2008), distinct with every kind of colour blindness."""
SHAPES = {FULL: "s", "width": "o", "pruned": "^", "distilled": "D"}
TITLES = {"openvino": "OpenVINO", "onnxruntime": "ONNX Runtime"}


class Row(NamedTuple):
    """One network in one engine and precision, a value a seed each."""

    road: str
    network: str
    engine: str
    precision: str
    macs: list[float]
    top1: list[float]
    roc_auc: list[float]
    ms: list[float]
    quartiles: list[tuple[float, float]]
    share: list[float]
    seconds: list[float]
    kept: list[int]


def rows(figures: Mapping[str, Any]) -> list[Row]:
    """Return what was measured of each network over the seeds that it has figures for."""
    found: dict[tuple[str, str, str, str], Row] = {}
    for one in figures["pieces"].values():
        for offer, answer in one["answers"].items():
            engine, _, precision = offer.partition("/")
            key = (one["road"], one["network"], engine, precision)
            row = found.setdefault(key, Row(*key, [], [], [], [], [], [], [], []))
            row.macs.append(one["macs"])
            row.top1.append(answer["top1"])
            row.seconds.append(one["seconds"])
            row.kept.append(one["kept"].get(engine, [0])[0] if precision == "int8" else 0)
            if "roc_auc" in answer:
                row.roc_auc.append(answer["roc_auc"])
            if offer in one.get("latency", {}):
                times = one["latency"][offer]
                row.ms.append(times["ms"])
                row.quartiles.append(tuple(times["quartiles"]))
                row.share.append(times["share"])
    return sorted(found.values(), key=lambda row: (ROADS.index(row.road), -row.macs[0]))


def table(figures: Mapping[str, Any]) -> str:
    """Return all rows as Markdown, by engine, the roads after each other."""
    lines = [
        "| engine | road | network | precision | million MACs | held-out top-1, % | ROC-AUC, % | "
        "ms | of the full one's time | layers kept |",
        "| --- | --- | --- | --- | ---: | ---: | ---: | ---: | ---: | ---: |",
    ]
    every = rows(figures)
    for engine in dict.fromkeys(row.engine for row in every):
        own = (row for row in every if row.engine == engine)
        lines += [f"| {' | '.join(_cells(row))} |" for row in own]
    return "\n".join(lines)


def _cells(row: Row) -> Iterator[str]:
    yield from (TITLES.get(row.engine, row.engine), row.road, _name(row), row.precision)
    yield f"{statistics.mean(row.macs) / 1e6:.1f}"
    yield spread(row.top1)
    yield spread(row.roc_auc) if row.roc_auc else "–"
    yield _time(row) if row.ms else "–"
    yield f"{statistics.mean(row.share):.2f}" if row.share else "–"
    yield "/".join(map(str, row.kept)) if row.precision == "int8" else "–"


def _time(row: Row) -> str:
    """Return the median and the quartiles of a network's rounds, averaged over the seeds."""
    low, high = (statistics.mean(ends) for ends in zip(*row.quartiles, strict=True))
    return f"{statistics.mean(row.ms):.2f} ({low:.2f}–{high:.2f})"


def _name(row: Row) -> str:
    return f"as `{row.network}`" if row.road == "pruned" else f"`{row.network}`"


def draw(figures: Mapping[str, Any], file: Path, clock: str) -> None:
    """Draw accuracy over latency as a PNG file, a panel an engine and a line a road and precision.

    Args:
        figures: with latencies.
        file: to write.
        clock: whose milliseconds these are, in words.

    Raises:
        FleetnetError: the file cannot be written.
    """
    every = [row for row in rows(figures) if row.ms]
    engines = list(dict.fromkeys(row.engine for row in every))
    picture = matplotlib.figure.Figure(
        figsize=(4.6 * len(engines) + 0.6, 4.4), layout="constrained"
    )
    panels = picture.subplots(1, len(engines), sharey=True, squeeze=False)[0]
    for axes, engine in zip(panels, engines, strict=True):
        _panel(axes, [row for row in every if row.engine == engine])
        axes.set_title(TITLES.get(engine, engine), loc="left", fontsize=11)
        axes.set_xlabel(f"{clock} of an image, one thread, ms", fontsize=9)
    panels[0].set_ylabel("held-out top-1, mean and deviation over seeds", fontsize=9)
    handles, names = panels[0].get_legend_handles_labels()
    picture.legend(handles, names, loc="outside lower center", ncols=4, frameon=False, fontsize=9)
    with atomic_file(file) as path:
        picture.savefig(path, format="png", dpi=DPI)


def _panel(axes: Axes, every: Sequence[Row]) -> None:
    for road in ROADS:
        for precision in ("fp32", "int8"):
            own = [row for row in every if (row.road, row.precision) == (road, precision)]
            if own:
                _line(axes, own, [row for row in every if _begins(row, precision)])
    axes.set_xlim(left=0)
    axes.yaxis.set_major_formatter(PercentFormatter(1))
    axes.tick_params(labelsize=9)
    quiet(axes)


def _begins(row: Row, precision: str) -> bool:
    """Tell whether a road's line in a precision begins with a row: with the full network's."""
    return (row.road, row.precision) == (FULL, precision)


def _line(axes: Axes, own: Sequence[Row], full: Sequence[Row]) -> None:
    """Draw a road's networks in one precision, joined with the full one."""
    road, whole = own[0].road, own[0].precision == "fp32"
    joined = [*own] if own[0].road == FULL else [*own, *full]
    joined.sort(key=lambda row: statistics.mean(row.ms))
    axes.plot(
        [statistics.mean(row.ms) for row in joined],
        [statistics.mean(row.top1) for row in joined],
        color=COLORS[road],
        linestyle="-" if whole else "--",
        linewidth=1.2,
    )
    axes.errorbar(
        [statistics.mean(row.ms) for row in own],
        [statistics.mean(row.top1) for row in own],
        yerr=[_deviation(row.top1) for row in own],
        xerr=[_deviation(row.ms) for row in own],
        label=f"{road}, {own[0].precision}",
        color=COLORS[road],
        marker=SHAPES[road],
        markerfacecolor=COLORS[road] if whole else "white",
        linestyle="none",
        markersize=6,
        elinewidth=0.7,
        capsize=2,
    )


def _deviation(values: Sequence[float]) -> float:
    return statistics.stdev(values) if len(values) > 1 else 0.0
