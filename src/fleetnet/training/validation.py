"""Measuring an epoch on the held-out images."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from fleetnet.evaluation.metrics import Metrics, measure
from fleetnet.evaluation.multilabel import MultiLabelMetrics, measure_multi_label

AnyMetrics = Metrics | MultiLabelMetrics
Logits = npt.NDArray[np.float32]


class Validation(NamedTuple):
    """Figures for either kind of data, and those that are recorded for every epoch."""

    metrics: AnyMetrics
    top1: float
    top5: float
    mean_average_precision: float | None


def validate_single_label(
    logits: Logits, labels: npt.NDArray[np.generic], classes: tuple[str, ...]
) -> Validation:
    """Measure ``float32[N, K]`` logits against labels, ``int64[N]``."""
    metrics = measure(logits, labels.astype(np.int64), classes)
    return Validation(metrics, metrics.top1, metrics.top5, None)


def validate_multi_label(
    logits: Logits, labels: npt.NDArray[np.generic], classes: tuple[str, ...]
) -> Validation:
    """Measure ``float32[N, K]`` logits against labels, ``float32[N, K]``.

    Top-1 and top-5 are the shares of images for which one of their classes is the most probable, or
    among the five.
    """
    metrics = measure_multi_label(logits, labels, classes)
    order = np.argsort(-logits, axis=1, kind="stable")
    hits = np.take_along_axis(labels.astype(bool), order, axis=1)
    return Validation(
        metrics,
        float(hits[:, 0].mean()),
        float(hits[:, :5].any(axis=1).mean()),
        metrics.mean_average_precision,
    )
