"""The numerical rank of features.

The features of a layer are a matrix with a row for each channel and a column for each place. Its
numerical rank at a threshold is the number of its singular values that are above the threshold
times the largest one.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from fleetnet.errors import FleetnetError

LEAST_THRESHOLD = 1e-6
"""In double precision, a matrix times its transpose has eigenvalues that are right to some 1e-13 of
the largest one, and so singular values to 3e-7 of theirs: what is smaller cannot be told from 0."""
MOST_THRESHOLD = 0.5


def check_thresholds(thresholds: Sequence[float]) -> None:
    """Refuse thresholds at which ranks cannot be told.

    Raises:
        FleetnetError: one is too small or too large, or there is none.
    """
    for threshold in thresholds:
        if not LEAST_THRESHOLD <= threshold <= MOST_THRESHOLD:
            raise FleetnetError(
                f"threshold='{threshold:g}' is a share of the largest singular value, from "
                f"{LEAST_THRESHOLD:g}, below which rounding decides, to {MOST_THRESHOLD:g}",
                arguments=["threshold"],
            )
    if not thresholds or len(set(thresholds)) < len(thresholds):
        raise FleetnetError("threshold= must be given once for each value", arguments=["threshold"])


def numerical_ranks(features: Tensor, thresholds: Sequence[float]) -> Tensor:
    """Return the ranks of a batch of matrices.

    The singular values are the square roots of the eigenvalues of each matrix times its transpose,
    which is small where there are many more columns than rows, and many of which are solved at
    once. That squares them, so it is computed in double precision.

    Args:
        features: ``float[B, C, N]`` of finite numbers; a matrix of zeros has rank 0.
        thresholds: shares of the largest singular value.

    Returns:
        ``int64[B, T]``.
    """
    exact = features.double()
    eigenvalues = torch.linalg.eigvalsh(exact @ exact.mT).clamp(min=0)
    singular = eigenvalues.sqrt()
    largest = singular[:, -1:]
    counts = [(singular > threshold * largest).sum(1) for threshold in thresholds]
    return torch.stack(counts, 1)
