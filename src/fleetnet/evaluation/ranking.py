"""How well a score ranks the images of a class before the others: ROC and precision-recall."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from fleetnet.evaluation.metrics import Floats, divided


@dataclass(frozen=True)
class Curves:
    """A class's curves, with a point for each distinct score from the highest down.

    Each curve is ``float64[T + 1]`` and begins where no image is predicted positive.

    Attributes:
        false_positive_rate: share of the other images that are predicted positive.
        true_positive_rate: share of the class's images that are; the same as recall.
        precision: share of the images predicted positive that are of the class; 1 at the start.
    """

    false_positive_rate: Floats
    true_positive_rate: Floats
    precision: Floats


class RankedScores:
    """Scores sorted once, for metrics under many weightings of the images.

    Args:
        scores: ``float[N]``, higher for images that are more probably positive.
        positives: ``bool[N]``.
    """

    def __init__(self, scores: npt.NDArray[np.floating], positives: npt.NDArray[np.bool_]) -> None:
        self._order = np.argsort(-scores, kind="stable")
        ranked = scores[self._order]
        # Images of equal score are counted together, whatever their order.
        self._starts = np.flatnonzero(np.append(True, ranked[1:] != ranked[:-1]))
        self._positive = positives[self._order].astype(np.float64)

    def roc_auc(self, weights: Floats | None = None) -> Floats:
        """Return the area under the ROC curve, NaN without images of both kinds.

        That is the probability that a positive ranks before a negative, where ties count half
        (Hanley and McNeil 1982, the statistic of Mann and Whitney 1947).

        Args:
            weights: how often each image counts, ``float64[..., N]``; once each if None.

        Returns:
            ``float64[...]``.
        """
        positive, negative = self._counts(weights)
        outranking = np.cumsum(positive, axis=-1) - 0.5 * positive
        pairs = positive.sum(axis=-1) * negative.sum(axis=-1)
        return divided((outranking * negative).sum(axis=-1), pairs)

    def average_precision(self, weights: Floats | None = None) -> Floats:
        """Return the precision averaged over the steps of recall, NaN without positives.

        The sum of precision times the growth of recall, not interpolated.

        Args:
            weights: how often each image counts, ``float64[..., N]``; once each if None.

        Returns:
            ``float64[...]``.
        """
        positive, negative = self._counts(weights)
        found = np.cumsum(positive, axis=-1)
        precision = np.nan_to_num(divided(found, found + np.cumsum(negative, axis=-1)))
        return divided((precision * positive).sum(axis=-1), positive.sum(axis=-1))

    def curves(self) -> Curves:
        """Return the ROC and precision-recall curves."""
        positive, negative = self._counts(None)
        found = np.append(0.0, np.cumsum(positive))
        wrong = np.append(0.0, np.cumsum(negative))
        precision = divided(found, found + wrong)
        precision[0] = 1.0
        return Curves(divided(wrong, wrong[-1:]), divided(found, found[-1:]), precision)

    def _counts(self, weights: Floats | None) -> tuple[Floats, Floats]:
        """Return the weight of positives and of negatives at each distinct score."""
        ranked = np.ones(len(self._order)) if weights is None else weights[..., self._order]
        positive = np.add.reduceat(ranked * self._positive, self._starts, axis=-1)
        return positive, np.add.reduceat(ranked, self._starts, axis=-1) - positive


def one_vs_rest(
    scores: npt.NDArray[np.floating], positives: npt.NDArray[np.bool_]
) -> tuple[Floats, Floats]:
    """Return ROC-AUC and average precision of every class against all others.

    Args:
        scores: ``float[N, K]``.
        positives: ``bool[N, K]``.

    Returns:
        Two ``float64[K]``, NaN where a figure is undefined.
    """
    areas, precisions = np.full((2, scores.shape[1]), np.nan)
    for k in np.flatnonzero(positives.any(axis=0)):
        ranked = RankedScores(scores[:, k], positives[:, k])
        areas[k], precisions[k] = ranked.roc_auc(), ranked.average_precision()
    return areas, precisions
