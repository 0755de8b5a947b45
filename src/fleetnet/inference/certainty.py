"""How certain a network is of an image, as one number, by which answers are rejected."""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt

from fleetnet.bundle import Certainty
from fleetnet.inference.probabilities import softmax

SCORES: tuple[Certainty, ...] = ("energy", "max-logit", "probability")


def certainty(
    logits: npt.NDArray[np.floating], score: Certainty, temperature: float = 1.0
) -> npt.NDArray[np.float32]:
    """Return the scores of ``float[..., K]`` logits, ``float32[...]``; higher is more certain.

    Computed in double precision, as every host does.

    Args:
        logits: as the network gives them, before the temperature.
        score: ``energy``: the logarithm of the sum of the logits' exponentials (the negative of
            the free energy, Liu et al. 2020); ``max-logit``: the largest logit; ``probability``:
            that of the most probable class.
        temperature: that the bundle divides by, for ``probability`` alone.
    """
    exact = logits.astype(np.float64)
    largest = exact.max(axis=-1)
    if score == "energy":
        # Infinite logits have no exponentials to add up: the largest is what there is.
        base = np.where(np.isinf(largest), 0.0, largest)
        with np.errstate(over="ignore", divide="ignore"):
            largest = base + np.log(np.exp(exact - base[..., None]).sum(axis=-1))
    elif score == "probability":
        with np.errstate(invalid="ignore"):  # infinite logits have no probabilities
            largest = softmax(exact / temperature).max(axis=-1)
    return np.asarray(largest, np.float32)


def judge(
    logits: npt.NDArray[np.floating], score: Certainty, threshold: float, temperature: float = 1.0
) -> tuple[bool, float]:
    """Return whether an image with logits ``float[K]`` is rejected, and its score."""
    found = float(certainty(logits, score, temperature))
    return is_rejected(found, threshold), found


def is_rejected(score: float, threshold: float) -> bool:
    """Tell whether an answer is rejected: its score is below the threshold, or is no number."""
    return math.isnan(score) or score < threshold
