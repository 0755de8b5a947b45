"""``fleetnet evaluate``: a checkpoint or a bundle against labelled images."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import typer
from rich.console import Console
from rich.table import Table

from fleetnet.amounts import count, percent
from fleetnet.cli.automatic import check_asked
from fleetnet.cli.console import (
    console,
    print_json,
    print_line,
    progress,
    say,
    warn,
    warn_unreadable,
)
from fleetnet.cli.options import EngineOption, ModelArgument, PrecisionOption, ThreadsOption
from fleetnet.cli.report import check_report, save_report
from fleetnet.cli.sources import DataArgument, open_told, with_source_options
from fleetnet.cli.subject import BATCH, Subject, open_subject
from fleetnet.data.sources import SampleTable, Source, SourceOptions, fingerprint, notes_of
from fleetnet.data.sources.parts import IS_LEFT_OUT
from fleetnet.data.sources.samples import TEST
from fleetnet.data.splits import Indices, split
from fleetnet.errors import FleetnetError, ImageError, check_known
from fleetnet.evaluation.evaluate import Evaluation, class_indices
from fleetnet.evaluation.evaluate import evaluate as run_evaluation
from fleetnet.evaluation.figures import RESAMPLES, Figures, summarise
from fleetnet.evaluation.metrics import Metrics
from fleetnet.evaluation.overlap import UNKNOWN, Overlap, find_overlap
from fleetnet.evaluation.slices import Slice, SliceTable, read_slices, slice_accuracy
from fleetnet.inference.choices import ENOUGH
from fleetnet.labels import printable

SHOWN_CLASSES = 12
"""A confusion matrix of more classes is shown by its largest confusions instead."""
PARTS = ("auto", "all", "train", "val", "test")
SEEN = "These are all images, those that the network was trained on among them."


def register(app: typer.Typer) -> None:
    """Add the verb."""
    app.command("evaluate", short_help="Measure a model, and write a report.")(evaluate)


@with_source_options
def evaluate(
    model: ModelArgument,
    data: DataArgument,
    part: Annotated[
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
    if report is not None:
        check_report(report)
    check_known("part", part, PARTS)
    check_asked(engine, precision)
    images = open_told(data, source)
    subject = open_subject(
        model,
        engine,
        threads,
        batch_size,
        precision=precision,
        images=lambda: _sample(images),
    )
    class_indices(images.classes, subject.classifier.classes)  # refuses classes that do not fit
    indices, description, seen = choose_part(images, part, subject.trained_on)
    overlap = _overlap(images, indices, part, subject)
    if overlap.trained_on is None and seen == UNKNOWN:
        say(UNKNOWN)
    indices, description = overlap.indices, overlap.describe(description)
    seen = seen if overlap.trained_on is None else overlap.sentence
    table = _slice_table(slices, images, slice_by or [])
    with subject.classifier as classifier, progress() as bar:
        task = bar.add_task("evaluating", total=len(indices))
        evaluation = run_evaluation(
            classifier, images, indices, lambda count: bar.advance(task, count)
        )
    warn_unreadable(evaluation.unreadable)
    figures = summarise(evaluation, resamples=bootstrap, seed=seed)
    sliced = slice_accuracy(table, evaluation.indices, figures.right)
    if report is not None:
        save_report(
            report, subject, images, evaluation, figures, description, seen, sliced, table.notes
        )
    if as_json:
        print_json(
            {
                **figures.to_json(),
                "slices": [one.to_json() for one in sliced],
                "part": description,
                "trained_on": overlap.to_json(),
                "unreadable": list(evaluation.unreadable),
                "report": None if report is None else str(report),
            }
        )
        return
    out = console()
    engine_used = subject.classifier.engine
    say(f"{model}: {description}, engine {engine_used.name} in {engine_used.precision}")
    print_figures(out, evaluation, figures)
    _print_slices(out, sliced, "exact match" if evaluation.multi_label else "top-1")
    if report is not None:
        print_line(f"report: {report}")


def choose_part(source: Source, part: str, trained_on: dict[str, Any]) -> tuple[Indices, str, str]:
    """Return which samples to evaluate, how to call them, and which of them were seen, in words.

    Raises:
        FleetnetError: there is no such part.
    """
    check_known("part", part, PARTS)
    everything = np.arange(len(source.samples))
    same = fingerprint(source) == trained_on.get("fingerprint")
    if part == "all" or (part == "auto" and not same):
        description = f"all {count(len(everything), 'image')} of {source.description}"
        return everything, description, SEEN if same else UNKNOWN
    if part == "test":
        return _test_part(source)
    settings = (trained_on["val_fraction"], trained_on["seed"]) if same else ()
    parts = split(source, *settings)
    if part == "train":
        description = f"the {count(len(parts.train), 'training image')} of {source.description}"
        seen = "These are images that the network was trained on." if same else UNKNOWN
        return parts.train, description, seen
    description = f"the {count(len(parts.val), 'held-out image')} of {source.description}"
    return parts.val, description, "" if same else UNKNOWN


def _overlap(source: Source, indices: Indices, part: str, subject: Subject) -> Overlap:
    """Find what the network was trained on, and say so."""
    with progress() as bar:
        task = bar.add_task("comparing", total=len(indices))
        overlap = find_overlap(
            source,
            indices,
            subject.trained_images,
            leave_out=part not in ("all", "train"),
            advance=lambda count: bar.advance(task, count),
        )
    if overlap.sentence and part != "train":
        advice = " (--split all judges them too)" if overlap.left_out else ""
        warn(f"{overlap.sentence.removesuffix('.')}{advice}")
    return overlap


def _test_part(source: Source) -> tuple[Indices, str, str]:
    indices = np.flatnonzero(SampleTable.of(source.samples).parts == TEST)
    if not len(indices):
        left_out = [note for note in notes_of(source) if IS_LEFT_OUT in note]
        if left_out:
            raise FleetnetError(
                f"{source.description} has no test part that can be judged: {'; '.join(left_out)}"
            )
        raise FleetnetError(
            f"{source.description} has no test part: judge all of it with --split all, or give the "
            "images to test on alone"
        )
    return indices, f"the {count(len(indices), 'test image')} of {source.description}", ""


def _sample(source: Source) -> Iterator[bytes]:
    """Yield images from all over the data, whose classes often follow one another."""
    count = len(source.samples)
    for index in np.unique(np.linspace(0, count - 1, min(count, ENOUGH), dtype=int)):
        with contextlib.suppress(ImageError):
            yield source.read(int(index))


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
