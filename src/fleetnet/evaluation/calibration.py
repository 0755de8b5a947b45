"""Calibration: how well probabilities match the share that is right."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from fleetnet.evaluation.metrics import Floats, divided, plain

BINS = 15
"""As in Guo et al. (2017)."""


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
