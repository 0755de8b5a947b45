"""An evaluation as one HTML file that needs no network and no other file."""

from __future__ import annotations

import base64
import hashlib
from importlib import resources
from pathlib import Path
from typing import Any

import jinja2
import numpy as np

from fleetnet.amounts import count, percent
from fleetnet.data.sources import Source
from fleetnet.evaluation import charts
from fleetnet.evaluation.about import About
from fleetnet.evaluation.data_summary import DataSummary, summarise_data
from fleetnet.evaluation.evaluate import Evaluation
from fleetnet.evaluation.figures import Figures
from fleetnet.evaluation.pictures import Pictures
from fleetnet.evaluation.rejection import COVERAGES, curve_of
from fleetnet.evaluation.thumbnails import Explain
from fleetnet.files import atomic_file
from fleetnet.json_text import json_text
from fleetnet.preprocess import Preprocess
from fleetnet.text import shorten

CELLS = 30
"""With more classes the largest confusions are shown instead of the matrix."""
LINES = 20
"""Unreadable images that are listed."""

MEANINGS = {
    "top1": "Share of the images whose most probable class is the true one.",
    "top5": "Share of the images whose true class is among the five most probable.",
    "balanced_accuracy": "Recall averaged over the classes, so that a rare one counts as much as "
    "a common one.",
    "macro_precision": "Precision averaged over the classes: of what is called a class, how much "
    "is.",
    "macro_f1": "The harmonic mean of precision and recall, averaged over the classes.",
    "micro_f1": "The harmonic mean of precision and recall of all answers taken together.",
    "roc_auc": "Probability that an image of the class gets a higher score than one that is not; "
    "0.5 is guessing.",
    "average_precision": "Precision averaged over all thresholds, weighted by the growth of "
    "recall.",
    "mean_average_precision": "Average precision of each class, averaged over the classes.",
    "exact_match": "Share of the images of which every class is answered right.",
    "ece": "Expected calibration error: how far probabilities are from the share that is right, "
    "on average.",
    "nll": "Negative log-likelihood: the mean of ln(1 / probability of the truth); lower is "
    "better.",
    "brier": "Mean squared distance of the probabilities from the truth; lower is better.",
}


def write_report(
    path: Path,
    evaluation: Evaluation,
    figures: Figures,
    source: Source,
    preprocess: Preprocess,
    about: About,
    explain: Explain | None = None,
) -> None:
    """Write the report; ``path`` is then either whole or unchanged.

    Args:
        path: the ``.html`` file.
        evaluation: the answers.
        figures: of those answers.
        source: of the images, some of which are read again.
        preprocess: of the network.
        about: what else to show.
        explain: computes heat maps of a class in images; without it there are none.

    Raises:
        FleetnetError: the disk is full, or the place cannot be written to.
    """
    page = render(evaluation, figures, source, preprocess, about, explain)
    with atomic_file(path) as file:
        # A file's name may be invalid Unicode, which a page cannot hold.
        file.write_text(page, "utf-8", "backslashreplace")


def render(
    evaluation: Evaluation,
    figures: Figures,
    source: Source,
    preprocess: Preprocess,
    about: About,
    explain: Explain | None = None,
) -> str:
    """Return the report's HTML; see :func:`write_report`."""
    classes = [row for row in figures.classes if row["support"] or row["predicted"]]
    script = _page_file("report.js")
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode("ascii")
    pictures = Pictures(evaluation, source, preprocess)
    label_errors, label_errors_total = pictures.label_errors()
    context = {
        "about": about,
        "style": _page_file("report.css"),
        "script": script,
        "script_hash": digest,
        "headline": [f for f in figures.headline if f.key != "macro_precision"],
        "meanings": MEANINGS,
        "images": count(len(evaluation.labels), "image"),
        "resamples": figures.resamples,
        "seed": figures.seed,
        "positive": evaluation.classes[1] if figures.curves else None,
        "training": _training(about),
        "classes": classes,
        "class_columns": _class_columns(evaluation),
        "class_means": _class_means(figures),
        "left_out_classes": len(figures.classes) - len(classes),
        "confusion": None if evaluation.multi_label else _confusion(evaluation),
        "calibration": _calibration(evaluation, figures),
        "rejection": _rejection(evaluation),
        "curves": _curves(figures),
        "slices": about.slices,
        "right_is": "exact match" if evaluation.multi_label else "top-1",
        "mistakes": pictures.mistakes(figures, explain),
        "mistakes_total": int((~figures.right).sum()),
        "label_errors": label_errors,
        "label_errors_total": label_errors_total,
        "data": _data(summarise_data(source, evaluation.indices), evaluation, source),
        "environment": about.environment.items(),
        "documents": [
            (title, json_text(value)) for title, value in about.documents.items() if value
        ],
    }
    context["sections"] = [(key, title) for key, title in _SECTIONS if _has(context, key)]
    return _environment().from_string(_page_file("report.html")).render(context)


_SECTIONS = (
    ("training", "Training"),
    ("classes", "Classes"),
    ("confusion", "Confusion"),
    ("calibration", "Calibration"),
    ("rejection", "Rejection"),
    ("curves", "Thresholds"),
    ("slices", "Slices"),
    ("mistakes", "Worst mistakes"),
    ("labels", "Probable label errors"),
    ("data", "Data"),
    ("environment", "Environment"),
)


def _has(context: dict[str, Any], section: str) -> bool:
    return section not in (
        "training",
        "confusion",
        "rejection",
        "curves",
        "slices",
    ) or bool(context[section])


def _page_file(name: str) -> str:
    return resources.files("fleetnet.evaluation").joinpath("page", name).read_text("utf-8")


