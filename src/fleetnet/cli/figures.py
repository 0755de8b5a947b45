"""An evaluation's figures as tables for a terminal."""

from __future__ import annotations

from collections.abc import Sequence

from rich.console import Console
from rich.table import Table

from fleetnet.amounts import percent, share
from fleetnet.evaluation.evaluate import Evaluation
from fleetnet.evaluation.figures import Figures
from fleetnet.evaluation.metrics import Metrics
from fleetnet.evaluation.rejection import Point
from fleetnet.evaluation.slices import Slice
from fleetnet.labels import printable

SHOWN_CLASSES = 12
"""A confusion matrix of more classes is shown by its largest confusions instead."""


def print_figures(out: Console, evaluation: Evaluation, figures: Figures) -> None:
    """Print the figures, and tables of the classes where those are few."""
    width = max(len(figure.title) for figure in figures.headline)
    out.print(f"{'images':<{width}}  {len(evaluation.labels)}")
    for figure in figures.headline:
        interval = figure.range_text()
        line = f"{figure.title:<{width}}  {figure.text():>8}"
        out.print(f"{line}  ({interval})" if interval else line)
    if fit := figures.temperature:
        out.print(
            f"with temperature {fit.temperature:.3f}: "
            f"ECE {fit.ece_before:.2%} → {fit.ece_after:.2%}, "
            f"NLL {fit.nll_before:.4f} → {fit.nll_after:.4f} (cross-fitted)"
        )
    if len(evaluation.classes) <= SHOWN_CLASSES:
        out.print()
        out.print(_class_table(figures))
    if evaluation.multi_label:
        return
    out.print()
    if len(evaluation.classes) <= SHOWN_CLASSES:
        out.print(_confusion_table(evaluation.metrics))
    else:
        out.print(_largest_confusions(evaluation.metrics))


def accepted_line(point: Point) -> str:
    """Return what a bundle's threshold does to the images, in a line."""
    if not point.accepted:
        return f"rejection: all of {point.images:,} images are rejected"
    low, high = (share(1 - value) for value in reversed(point.interval))
    return (
        f"rejection: {share(point.coverage)} of the images are accepted; top-1 of these "
        f"{share(1 - point.risk)}  ({low.removesuffix('%')} – {high})"
    )


def _plain_table(*left: str) -> Table:
    table = Table(box=None, pad_edge=False, header_style="bold")
    for heading in left:
        table.add_column(printable(heading), overflow="ellipsis", max_width=32)
    return table


def _class_table(figures: Figures) -> Table:
    table = _plain_table("class")
    columns = {"precision": "precision", "recall": "recall", "f1": "F1"}
    if "average_precision" in figures.classes[0]:
        columns |= {"average_precision": "AP"}
    for heading in (*columns.values(), "images"):
        table.add_column(heading, justify="right")
    for row in figures.classes:
        cells = [percent(row[key]) for key in columns]
        table.add_row(printable(row["class"]), *cells, str(row["support"]))
    return table


def _confusion_table(metrics: Metrics) -> Table:
    table = _plain_table("true \\ predicted")
    for name in metrics.classes:
        table.add_column(
            printable(name), justify="right", overflow="ellipsis", max_width=14, no_wrap=True
        )
    for name, row in zip(metrics.classes, metrics.confusion, strict=True):
        table.add_row(printable(name), *map(str, row))
    return table


def _largest_confusions(metrics: Metrics) -> Table:
    table = _plain_table("true", "predicted")
    table.add_column("times", justify="right")
    for true, predicted, times in metrics.largest_confusions(10):
        table.add_row(printable(true), printable(predicted), str(times))
    return table


def print_slices(out: Console, slices: Sequence[Slice], accuracy: str) -> None:
    """Print how often each slice was answered right, if there are any."""
    if not slices:
        return
    table = _plain_table("slice", "value")
    for heading in ("images", accuracy, "95% interval"):
        table.add_column(heading, justify="right")
    for one in slices:
        table.add_row(
            printable(one.column),
            printable(one.value),
            str(one.images),
            percent(one.accuracy),
            f"{percent(one.interval.low)} – {percent(one.interval.high)}",
        )
    out.print()
    out.print(table)
