"""Figures from logits and labels."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from fleetnet.errors import DataError


@dataclass(frozen=True)
class Metrics:
    """What an evaluation measured.

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

    def recalls(self) -> npt.NDArray[np.float64]:
        """Return each class's share that was recognised; NaN for a class without images."""
        totals = self.confusion.sum(axis=1)
        hits = np.diag(self.confusion).astype(np.float64)
        recalls = np.full(len(totals), np.nan)
        np.divide(hits, totals, out=recalls, where=totals > 0)
        return recalls

    def to_json(self) -> dict[str, Any]:
        """Return the figures as JSON values."""
        return {
            "images": self.images,
            "top1": self.top1,
            "top5": self.top5,
            "classes": list(self.classes),
            "confusion": self.confusion.tolist(),
        }


def measure(
    logits: npt.NDArray[np.floating], labels: npt.NDArray[np.integer], classes: tuple[str, ...]
) -> Metrics:
    """Compute :class:`Metrics` from ``float[N, K]`` logits and ``int[N]`` labels.

    Of equal logits the class with the lower index ranks first, as in prediction. With fewer than
    five classes top-5 is 1.

    Raises:
        DataError: there are no images.
    """
    if not len(labels):
        raise DataError("nothing to evaluate: no image could be read")
    order = np.argsort(-logits, axis=1, kind="stable")
    hits = order == labels[:, None]
    confusion = np.zeros((len(classes), len(classes)), np.int64)
    np.add.at(confusion, (labels, order[:, 0]), 1)
    return Metrics(
        images=len(labels),
        top1=float(hits[:, 0].mean()),
        top5=float(hits[:, :5].any(axis=1).mean()),
        confusion=confusion,
        classes=classes,
    )
