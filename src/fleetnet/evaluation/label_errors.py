"""Images to look at: the worst mistakes, and labels that are probably wrong.

Confident learning is written here in a few lines of NumPy: its authors' package cleanlab would
bring pandas, scikit-learn and more with it, and most of its releases are under the Affero GPL.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from fleetnet.evaluation.metrics import Floats, chunks, divided

ROUNDING = 1e-9


@dataclass(frozen=True)
class LabelIssue:
    """A label that is probably wrong.

    Attributes:
        position: of the image among those evaluated.
        given: index of the class that it is labelled with.
        suggested: index of the class that it more probably is.
        margin: probability of the given class less that of the most probable other one, scaled to
            0…1; the lower, the likelier an error.
    """

    position: int
    given: int
    suggested: int
    margin: float


def find_label_issues(
    probabilities: npt.NDArray[np.floating], labels: npt.NDArray[np.integer]
) -> list[LabelIssue]:
    """Return the labels that are probably wrong, the likeliest errors first.

    Confident learning (Northcutt et al. 2021): an image counts confidently as class ``j`` where
    its probability of ``j`` is at least what images labelled ``j`` have on average (section 3.1,
    the confident joint). Where the most probable such class is not the label, the label is
    suspected, the errors being those off the joint's diagonal; they are ranked by normalised
    margin (section 3.2).

    Args:
        probabilities: ``float[N, K]``, of images that the network was not trained on; those it was
            trained on it has learnt by heart, errors included.
        labels: ``int[N]``.
    """
    images, classes = probabilities.shape
    own = probabilities[np.arange(images), labels]
    totals = np.bincount(labels, own, classes)
    thresholds = divided(totals, np.bincount(labels, minlength=classes))
    suggested = np.empty(images, np.intp)
    for rows in chunks(images, classes):
        suggested[rows] = _confident_class(probabilities[rows], thresholds)
    suspected = np.flatnonzero((suggested >= 0) & (suggested != labels))
    margins = normalised_margins(probabilities[suspected], labels[suspected])
    issues = [
        LabelIssue(int(position), int(labels[position]), int(suggested[position]), float(margin))
        for position, margin in zip(suspected, margins, strict=True)
    ]
    return sorted(issues, key=lambda issue: issue.margin)


def _confident_class(
    probabilities: npt.NDArray[np.floating], thresholds: Floats
) -> npt.NDArray[np.intp]:
    """Return the most probable class of those that reach their threshold, -1 where none does."""
    # A class without labels has no threshold (NaN), so nothing is confidently of it; the margin
    # is for means that rounding puts above values that are all the same.
    confident = probabilities >= thresholds - ROUNDING
    chosen = np.where(confident, probabilities, -1.0).argmax(axis=1)
    return np.where(confident.any(axis=1), chosen, -1)


def find_multi_label_issues(
    probabilities: npt.NDArray[np.floating], labels: npt.NDArray[np.bool_]
) -> list[tuple[int, LabelIssue]]:
    """Return probable errors in multi-label data: the class, and the issue with it.

    Each class is a question of its own, whether an image has it; ``given`` and ``suggested`` are 0
    for no and 1 for yes.

    Args:
        probabilities: ``float[N, K]``, each class by itself.
        labels: ``bool[N, K]``.
    """
    issues: list[tuple[int, LabelIssue]] = []
    for index in range(probabilities.shape[1]):
        column = probabilities[:, index]
        both = np.stack([1 - column, column], axis=1)
        issues += [
            (index, issue) for issue in find_label_issues(both, labels[:, index].astype(np.intp))
        ]
    return sorted(issues, key=lambda found: found[1].margin)


def normalised_margins(
    probabilities: npt.NDArray[np.floating], labels: npt.NDArray[np.integer]
) -> Floats:
    """Return the margin of the label over the best other class, from 0 (sure not) to 1, ``[N]``."""
    others = probabilities.astype(np.float64)
    images = np.arange(len(labels))
    own = probabilities[images, labels]
    others[images, labels] = -np.inf
    return np.asarray((own - others.max(axis=1) + 1) / 2)


def worst_mistakes(right: npt.NDArray[np.bool_], nll: Floats, count: int) -> npt.NDArray[np.intp]:
    """Return the positions of wrongly answered images, those of the least probable truth first.

    Args:
        right: whether each image was answered right, ``bool[N]``.
        nll: negative logarithm of the probability of the truth, ``float64[N]``.
        count: at most this many.
    """
    order = np.argsort(-nll, kind="stable")
    return order[~right[order]][:count]
