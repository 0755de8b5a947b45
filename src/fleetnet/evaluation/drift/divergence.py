"""How far two distributions are apart, from how often each bin was hit."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

Counts = npt.NDArray[np.int64]
"""How many values fell into each bin, ``int64[B]``."""
_ADDED = 0.5


def stability_index(expected: Counts, found: Counts) -> float:
    """Return the population stability index, from 0 up: the symmetric Kullback–Leibler divergence.

    Half a value is added to each bin (Jeffreys' prior), so that an empty bin gives no infinity.
    Without drift its mean is about ``(B - 1) * (1 / expected.sum() + 1 / found.sum())``, which is
    how much of it is chance.
    """
    p, q = _shares(expected + _ADDED), _shares(found + _ADDED)
    return float(np.sum((p - q) * np.log(p / q)))


def jensen_shannon(expected: Counts, found: Counts) -> float:
    """Return the Jensen–Shannon divergence in bits: 0 if they are the same, 1 if nothing is shared.

    Lin (1991).
    """
    p, q = _shares(expected), _shares(found)
    middle = (p + q) / 2
    return max(float(_relative(p, middle) + _relative(q, middle)) / 2, 0.0)


def _shares(counts: npt.NDArray[np.generic]) -> npt.NDArray[np.float64]:
    values = np.asarray(counts, np.float64)
    shares: npt.NDArray[np.float64] = values / values.sum()
    return shares


def _relative(p: npt.NDArray[np.float64], q: npt.NDArray[np.float64]) -> np.float64:
    some = p > 0
    return np.float64(np.sum(p[some] * np.log2(p[some] / q[some])))