def _environment() -> jinja2.Environment:
    environment = jinja2.Environment(autoescape=True, undefined=jinja2.StrictUndefined)
    environment.filters["percent"] = percent
    environment.filters["count"] = count
    environment.filters["clip"] = _clip
    return environment


def _clip(text: object, length: int = 100) -> str:
    """Shorten text from the data, which may have any length."""
    return shorten(str(text), length)


def _training(about: About) -> list[tuple[str, str]]:
    return charts.training_charts(about.history, about.epoch) if len(about.history) > 1 else []


def _class_columns(evaluation: Evaluation) -> list[tuple[str, str]]:
    columns = [("precision", "precision"), ("recall", "recall"), ("f1", "F1")]
    if evaluation.multi_label:
        columns += [("average_precision", "AP"), ("roc_auc", "ROC-AUC")]
    return columns


def _class_means(figures: Figures) -> dict[str, float | None]:
    """Average each figure over the classes that have images."""
    present = [row for row in figures.classes if row["support"]]
    keys = ("precision", "recall", "f1", "average_precision", "roc_auc")
    # A class that was never predicted has no precision and counts as 0, as in macro averages.
    return {
        key: float(np.mean([row[key] or 0.0 for row in present]))
        for key in keys
        if present and key in present[0]
    }


def _confusion(evaluation: Evaluation) -> dict[str, Any]:
    metrics = evaluation.metrics
    concerned = np.flatnonzero(metrics.confusion.sum(axis=0) + metrics.confusion.sum(axis=1))
    names = [metrics.classes[index] for index in concerned]
    found: dict[str, Any] = {"names": names, "cells": None, "largest": None}
    if len(names) > CELLS:
        mistakes = int(metrics.confusion.sum() - np.trace(metrics.confusion))
        return {**found, "largest": metrics.largest_confusions(CELLS), "mistakes": mistakes}
    matrix = metrics.confusion[np.ix_(concerned, concerned)]
    shares = matrix / np.maximum(matrix.sum(axis=1, keepdims=True), 1)
    cells = [
        list(zip(map(int, row), map(float, share), strict=True))
        for row, share in zip(matrix, shares, strict=True)
    ]
    return {**found, "cells": cells}


def _calibration(evaluation: Evaluation, figures: Figures) -> dict[str, Any]:
    axis, share, answers, intro = (
        (
            "probability of a class",
            "share of images that have it",
            "image and class pairs",
            "Of the answers with about the same probability, the share that is right should be "
            "that probability. Every class of every image is an answer here.",
        )
        if evaluation.multi_label
        else (
            "probability of the answer",
            "share of answers that are right",
            "images",
            "Of the images answered with about the same probability, the share that is right "
            "should be that probability. Bars under the line mean overconfidence.",
        )
    )
    return {
        "intro": intro,
        "ece": figures.reliability.ece,
        "chart": charts.reliability_chart(figures.reliability, axis, share),
        "histogram": charts.histogram_chart(figures.reliability, axis, answers),
        "fit": figures.temperature,
        "served": evaluation.temperature,
    }


def _rejection(evaluation: Evaluation) -> dict[str, Any] | None:
    """Return what is shown of coverage and risk; None where an answer is always one."""
    if evaluation.multi_label or not np.isfinite(evaluation.logits).all():
        return None
    held = evaluation.rejection
    curve = curve_of(evaluation, held.score if held else "probability")
    chosen = curve.at(held.threshold) if held else None
    return {
        "score": held.score if held else "probability",
        "threshold": held.threshold if held else None,
        "chosen": chosen,
        "points": [curve.at_coverage(least) for least in COVERAGES],
        "chart": charts.coverage_risk_chart(curve, chosen),
    }


def _curves(figures: Figures) -> list[tuple[str, str]]:
    if figures.curves is None or not np.isfinite(figures["roc_auc"].value):
        return []
    area, precision = figures["roc_auc"].text(), figures["average_precision"].text()
    return [
        (f"ROC curve; the area under it is {area}", charts.roc_chart(figures.curves)),
        (
            f"Precision over recall; average precision is {precision}",
            charts.precision_recall_chart(figures.curves),
        ),
    ]


def _data(summary: DataSummary, evaluation: Evaluation, source: Source) -> dict[str, Any]:
    counts = [count for _, count, _ in summary.counts]
    facts = [
        ("images", f"{len(source.samples):,} in {source.description}, "
                   f"{len(evaluation.labels):,} of them evaluated"),
        ("classes", f"{len(source.classes):,}; the largest has {count(max(counts), 'image')}, the "
                    f"smallest {min(counts):,}"),
    ]  # fmt: skip
    if evaluation.multi_label:
        facts.append(("classes an image", f"{evaluation.labels.sum(axis=1).mean():.2f} on average"))
    if len(summary.sizes):
        facts += [
            ("sizes", f"{_size_range(summary)} ({count(len(summary.sizes), 'image')} looked at)"),
            ("formats", ", ".join(f"{name} {count}" for name, count in summary.formats)),
        ]
    facts.append(("unreadable", f"{len(evaluation.unreadable):,}"))
    largest = max(max(counts), 1)
    shown = [(*row, row[1] / largest) for row in summary.counts] if len(counts) <= CELLS else []
    return {
        "facts": facts,
        "counts": shown,
        "unreadable": evaluation.unreadable[:LINES],
        "unreadable_total": len(evaluation.unreadable),
    }


def _size_range(summary: DataSummary) -> str:
    by_area = summary.sizes[np.argsort(summary.sizes.prod(axis=1), kind="stable")]
    smallest, middle, largest = (f"{w}×{h}" for w, h in by_area[[0, len(by_area) // 2, -1]])
    if smallest == largest:
        return f"all {smallest} pixels"
    return f"{smallest} to {largest} pixels, median {middle}"
