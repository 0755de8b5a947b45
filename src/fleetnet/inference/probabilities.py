"""From logits to probabilities."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from fleetnet.bundle import Activation

Probabilities = npt.NDArray[np.float32]
"""``float32[..., K]``, one for each class."""


def to_probabilities(
    logits: npt.NDArray[np.floating], activation: Activation, temperature: float = 1.0
) -> Probabilities:
    """Return the probabilities of ``float[..., K]`` logits, as a bundle's manifest defines them."""
    # In double precision, as the softmax is: a temperature of 1 changes no bit.
    scaled = logits.astype(np.float64) / temperature
    return softmax(scaled) if activation == "softmax" else sigmoid(scaled)


def softmax(logits: npt.NDArray[np.floating]) -> Probabilities:
    """Return the probabilities along the last axis, computed in double precision."""
    shifted = logits.astype(np.float64) - logits.max(axis=-1, keepdims=True)
    powers = np.exp(shifted)
    probabilities: npt.NDArray[np.float64] = powers / powers.sum(axis=-1, keepdims=True)
    return probabilities.astype(np.float32)


def sigmoid(logits: npt.NDArray[np.floating]) -> Probabilities:
    """Return each logit's independent probability, computed in double precision."""
    negated = -logits.astype(np.float64)
    return np.asarray(np.exp(-np.logaddexp(0, negated)), np.float32)
