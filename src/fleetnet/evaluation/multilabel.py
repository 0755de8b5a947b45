"""Metrics of multi-label data, where an image may have any number of classes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from fleetnet.errors import DataError
from fleetnet.evaluation.metrics import ClassFigures, Floats, divided, mean_over, plain
from fleetnet.evaluation.ranking import one_vs_rest


@dataclass(frozen=True)
class MultiLabelMetrics:
    """Metrics of an evaluation of multi-label data.

    A class is predicted if its probability is at least one half, so its logit at least 0.

    Attributes:
        images: how many were classified.
        classes: names of the ``K`` classes.
        average_precision: of each class, ``float64[K]``, NaN without images.
        roc_auc: of each class against its absence, ``float64[K]``, NaN where undefined.
        per_class: precision, recall and F1 of each class.
        micro_precision, micro_recall, micro_f1: of all answers to all images taken together.
        exact_match: share of the images of which every class is answered right.
    """

    images: int
    classes: tuple[str, ...]
    average_precision: Floats
    roc_auc: Floats
    per_class: ClassFigures
    micro_precision: float
    micro_recall: float
    micro_f1: float
    exact_match: float

    @property
    def mean_average_precision(self) -> float:
        """Mean of the average precision over the classes that have images."""
        return float(mean_over(self.average_precision, self.per_class.support > 0))

    @property
    def macro_f1(self) -> float:
        """Mean of F1 over the classes that have images."""
        return self.per_class.macro_f1

    def rows(self) -> list[dict[str, Any]]:
        """Return a row for each class as JSON values, None where a figure is undefined."""
        return [
            {
                **row,
                "average_precision": plain(self.average_precision[index]),
                "roc_auc": plain(self.roc_auc[index]),
            }
            for index, row in enumerate(self.per_class.rows(self.classes))
        ]

    def to_json(self) -> dict[str, Any]:
        """Return the figures as JSON values."""
        return {
            "images": self.images,
            "mean_average_precision": plain(self.mean_average_precision),
            "micro_precision": plain(self.micro_precision),
            "micro_recall": plain(self.micro_recall),
            "micro_f1": plain(self.micro_f1),
            "macro_f1": plain(self.macro_f1),
            "exact_match": self.exact_match,
            "classes": list(self.classes),
            "per_class": self.rows(),
        }


def measure_multi_label(
    logits: npt.NDArray[np.floating], labels: npt.NDArray[np.generic], classes: tuple[str, ...]
) -> MultiLabelMetrics:
    """Compute :class:`MultiLabelMetrics`.

    Args:
        logits: ``float[N, K]``.
        labels: ``bool[N, K]``, or numbers, where at least one half means yes.
        classes: names of the ``K`` classes.

    Raises:
        DataError: there are no images.
    """
    if not len(labels):
        raise DataError("nothing to evaluate: no image could be read")
    truth = truth_of(labels)
    predicted = logits >= 0
    hits = (truth & predicted).sum(axis=0)
    per_class = ClassFigures.of(hits, predicted.sum(axis=0), truth.sum(axis=0))
    areas, precisions = one_vs_rest(logits, truth)
    counts = hits.sum(), predicted.sum(), truth.sum()
    return MultiLabelMetrics(
        images=len(labels),
        classes=classes,
        average_precision=precisions,
        roc_auc=areas,
        per_class=per_class,
        micro_precision=float(divided(counts[0], counts[1])),
        micro_recall=float(divided(counts[0], counts[2])),
        micro_f1=float(divided(2 * counts[0], counts[1] + counts[2])),
        exact_match=float((truth == predicted).all(axis=1).mean()),
    )


def truth_of(labels: npt.NDArray[np.generic]) -> npt.NDArray[np.bool_]:
    """Return labels as ``bool``; soft labels are true from one half on."""
    return np.asarray(labels.astype(np.float64) >= 0.5)
