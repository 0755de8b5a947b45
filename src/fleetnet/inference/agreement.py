"""Do two engines give the same answers? Counted, not assumed."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from fleetnet.bundle import Activation
from fleetnet.inference.probabilities import Probabilities


@dataclass(frozen=True)
class Agreement:
    """How far some answers are from those that they should be.

    Attributes:
        images: how many were compared.
        top1: share of the images with the same answer, see :func:`same_answers`.
        mean_difference: of the probabilities, over all images and classes.
        max_difference: the same, the largest.
    """

    images: int
    top1: float
    mean_difference: float
    max_difference: float


def agreement(expected: Probabilities, found: Probabilities, activation: Activation) -> Agreement:
    """Compare probabilities, ``float32[N, K]`` each; an answer that is no number agrees with none.

    The mean is over each image's two classes that matter most, the one expected and the one found,
    and not over all: over a thousand classes any difference would vanish.
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

    With ``softmax`` that is the same top-1. With ``sigmoid`` every label is a classifier of its
    own, which says yes from ``boundary`` upwards: the share is that of the label on whose answers
    the two agree least. All labels' answers taken together would flatter, because nearly all are
    "no" where labels are many.

    Args:
        expected: logits or probabilities, ``float32[N, K]``.
        found: the same of what is judged; what is not a number agrees with nothing.
        activation: of both.
        boundary: between no and yes, 0 for logits and 0.5 for probabilities.
    """
    numbers = np.isfinite(found)
    if activation == "softmax":
        return float(((found.argmax(1) == expected.argmax(1)) & numbers.all(1)).mean())
    return float((((found >= boundary) == (expected >= boundary)) & numbers).mean(0).min())
