"""``fleetnet evaluate``: a checkpoint or a bundle against labelled images."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import numpy as np
import typer
from rich.console import Console
from rich.table import Table

from fleetnet.bundle import Bundle
from fleetnet.cli.console import console, print_json, progress, say, warn_unreadable
from fleetnet.cli.options import BatchSizeOption, EngineOption, ThreadsOption
from fleetnet.cli.train import DataArgument, LabelOption
from fleetnet.data.sources import Source, fingerprint, open_source
from fleetnet.data.splits import Indices, split
from fleetnet.errors import FleetnetError, require
from fleetnet.evaluation.evaluate import evaluate as run_evaluation
from fleetnet.evaluation.metrics import Metrics
from fleetnet.inference.classifier import Classifier

if TYPE_CHECKING:
    from fleetnet.training.checkpoint import Checkpoint

SHOWN_CLASSES = 12
"""A confusion matrix of more classes is shown by its largest confusions instead."""


def register(app: typer.Typer) -> None:
    """Add the verb."""
    app.command("evaluate")(evaluate)


def evaluate(
    path: Annotated[Path, typer.Argument(metavar="CHECKPOINT_OR_BUNDLE", help="What to evaluate.")],
    data: DataArgument,
    label: LabelOption = None,
    part: Annotated[
        str,
        typer.Option(
            "--part",
            help="all, val, train, or auto: the held-out images of the very data that it was "
            "trained on, all images of any other.",
        ),
    ] = "auto",
    engine: EngineOption = None,
    threads: ThreadsOption = None,
    batch_size: BatchSizeOption = 8,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON instead.")] = False,
) -> None:
    """Measure top-1, top-5 and the confusion matrix."""
    classifier, trained_on = open_classifier(path, engine, threads, batch_size)
    source = open_source(data, label)
    indices, description = choose_part(source, part, trained_on)
    with progress() as bar:
        task = bar.add_task("evaluating", total=len(indices))
        result = run_evaluation(classifier, source, indices, lambda count: bar.advance(task, count))
    warn_unreadable(result.unreadable)
    if as_json:
        values = result.metrics.to_json()
        print_json({**values, "part": description, "unreadable": list(result.unreadable)})
        return
    say(f"{path}: {description}, engine {classifier.engine.name}")
    print_metrics(console(), result.metrics)


def open_classifier(
    path: Path, engine: str | None, threads: int | None, batch_size: int
) -> tuple[Classifier, dict[str, Any]]:
    """Open a checkpoint or a bundle; also return what is known of the data it was trained on.

    Raises:
        FleetnetError: it is neither, or it cannot be used.
    """
    if path.is_dir() or path.suffix in (".onnx", ".json") or not path.exists():
        bundle = Bundle.load(path)
        classifier = Classifier(
            bundle, engine=engine or "openvino", threads=threads, batch_size=batch_size
        )
        return classifier, bundle.manifest.provenance.get("data", {})
    if engine not in (None, "torch"):
        raise FleetnetError(f"a checkpoint runs in PyTorch alone: export it first to use {engine}")
    checkpoint = load_checkpoint(path)
    from fleetnet.inference.engines.torch import TorchEngine

    running = TorchEngine(checkpoint.network(), checkpoint.preprocess, threads)
    classifier = Classifier.from_engine(
        running, checkpoint.preprocess, checkpoint.classes, batch_size=batch_size
    )
    return classifier, checkpoint.data


def load_checkpoint(path: Path) -> Checkpoint:
    """Read a checkpoint, or say which extra is missing."""
    try:
        from fleetnet.training.checkpoint import Checkpoint
    except ModuleNotFoundError as error:
        if error.name != "torch":
            raise
        raise require("PyTorch", "train", "reading a checkpoint") from None
    return Checkpoint.load(path)


def choose_part(source: Source, part: str, trained_on: dict[str, Any]) -> tuple[Indices, str]:
    """Return which samples to evaluate and how to call them.

    Raises:
        FleetnetError: there is no such part.
    """
    everything = np.arange(len(source.samples))
    same = fingerprint(source) == trained_on.get("fingerprint")
    if part == "all" or (part == "auto" and not same):
        return everything, f"all {len(everything)} images of {source.description}"
    if part not in ("auto", "val", "train"):
        raise FleetnetError(f"unknown part '{part}' (known: auto, all, val, train)")
    settings = (trained_on["val_fraction"], trained_on["seed"]) if same else ()
    parts = split(source, *settings)
    chosen = parts.train if part == "train" else parts.val
    which = "training" if part == "train" else "held-out"
    return chosen, f"the {len(chosen)} {which} images of {source.description}"


def print_metrics(out: Console, metrics: Metrics) -> None:
    """Print accuracy and the confusion matrix, or its largest entries where it is large."""
    out.print(f"images  {metrics.images}")
    out.print(f"top-1   {metrics.top1:.2%}")
    if len(metrics.classes) > 5:
        out.print(f"top-5   {metrics.top5:.2%}")
    if len(metrics.classes) <= SHOWN_CLASSES:
        out.print(_confusion_table(metrics))
    else:
        out.print(_largest_confusions(metrics))


def _confusion_table(metrics: Metrics) -> Table:
    table = Table(box=None, pad_edge=False, header_style="bold", title_justify="left")
    table.add_column("true \\ predicted", style="bold", overflow="ellipsis", max_width=24)
    for name in metrics.classes:
        table.add_column(name, justify="right", overflow="ellipsis", max_width=14, no_wrap=True)
    table.add_column("recall", justify="right")
    for name, row, recall in zip(
        metrics.classes, metrics.confusion, metrics.recalls(), strict=True
    ):
        table.add_row(name, *map(str, row), "–" if np.isnan(recall) else f"{recall:.2%}")
    return table


def _largest_confusions(metrics: Metrics) -> Table:
    off_diagonal = metrics.confusion.copy()
    np.fill_diagonal(off_diagonal, 0)
    order = np.argsort(-off_diagonal, axis=None, kind="stable")[:10]
    table = Table(box=None, pad_edge=False, header_style="bold")
    for heading in ("true", "predicted"):
        table.add_column(heading, overflow="ellipsis", max_width=32)
    table.add_column("times", justify="right")
    for flat in order:
        true, predicted = divmod(int(flat), len(metrics.classes))
        if count := off_diagonal[true, predicted]:
            table.add_row(metrics.classes[true], metrics.classes[predicted], str(count))
    return table
