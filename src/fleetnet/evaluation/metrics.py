"""Metrics from counts: accuracy, confusions, precision, recall and F1."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from fleetnet.errors import DataError

Floats = npt.NDArray[np.float64]
CHUNK_VALUES = 2**22
"""Logits that are processed together: enough for speed, few beside those of a large data set."""


@dataclass(frozen=True)
class Metrics:
    """Counts of an evaluation of single-label data.

    Attributes:
        images: how many were classified.
        top1: share whose most probable class is right.
        top5: share whose right class is among the five most probable.
        confusion: ``int64[K, K]``; row: true class, column: predicted class.
        classes: names of the ``K`` classes.
    """

    images: int
    top1: float
    top5: float
    confusion: npt.NDArray[np.int64]
    classes: tuple[str, ...]

    def per_class(self) -> ClassFigures:
        """Return precision, recall and F1 of every class."""
        hits = np.diag(self.confusion)
        return ClassFigures.of(hits, self.confusion.sum(axis=0), self.confusion.sum(axis=1))

    def largest_confusions(self, count: int) -> list[tuple[str, str, int]]:
        """Return the ``count`` most frequent mistakes: true class, predicted class, number."""
        mistakes = self.confusion.copy()
        np.fill_diagonal(mistakes, 0)
        order = np.argsort(-mistakes, axis=None, kind="stable")[:count]
        pairs = [divmod(int(flat), len(self.classes)) for flat in order]
        return [
            (self.classes[true], self.classes[predicted], int(mistakes[true, predicted]))
            for true, predicted in pairs
            if mistakes[true, predicted]
        ]

    def to_json(self) -> dict[str, Any]:
        """Return the figures as JSON values."""
        return {
            "images": self.images,
            "top1": self.top1,
            "top5": self.top5,
            "classes": list(self.classes),
            "confusion": self.confusion.tolist(),
        }


@dataclass(frozen=True)
class ClassFigures:
    """Figures of every class, ``float64[K]`` each, NaN where a figure is undefined.

    Attributes:
        precision: share of the images predicted as this class that are of it; undefined without.
        recall: share of the images of this class that are predicted as it; undefined without.
        f1: their harmonic mean, ``2 TP / (2 TP + FP + FN)``; undefined without images.
        support: images of the class, ``int64[K]``.
        predicted: images that were predicted as this class, ``int64[K]``.
    """

    precision: Floats
    recall: Floats
    f1: Floats
    support: npt.NDArray[np.int64]
    predicted: npt.NDArray[np.int64]

    @classmethod
    def of(
        cls,
        hits: npt.NDArray[np.int64],
        predicted: npt.NDArray[np.int64],
        support: npt.NDArray[np.int64],
    ) -> ClassFigures:
        """Compute the figures from ``int64[K]`` counts of hits, predictions and images."""
        f1 = np.where(support > 0, divided(2 * hits, predicted + support), np.nan)
        return cls(divided(hits, predicted), divided(hits, support), f1, support, predicted)

    @property
    def macro_precision(self) -> float:
        """Mean over the classes that have images; a class that was never predicted counts 0."""
        return float(mean_over(np.nan_to_num(self.precision), self.support > 0))

    @property
    def macro_recall(self) -> float:
        """Mean over the classes that have images: the balanced accuracy."""
        return float(mean_over(self.recall, self.support > 0))

    @property
    def macro_f1(self) -> float:
        """Mean over the classes that have images."""
        return float(mean_over(self.f1, self.support > 0))

    def rows(self, classes: tuple[str, ...]) -> list[dict[str, Any]]:
        """Return a row for each class as JSON values, None where a figure is undefined."""
        return [
            {
                "class": name,
                "precision": plain(self.precision[index]),
                "recall": plain(self.recall[index]),
                "f1": plain(self.f1[index]),
                "support": int(self.support[index]),
                "predicted": int(self.predicted[index]),
            }
            for index, name in enumerate(classes)
        ]


def divided(
    numerator: npt.NDArray[np.number[Any]], denominator: npt.NDArray[np.number[Any]]
) -> Floats:
    """Return the quotient, NaN where the denominator is 0."""
    quotient = np.full(np.broadcast_shapes(numerator.shape, denominator.shape), np.nan)
    np.divide(numerator, denominator, out=quotient, where=denominator != 0)
    return quotient


def mean_over(values: Floats, chosen: npt.NDArray[np.bool_]) -> Floats:
    """Return the mean along the last axis of the ``chosen`` values, NaN where none is."""
    total = np.where(chosen, values, 0.0).sum(axis=-1)
    return divided(np.asarray(total), np.asarray(chosen.sum(axis=-1)))


def plain(value: float | np.floating[Any]) -> float | None:
    """Return a figure as a JSON value: None where it is undefined."""
    return float(value) if np.isfinite(value) else None


def measure(
    logits: npt.NDArray[np.floating], labels: npt.NDArray[np.integer], classes: tuple[str, ...]
) -> Metrics:
    """Compute :class:`Metrics` from ``float[N, K]`` logits and ``int[N]`` labels.

    Of classes with equal logits the one of lower index ranks first, as in prediction. With five
    classes or fewer top-5 is 1.

    Raises:
        DataError: there are no images.
    """
    if not len(labels):
        raise DataError("nothing to evaluate: no image could be read")
    confusion = np.zeros((len(classes), len(classes)), np.int64)
    first = five = 0
    for rows in chunks(*logits.shape):
        ranks = ranks_of(logits[rows], labels[rows])
        first += int((ranks == 0).sum())
        five += int((ranks < 5).sum())
        np.add.at(confusion, (labels[rows], predicted_classes(logits[rows])), 1)
    return Metrics(
        images=len(labels),
        top1=first / len(labels),
        top5=five / len(labels),
        confusion=confusion,
        classes=classes,
    )


def ranks_of(
    logits: npt.NDArray[np.floating], labels: npt.NDArray[np.integer]
) -> npt.NDArray[np.intp]:
    """Return each image's rank of its true class, 0 for the most probable, ``intp[N]``."""
    logits = _without_nan(logits)
    own = np.take_along_axis(logits, labels[:, None], axis=1)
    earlier = np.arange(logits.shape[1]) < labels[:, None]
    ahead = (logits > own) | ((logits == own) & earlier)
    return np.asarray(ahead.sum(axis=1), np.intp)


def predicted_classes(logits: npt.NDArray[np.floating]) -> npt.NDArray[np.intp]:
    """Return each image's most probable class, of equal ones the first, ``intp[N]``."""
    return np.asarray(_without_nan(logits).argmax(axis=1), np.intp)


def _without_nan(logits: npt.NDArray[np.floating]) -> npt.NDArray[np.floating]:
    """Rank NaN last, as sorting does; a maximum would put it first."""
    missing = np.isnan(logits)
    return np.where(missing, -np.inf, logits) if missing.any() else logits


def chunks(images: int, classes: int) -> Iterator[slice]:
    """Yield slices over the images whose logits are at most :data:`CHUNK_VALUES`."""
    step = max(CHUNK_VALUES // max(classes, 1), 1)
    for start in range(0, images, step):
        yield slice(start, start + step)
