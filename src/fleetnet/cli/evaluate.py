"""``fleetnet evaluate``: a checkpoint or a bundle against labelled images."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from fleetnet.cli.console import (
    console,
    print_json,
    print_line,
    progress,
    say,
    typed_command,
    warn,
    warn_unreadable,
)
from fleetnet.cli.figures import accepted_line, print_figures, print_slices
from fleetnet.cli.opening import open_trained
from fleetnet.cli.options import (
    DeviceOption,
    EngineOption,
    ModelArgument,
    PrecisionOption,
    ThreadsOption,
)
from fleetnet.cli.sources import DataArgument, open_told, with_source_options
from fleetnet.data.sources import Source, SourceOptions
from fleetnet.errors import FleetnetError
from fleetnet.evaluation.drift.measured import reference_of, rows_measured
from fleetnet.evaluation.evaluate import Evaluation, class_indices
from fleetnet.evaluation.evaluate import evaluate as run_evaluation
from fleetnet.evaluation.figures import RESAMPLES, summarise
from fleetnet.evaluation.overlap import UNKNOWN
from fleetnet.evaluation.report_file import check_report
from fleetnet.evaluation.results import Results
from fleetnet.evaluation.selection import Selection, check_split, sample_of, select_images
from fleetnet.evaluation.slices import SliceTable, read_slices, slice_accuracy
from fleetnet.inference.automatic import check_asked
from fleetnet.inference.engines import CPU
from fleetnet.inference.tuning_cache import ENOUGH
from fleetnet.trained import BATCH, TrainedNetwork


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
    reference: Annotated[
        Path | None,
        typer.Option(
            "--reference",
            metavar="FILE.json",
            help="Write there how pictures and answers are distributed, for 'fleetnet serve' to "
            "compare requests with.",
        ),
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
    if reference is not None and reference.is_dir():
        raise FleetnetError(f"{reference} is a folder: name a file to write the reference to")
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
    selection = select_told(images, split, trained)
    table = _slice_table(slices, images, slice_by or [])
    with trained.classifier as classifier, progress() as bar:
        task = bar.add_task("evaluating", total=len(selection.indices))
        evaluation = run_evaluation(
            classifier, images, selection.indices, lambda count: bar.advance(task, count)
        )
    warn_unreadable(evaluation.unreadable)
    figures = summarise(evaluation, resamples=bootstrap, seed=seed)
    results = Results(
        evaluation,
        figures,
        selection.description,
        selection.seen,
        selection.overlap,
        slice_accuracy(table, evaluation.indices, figures.right),
        table.notes,
    )
    if report is not None:
        trained.write_report(report, images, results, command=typed_command())
    if reference is not None:
        _write_reference(reference, trained, images, evaluation, results.part)
    if as_json:
        print_json(
            {
                **results.to_json(),
                **_computed_json(trained),
                "report": None if report is None else str(report),
            }
        )
        return
    out = console()
    say(f"{model}: {results.part}, {_computed_by(trained)}")
    if trained.loss:
        say(trained.loss)
    print_figures(out, evaluation, figures)
    if results.accepted is not None:
        print_line(accepted_line(results.accepted))
    print_slices(out, results.slices, "exact match" if evaluation.multi_label else "top-1")
    if report is not None:
        print_line(f"report: {report}")
    if reference is not None:
        print_line(f"reference: {reference}")


def _write_reference(
    path: Path, trained: TrainedNetwork, source: Source, evaluation: Evaluation, part: str
) -> None:
    """Write what a server compares requests with."""
    with progress() as bar:
        task = bar.add_task("measuring pictures", total=len(rows_measured(len(evaluation.indices))))
        found = reference_of(
            evaluation,
            source,
            trained.classifier.preprocess,
            bundle=trained.bundle,
            description=part,
            advance=lambda count: bar.advance(task, count),
        )
    found.save(path)


def _computed_by(trained: TrainedNetwork) -> str:
    engine = trained.classifier.engine
    where = "" if engine.device == CPU else f" on {engine.device}"
    return f"engine {engine.name} in {engine.precision}{where}"


def _computed_json(trained: TrainedNetwork) -> dict[str, Any]:
    engine, judgement = trained.classifier.engine, trained.judgement
    return {
        "engine": engine.name,
        "precision": engine.precision,
        "judgement": None if judgement is None else judgement.model_dump(mode="json"),
    }


def select_told(source: Source, split: str, trained: TrainedNetwork) -> Selection:
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
