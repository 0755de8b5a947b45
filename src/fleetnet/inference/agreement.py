"""Do two engines give the same answers? Counted, not assumed."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from fleetnet.bundle import Activation

Probabilities = npt.NDArray[np.float32]


@dataclass(frozen=True)
class Agreement:
    """How far some answers are from those that they should be.

    Attributes:
        images: how many were compared.
        top1: share of the images whose most probable class is the same; where an image has any
            number of classes, the share of all yes-or-no answers that are.
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
        same = float(((expected >= 0.5) == (found >= 0.5))[np.isfinite(found)].sum() / found.size)
        mean = difference.mean()
    else:
        wanted, got = expected.argmax(1), found.argmax(1)
        finite = np.isfinite(found).all(1)
        same = float(((wanted == got) & finite).mean())
        mean = np.stack([difference[images, wanted], difference[images, got]]).mean()
    return Agreement(len(expected), same, float(mean), float(difference.max()))
