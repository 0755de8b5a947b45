"""What each answer loses: negative log-likelihood and Brier score, with its confidence."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from fleetnet.evaluation.calibration import reliability
from fleetnet.evaluation.metrics import Floats, chunks, predicted_classes

Labels = npt.NDArray[np.integer] | npt.NDArray[np.bool_]
"""``int[N]`` of single-label data, ``bool[N, K]`` of multi-label data."""


@dataclass(frozen=True)
class Losses:
    """Losses of each image's probabilities, from which all probability figures are computed.

    Attributes:
        confidence: probability of the answer, ``float64[M]``. For single-label data the answer is
            the most probable class (``M = N``), for multi-label data each class is one
            (``M = N * K``).
        right: whether that answer is right, ``bool[M]``.
        nll: negative logarithm of the probability of the truth, ``float64[N]``; for multi-label
            data the mean over the classes, the binary cross-entropy.
        brier: squared distance of the probabilities from the truth, ``float64[N]``: for
            single-label data the sum over the classes, from 0 to 2 (Brier 1950); for multi-label
            data their mean, from 0 to 1.
    """

    confidence: Floats
    right: npt.NDArray[np.bool_]
    nll: Floats
    brier: Floats

    @property
    def ece(self) -> float:
        """Expected calibration error."""
        return reliability(self.confidence, self.right).ece


def losses(logits: npt.NDArray[np.floating], labels: Labels, temperature: float = 1.0) -> Losses:
    """Compute :class:`Losses` of ``float[N, K]`` logits divided by ``temperature``.

    Probabilities are the softmax where labels are ``int[N]``, the sigmoid where they are
    ``bool[N, K]``.
    """
    of_chunk = _single_losses if labels.ndim == 1 else _multi_losses
    parts = scaled_chunks(logits, labels, temperature)
    found = [of_chunk(scaled, truth) for scaled, truth in parts]
    return Losses(
        confidence=np.concatenate([chunk.confidence for chunk in found]),
        right=np.concatenate([chunk.right for chunk in found]),
        nll=np.concatenate([chunk.nll for chunk in found]),
        brier=np.concatenate([chunk.brier for chunk in found]),
    )


def scaled_chunks(
    logits: npt.NDArray[np.floating], labels: Labels, temperature: float
) -> Iterator[tuple[Floats, Labels]]:
    """Yield scaled logits in double precision with their labels, in chunks of bounded size."""
    for rows in chunks(*logits.shape):
        yield logits[rows].astype(np.float64) / temperature, labels[rows]


def _single_losses(logits: Floats, labels: Labels) -> Losses:
    logarithms = log_softmax(logits)
    probabilities = np.exp(logarithms)
    images = np.arange(len(labels))
    own = probabilities[images, labels]
    predicted = predicted_classes(logits)
    return Losses(
        confidence=probabilities[images, predicted],
        right=predicted == labels,
        nll=-logarithms[images, labels],
        brier=(probabilities**2).sum(axis=1) - 2 * own + 1,
    )


def _multi_losses(logits: Floats, labels: Labels) -> Losses:
    probabilities = sigmoid(logits)
    cross_entropy = np.logaddexp(0, logits) - labels * logits
    return Losses(
        confidence=probabilities.ravel(),
        right=labels.astype(bool).ravel(),
        nll=cross_entropy.mean(axis=1),
        brier=((probabilities - labels) ** 2).mean(axis=1),
    )


def log_softmax(logits: Floats) -> Floats:
    """Return the logarithms of the probabilities along the last axis."""
    shifted = logits - logits.max(axis=-1, keepdims=True)
    return np.asarray(shifted - np.log(np.exp(shifted).sum(axis=-1, keepdims=True)))


def sigmoid(logits: Floats) -> Floats:
    """Return ``1 / (1 + exp(-x))`` without overflow."""
    return np.asarray(np.exp(-np.logaddexp(0, -logits)))
