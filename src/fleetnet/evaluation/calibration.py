"""Calibration: how well probabilities match the share that is right, and temperature scaling."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from fleetnet.errors import DataError
from fleetnet.evaluation.metrics import Floats, chunks, divided, plain, predicted_classes

BINS = 15
"""As in Guo et al. (2017)."""
COLDEST, HOTTEST = 0.01, 100.0
"""The range of temperatures that are searched."""

Labels = npt.NDArray[np.integer] | npt.NDArray[np.bool_]
"""``int[N]`` of single-label data, ``bool[N, K]`` of multi-label data."""


@dataclass(frozen=True)
class Reliability:
    """Accuracy by equal-width bins ``(low, high]`` of probability.

    Attributes:
        counts: answers in each bin, ``int64[B]``.
        confidence: their mean probability, ``float64[B]``, NaN where there are none.
        accuracy: the share that was right, ``float64[B]``, NaN where there are none.
        ece: expected calibration error: the gap between these two, averaged over all answers.
    """

    counts: npt.NDArray[np.int64]
    confidence: Floats
    accuracy: Floats
    ece: float

    def to_json(self) -> list[dict[str, Any]]:
        """Return a row a bin as JSON values."""
        bins = len(self.counts)
        return [
            {
                "low": index / bins,
                "high": (index + 1) / bins,
                "count": int(self.counts[index]),
                "confidence": plain(self.confidence[index]),
                "accuracy": plain(self.accuracy[index]),
            }
            for index in range(bins)
        ]


def reliability(confidence: Floats, right: npt.NDArray[np.bool_], bins: int = BINS) -> Reliability:
    """Bin answers by their probability and compute the expected calibration error.

    Guo et al. 2017, section 2, equations 1 to 3.

    Args:
        confidence: probability of each answer, ``float64[N]``.
        right: whether each answer is right, ``bool[N]``.
        bins: how many.
    """
    index = np.clip(np.ceil(confidence * bins).astype(np.intp) - 1, 0, bins - 1)
    counts = np.bincount(index, minlength=bins)
    confidences = np.bincount(index, confidence, bins)
    rights = np.bincount(index, right, bins)
    return Reliability(
        counts=counts,
        confidence=divided(confidences, counts),
        accuracy=divided(rights, counts),
        ece=float(np.abs(rights - confidences).sum() / max(len(confidence), 1)),
    )


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
    found = [of_chunk(scaled, truth) for scaled, truth in _chunks(logits, labels, temperature)]
    return Losses(
        confidence=np.concatenate([chunk.confidence for chunk in found]),
        right=np.concatenate([chunk.right for chunk in found]),
        nll=np.concatenate([chunk.nll for chunk in found]),
        brier=np.concatenate([chunk.brier for chunk in found]),
    )


def _chunks(
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


def fit_temperature(logits: npt.NDArray[np.floating], labels: Labels) -> float:
    """Return the ``T`` for which ``logits / T`` have the least negative log-likelihood.

    Temperature scaling, Guo et al. 2017, section 4.2. The negative log-likelihood is a convex
    function of ``1 / T``, so its slope has one zero; Newton's method finds it, inside a bracket
    that each step narrows. Ranks do not change, so top-1 does not either.

    Args:
        logits: ``float[N, K]``, of images that the network was not trained on.
        labels: ``int[N]`` for softmax, ``bool[N, K]`` for sigmoid.

    Returns:
        ``T``, from 0.01 to 100; 1 if every answer is right, because then the likelihood grows
        without limit as ``T`` falls, which says nothing about new images.

    Raises:
        DataError: no images, or logits that are not finite numbers.
    """
    if not len(labels):
        raise DataError("no images to calibrate with")
    if not np.isfinite(logits).all():
        raise DataError("cannot calibrate: the network's logits are not all finite numbers")
    if _all_right(logits, labels):
        return 1.0
    low, high, inverse = 1 / HOTTEST, 1 / COLDEST, 1.0
    for _ in range(100):
        slope, curvature = _slope(logits, labels, inverse)
        if slope > 0:
            high = inverse
        else:
            low = inverse
        step = inverse - slope / curvature if curvature > 0 else 0.0
        if abs(step - inverse) <= 1e-9 * inverse or high - low <= 1e-9 * high:
            break
        # Outside the bracket, halve it by ratio, as temperatures are compared.
        inverse = step if low < step < high else math.sqrt(low * high)
    return 1 / inverse


def _all_right(logits: npt.NDArray[np.floating], labels: Labels) -> bool:
    if labels.ndim == 1:
        own = logits[np.arange(len(labels)), labels.astype(np.intp)]
        return bool((own >= logits.max(axis=1)).all())
    return bool(((logits >= 0) == labels.astype(bool)).all())


def _slope(logits: npt.NDArray[np.floating], labels: Labels, inverse: float) -> tuple[float, float]:
    """Return the first two derivatives of the summed loss with respect to ``1 / T``."""
    first = second = 0.0
    for values, truth in _chunks(logits, labels, 1.0):
        if truth.ndim == 1:
            values = values - values.max(axis=1, keepdims=True)
            probabilities = np.exp(log_softmax(values * inverse))
            mean = (probabilities * values).sum(axis=1)
            first += float((mean - values[np.arange(len(truth)), truth]).sum())
            second += float((probabilities * (values - mean[:, None]) ** 2).sum())
        else:
            probabilities = sigmoid(values * inverse)
            first += float(((probabilities - truth) * values).sum())
            second += float((probabilities * (1 - probabilities) * values**2).sum())
    return first, second


@dataclass(frozen=True)
class TemperatureFit:
    """The effect of a temperature on images that it was not fitted to.

    Attributes:
        temperature: fitted to all images; the one to use.
        images: how many there are.
        ece_before, ece_after: expected calibration error without it and, cross-fitted, with it.
        nll_before, nll_after: the same for the mean negative log-likelihood.
    """

    temperature: float
    images: int
    ece_before: float
    ece_after: float
    nll_before: float
    nll_after: float

    def to_json(self) -> dict[str, Any]:
        """Return the figures as JSON values."""
        return dict(vars(self))


def cross_fit(
    logits: npt.NDArray[np.floating], labels: Labels, seed: int = 0
) -> TemperatureFit | None:
    """Fit a temperature, and measure its effect by cross-fitting.

    The images are halved at random; each half is scaled by the temperature that was fitted to the
    other, so no image is used to test a temperature that it was used to fit.

    Returns:
        None where there are too few images to halve, or logits that are not finite.
    """
    if len(labels) < 4 or not np.isfinite(logits).all():
        return None
    shuffled = np.random.default_rng(seed).permutation(len(labels))
    halves = np.array_split(shuffled, 2)
    scaled = np.empty(logits.shape, np.float32)
    for fitted, tested in (halves, halves[::-1]):
        scaled[tested] = logits[tested] / fit_temperature(logits[fitted], labels[fitted])
    before, after = losses(logits, labels), losses(scaled, labels)
    return TemperatureFit(
        temperature=fit_temperature(logits, labels),
        images=len(labels),
        ece_before=before.ece,
        ece_after=after.ece,
        nll_before=float(before.nll.mean()),
        nll_after=float(after.nll.mean()),
    )
