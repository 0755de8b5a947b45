"""``fleetnet demo``: the whole road on real images, in a few minutes."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Annotated

import numpy as np
import typer
from rich.table import Table

from fleetnet.amounts import count
from fleetnet.cli.console import console, print_line, typed_command
from fleetnet.cli.export import print_bundle, run_export
from fleetnet.cli.figures import print_figures
from fleetnet.cli.opening import open_trained
from fleetnet.cli.options import SettingsOption
from fleetnet.cli.train import load_recipe, run_training
from fleetnet.data.sources import ELPV, Source, SourceOptions, open_source
from fleetnet.data.splits import Indices, split
from fleetnet.errors import FleetnetError
from fleetnet.evaluation.evaluate import evaluate as run_evaluation
from fleetnet.evaluation.figures import summarise
from fleetnet.evaluation.report_file import check_report
from fleetnet.evaluation.results import Results
from fleetnet.inference.classifier import Classifier
from fleetnet.inference.verify import TOLERANCE
from fleetnet.training.shorthands import shorthands

RECIPE = "elpv-demo"
SHOWN = 8
"""How many held-out images the demo predicts."""
SAME_TOP1 = 0.005
"""By how much the bundle's top-1 may differ from training's."""


def register(app: typer.Typer) -> None:
    """Add the verb."""
    app.command("demo", short_help="All of it on real photographs.")(demo)


def demo(
    label: Annotated[
        str, typer.Option(help="type (mono or poly, quick) or defect (the real task).")
    ] = "type",
    model: Annotated[
        str, typer.Option("--model", "-m", help="A name from 'fleetnet models'.")
    ] = "MobileNetV2_x0_25",
    epochs: Annotated[int | None, typer.Option(help="Train for longer or shorter.")] = None,
    settings: SettingsOption = None,
    output: Annotated[Path, typer.Option("--output", "-o", help="Folder for the run.")] = Path(
        "runs/demo"
    ),
) -> None:
    """Train, export, verify, evaluate, report and predict on the ELPV solar-cell photographs.

    2,624 electroluminescence images of 300x300 pixels (Deitsch et al. 2019, CC BY-NC-SA 4.0), a
    quarter of them held out.
    """
    started = time.perf_counter()
    source = open_source(ELPV, label)
    folder = output / label
    report = folder / "report.html"
    check_report(report)
    recipe = load_recipe(RECIPE, [*shorthands(epochs), *(settings or [])])
    result = run_training(ELPV, SourceOptions(label=label), model, recipe, folder)
    seconds = time.perf_counter() - started
    bundle = run_export(result.last, folder / "model.bundle", [], 64, TOLERANCE)

    held_out = split(source, recipe.data.val_fraction, recipe.seed).val
    examples = _write_examples(source, held_out, folder / "images")
    trained = open_trained(bundle.path)
    with trained.classifier as classifier:
        evaluation = run_evaluation(classifier, source, held_out)
        predictions = _predictions(classifier, source, examples)
    # Of hundreds of images one may be so near to both answers that rounding decides.
    if abs(evaluation.metrics.top1 - result.history[-1].top1) > SAME_TOP1:
        raise FleetnetError(
            f"the bundle's top-1 ({evaluation.metrics.top1:.4f}) is not that of training "
            f"({result.history[-1].top1:.4f}): please report this"
        )
    figures = summarise(evaluation)
    part = f"the {count(len(held_out), 'held-out image')} of {source.description}"
    results = Results(evaluation, figures, part)
    trained.write_report(report, source, results, command=typed_command())
    out = console()
    out.print()
    print_bundle(bundle)
    out.print()
    print_figures(out, evaluation, figures)
    out.print()
    out.print(predictions)
    out.print()
    images = folder / "images"
    for line in (
        f"trained in {seconds:.0f} s, all in {time.perf_counter() - started:.0f} s",
        "",
        "next:",
        f"  fleetnet predict {bundle.path} {images}",
        f"  fleetnet evaluate {bundle.path} {ELPV} --label {label}",
        f"  fleetnet explain {result.last} {images}",
        f"  fleetnet verify {bundle.path} --images {images}",
        f"  fleetnet demo --label {'defect' if label == 'type' else 'type'}",
        f"  fleetnet train YOUR_FOLDER --model {model}",
        "",
        f"report: {report}",
    ):
        print_line(line)


def _write_examples(source: Source, held_out: Indices, folder: Path) -> dict[Path, int]:
    """Put some held-out images where the next commands find them; path to true label."""
    folder.mkdir(parents=True, exist_ok=True)
    chosen = held_out[np.linspace(0, len(held_out) - 1, SHOWN).astype(int)]
    examples: dict[Path, int] = {}
    for index in map(int, chosen):
        sample = source.samples[index]
        path = folder / Path(sample.name).name
        path.write_bytes(source.read(index))
        examples[path] = sample.label
    return examples


def _predictions(classifier: Classifier, source: Source, examples: dict[Path, int]) -> Table:
    table = Table(box=None, pad_edge=False, header_style="bold")
    for heading in ("held-out image", "true", "predicted"):
        table.add_column(heading)
    table.add_column("probability", justify="right")
    for (path, label), prediction in zip(
        examples.items(), classifier.predict(list(examples)), strict=True
    ):
        true = source.classes[label]
        mark = "" if prediction.label == true else " ✗"
        table.add_row(path.name, true, prediction.label + mark, f"{prediction.probability:.1%}")
    return table
