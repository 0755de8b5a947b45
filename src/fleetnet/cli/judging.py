"""The options for what fewer bits may lose, which several verbs share."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from fleetnet.bundle import Bundle, Manifest
from fleetnet.cli.console import progress, say, warn_unreadable
from fleetnet.cli.sources import open_told
from fleetnet.data.sources import Source, SourceOptions
from fleetnet.errors import PYTORCH, FleetnetError, needing
from fleetnet.evaluation.labelled_images import LabelledImages, held_out_images, labelled_judge
from fleetnet.evaluation.losses import Labels
from fleetnet.inference.judging import MAX_LOSS, Judge, confidence_judge
from fleetnet.inference.metric import TOP1, WORDS, Metric
from fleetnet.weights.subject import find_subject

ENOUGH_LABELLED = 1000
"""How many labelled images to judge by: with 539 that do not differ, half a point is shown."""

LabelledOption = Annotated[
    str | None,
    typer.Option(
        "--data",
        metavar="DATA",
        help="Labelled images to judge by, as 'fleetnet evaluate' takes them; of the data that it "
        "was trained on, the held-out part.  [without --images a checkpoint's own]",
    ),
]
MaxLossOption = Annotated[
    float | None,
    typer.Option(
        "--max-loss",
        min=0,
        max=100,
        metavar="POINTS",
        help=f"How much of the metric fewer bits may lose, in points of 100.  [{100 * MAX_LOSS:g}]",
    ),
]
MetricOption = Annotated[
    str,
    typer.Option("--metric", metavar="METRIC", help=f"Of what: {', '.join(WORDS)}."),
]


def share_of(max_loss: float | None) -> float:
    """Return as a share what ``--max-loss`` says in points."""
    return MAX_LOSS if max_loss is None else max_loss / 100


def check_standard(agreement: float | None, max_loss: float | None, metric: str) -> None:
    """Refuse two standards at once.

    Raises:
        FleetnetError: agreement is wanted, and a loss of a metric is allowed.
    """
    if agreement is not None and (max_loss is not None or metric != TOP1):
        raise FleetnetError(
            "agreement= wants the same answers, whatever they cost: leave it out, or max_loss= and "
            "metric=",
            arguments=["agreement", "max_loss", "metric"],
        )


def check_metric(manifest: Manifest, metric: str) -> None:
    """Refuse, before images are read, a metric that there is not.

    Raises:
        FleetnetError: it names no metric, or a class that the network does not know.
    """
    Metric.of(metric, manifest.classes, manifest.model.activation)


def judge_by(
    manifest: Manifest, labels: Labels | None, metric: str = TOP1, max_loss: float | None = None
) -> Judge:
    """Return what judges a bundle's fewer bits, by labels if there are any.

    Raises:
        FleetnetError: there is no such metric, or it takes labels.
    """
    if labels is not None:
        return labelled_judge(labels, manifest, metric, share_of(max_loss))
    return confidence_judge(manifest, metric, share_of(max_loss))


def read_labelled(bundle: Bundle, source: Source, limit: int) -> LabelledImages:
    """Return labelled images that a bundle's network was not trained on, showing what it takes."""
    with progress() as bar:
        task = bar.add_task("reading images", total=min(len(source.samples), limit))
        images = held_out_images(source, bundle, limit, lambda count: bar.advance(task, count))
    warn_unreadable(images.unreadable)
    say(f"judged by the labels of {len(images.pixels):,} images: {images.part}")
    return images


def labelled_source(
    model: str, images: list[str], data: str | None, options: SourceOptions
) -> Source | None:
    """Return the labelled images to judge by: the data that is given or a checkpoint's own.

    Args:
        model: as it was named.
        images: without labels; if there are any, a checkpoint's own data is left alone.
        data: labelled, as it was named.
        options: of the data.

    Raises:
        FleetnetError: there are images of neither kind.
    """
    if data is not None:
        return open_told(data, options)
    if images:
        return None
    subject = find_subject(model)
    source = _own_data(subject.path) if subject.kind == "weights" and subject.path else None
    if source is None:
        raise FleetnetError(
            "no images: give real ones, images=, or labelled ones to judge by, data=",
            arguments=["images", "data"],
        )
    return source


def _own_data(checkpoint: Path) -> Source | None:
    """Return the data that a checkpoint was trained on; None if it is not here any more."""
    with needing(PYTORCH, "train", "reading a checkpoint"):
        from fleetnet.export.held_out import training_source
        from fleetnet.training.adopt import read_checkpoint
    return training_source(read_checkpoint(checkpoint))
