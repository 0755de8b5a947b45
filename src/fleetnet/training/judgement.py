"""What the held-out images say of an epoch."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from fleetnet.evaluation.metrics import Metrics, measure
from fleetnet.evaluation.multilabel import MultiLabelMetrics, measure_multi_label

AnyMetrics = Metrics | MultiLabelMetrics


class Judgement(NamedTuple):
    """Figures of either kind of data, and those that every epoch is recorded with."""

    metrics: AnyMetrics
    top1: float
    top5: float
    mean_average_precision: float | None


def judge(
    logits: npt.NDArray[np.float32], labels: npt.NDArray[np.generic], classes: tuple[str, ...]
) -> Judgement:
    """Measure ``float32[N, K]`` logits against labels, ``int64[N]`` or ``float32[N, K]``.

    For multi-label data top-1 and top-5 are the shares of images of which any class is the most
    probable, or among the five.
    """
    if labels.ndim == 1:
        metrics = measure(logits, labels.astype(np.int64), classes)
        return Judgement(metrics, metrics.top1, metrics.top5, None)
    figures = measure_multi_label(logits, labels, classes)
    order = np.argsort(-logits, axis=1, kind="stable")
    hits = np.take_along_axis(labels.astype(bool), order, axis=1)
    return Judgement(
        figures,
        float(hits[:, 0].mean()),
        float(hits[:, :5].any(axis=1).mean()),
        figures.mean_average_precision,
    )
