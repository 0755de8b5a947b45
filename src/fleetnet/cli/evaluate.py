"""``fleetnet evaluate``: a checkpoint or a bundle against labelled images."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table

from fleetnet.amounts import percent
from fleetnet.cli.console import (
    console,
    print_json,
    print_line,
    progress,
    say,
    warn,
    warn_unreadable,
)
from fleetnet.cli.opening import open_trained
from fleetnet.cli.options import (
    DeviceOption,
    EngineOption,
    ModelArgument,
    PrecisionOption,
    ThreadsOption,
)
from fleetnet.cli.report import check_report, save_report
from fleetnet.cli.sources import DataArgument, open_told, with_source_options
from fleetnet.data.sources import Source, SourceOptions
from fleetnet.errors import FleetnetError
from fleetnet.evaluation.evaluate import Evaluation, class_indices
from fleetnet.evaluation.evaluate import evaluate as run_evaluation
from fleetnet.evaluation.figures import RESAMPLES, Figures, summarise
from fleetnet.evaluation.metrics import Metrics
from fleetnet.evaluation.overlap import UNKNOWN
from fleetnet.evaluation.selection import Selection, check_split, sample_of, select_images
from fleetnet.evaluation.slices import Slice, SliceTable, read_slices, slice_accuracy
from fleetnet.inference.automatic import check_asked
from fleetnet.inference.engines import CPU
from fleetnet.inference.tuning_cache import ENOUGH
from fleetnet.labels import printable
from fleetnet.trained import BATCH, TrainedNetwork

SHOWN_CLASSES = 12
"""A confusion matrix of more classes is shown by its largest confusions instead."""


def register(app: typer.Typer) -> None:
    """Add the verb."""
    app.command("evaluate", short_help="Measure a model, and write a report.")(evaluate)


@with_source_options
def evaluate(
    model: ModelArgument,
    data: DataArgument,
    split: Annotated[
        str,
        typer.Option(
            "--split",
            "--part",
            help="all, train, val, test, or auto: the held-out images of the very data that it was "
            "trained on, all images of any other. auto, val and test leave out images that it was "
            "trained on.",
        ),
    ] = "auto",
    engine: EngineOption = None,
    precision: PrecisionOption = None,
    threads: ThreadsOption = None,
    device: DeviceOption = None,
    batch_size: Annotated[
        int | None,
        typer.Option(
            min=1, max=4096, help=f"Images the engine gets at once.  [{BATCH}; auto chooses]"
        ),
    ] = None,
    report: Annotated[
        Path | None, typer.Option("--report", metavar="FILE.html", help="Write a report there.")
    ] = None,
    slices: Annotated[
        Path | None,
        typer.Option(
            "--slices",
            metavar="FILE.csv",
            help="What else is known of the images: a column 'path' and others to slice by.",
        ),
    ] = None,
    slice_by: Annotated[
        list[str] | None,
        typer.Option(
            "--slice-by", metavar="COLUMN", help="Slice by this column; repeatable. [all]"
        ),
    ] = None,
    bootstrap: Annotated[
        int, typer.Option(min=0, max=100_000, help="Resamples for confidence intervals; 0: none.")
    ] = RESAMPLES,
    seed: Annotated[int, typer.Option(min=0, help="Of the resamples.")] = 0,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON instead.")] = False,
    *,
    source: SourceOptions,
) -> None:
    """Measure accuracy, calibration and confusion, and write them down as a report."""
    if slice_by and slices is None:
        raise FleetnetError("--slice-by names a column of a file: give it with --slices FILE.csv")
    check_split(split)
    if report is not None:
        check_report(report)
    check_asked(engine, precision, device)
    images = open_told(data, source)
    trained = open_trained(
        model,
        engine,
        threads,
        batch_size,
        precision=precision,
        images=lambda: sample_of(images, ENOUGH),
        device=device,
    )
    class_indices(images.classes, trained.classifier.classes)  # refuses classes that do not fit
    selection = _select(images, split, trained)
    table = _slice_table(slices, images, slice_by or [])
    with trained.classifier as classifier, progress() as bar:
        task = bar.add_task("evaluating", total=len(selection.indices))
        evaluation = run_evaluation(
            classifier, images, selection.indices, lambda count: bar.advance(task, count)
        )
    warn_unreadable(evaluation.unreadable)
    figures = summarise(evaluation, resamples=bootstrap, seed=seed)
    sliced = slice_accuracy(table, evaluation.indices, figures.right)
    if report is not None:
        save_report(
            report,
            trained,
            images,
            evaluation,
            figures,
            selection.description,
            selection.seen,
            sliced,
            table.notes,
        )
    if as_json:
        print_json(
            {
                **figures.to_json(),
                "slices": [one.to_json() for one in sliced],
                "part": selection.description,
                "trained_on": selection.overlap.to_json(),
                "unreadable": list(evaluation.unreadable),
                "report": None if report is None else str(report),
            }
        )
        return
    out = console()
    say(f"{model}: {selection.description}, {_computed_by(trained)}")
    print_figures(out, evaluation, figures)
    _print_slices(out, sliced, "exact match" if evaluation.multi_label else "top-1")
    if report is not None:
        print_line(f"report: {report}")


def _computed_by(trained: TrainedNetwork) -> str:
    engine = trained.classifier.engine
    where = "" if engine.device == CPU else f" on {engine.device}"
    return f"engine {engine.name} in {engine.precision}{where}"


def _select(source: Source, split: str, trained: TrainedNetwork) -> Selection:
    """Choose the images, and say what is known of those that the network was trained on."""
    with progress() as bar:
        task = bar.add_task("comparing", total=len(source.samples))
        selection = select_images(
            source,
            split,
            trained.trained_on,
            trained.trained_images,
            advance=lambda count: bar.advance(task, count),
        )
    overlap = selection.overlap
    if overlap.sentence and split != "train":
        advice = " (--split all measures them too)" if overlap.left_out else ""
        warn(f"{overlap.sentence.removesuffix('.')}{advice}")
    elif selection.seen == UNKNOWN:
        say(UNKNOWN)
    return selection


def _slice_table(path: Path | None, source: Source, wanted: list[str]) -> SliceTable:
    if path is None:
        return SliceTable({}, ())
    table = read_slices(path, [sample.name for sample in source.samples], wanted)
    for note in table.notes:
        warn(note)
    return table


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


def _print_slices(out: Console, slices: list[Slice], accuracy: str) -> None:
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
