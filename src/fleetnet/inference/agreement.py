"""Comparing the answers of two engines."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from fleetnet.bundle import Activation
from fleetnet.inference.probabilities import Probabilities


@dataclass(frozen=True)
class Agreement:
    """How far some answers are from the expected ones.

    Attributes:
        images: how many were compared.
        top1: share of the images with the same answer, see :func:`same_answers`.
        mean_difference: of the probabilities, over all images and classes.
        max_difference: the largest of them.
    """

    images: int
    top1: float
    mean_difference: float
    max_difference: float


def agreement(expected: Probabilities, found: Probabilities, activation: Activation) -> Agreement:
    """Compare probabilities, ``float32[N, K]`` each; an answer that is not a number never agrees.

    The mean is over two classes of each image, the expected one and the one found. Over all of a
    thousand classes, any difference would vanish.
    """
    difference = np.abs(expected.astype(np.float64) - found)
    images = np.arange(len(expected))
    if activation == "sigmoid":
        mean = difference.mean()
    else:
        wanted, got = expected.argmax(1), found.argmax(1)
        mean = np.stack([difference[images, wanted], difference[images, got]]).mean()
    same = same_answers(expected, found, activation, boundary=0.5)
    return Agreement(len(expected), same, float(mean), float(difference.max()))


def same_answers(
    expected: npt.NDArray[np.float32],
    found: npt.NDArray[np.float32],
    activation: Activation,
    *,
    boundary: float,
) -> float:
    """Return the share of the images that get the same answer.

    With ``softmax``, that is the same top-1. With ``sigmoid``, every label is a separate
    classifier, which says yes from ``boundary`` upwards, and the share is that of the label with
    the least agreement. The share over all labels would be too favourable: with many labels, nearly
    all answers are "no".

    Args:
        expected: logits or probabilities, ``float32[N, K]``.
        found: the same, of the engine that is compared; what is not a number never agrees.
        activation: of both.
        boundary: between no and yes, 0 for logits and 0.5 for probabilities.
    """
    numbers = np.isfinite(found)
    if activation == "softmax":
        return float(((found.argmax(1) == expected.argmax(1)) & numbers.all(1)).mean())
    return float((((found >= boundary) == (expected >= boundary)) & numbers).mean(0).min())
