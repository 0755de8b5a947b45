"""Temperature scaling: fitting the temperature, and what it does for other images."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from fleetnet.errors import DataError
from fleetnet.evaluation.losses import Labels, log_softmax, losses, scaled_chunks, sigmoid

COLDEST, HOTTEST = 0.01, 100.0
"""The range of temperatures that are searched."""


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
    for values, truth in scaled_chunks(logits, labels, 1.0):
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
