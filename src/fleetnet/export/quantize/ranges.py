"""Ranges of activations with the least error, in place of the smallest and largest value seen.

A wide range rounds everything coarsely for the sake of few values; a narrow one cuts these off. The
sum of both errors, as squares, has its minimum between them.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import numpy.typing as npt
import onnx

from fleetnet.export.quantize.values import values_of
from fleetnet.inference.engines import Pixels
from fleetnet.reporting import Advance

TOLD = "ranges of least error"
"""What a manifest says of it."""
IMAGES = 64
"""At most so many are looked at."""
STEPS = 255
"""Of unsigned 8 bits."""
_BINS = 2048
_NARROWEST = 0.2
"""Share of either end that is tried at least."""
_TRIED = 81
Range = tuple[float, float]
Floats = npt.NDArray[np.float64]


def narrowed(
    graph: onnx.ModelProto,
    extremes: Mapping[str, Range],
    pixels: Pixels,
    advance: Advance = lambda _: None,
) -> dict[str, Range]:
    """Return the range with the least mean squared error of each value.

    Args:
        graph: in fp32.
        extremes: smallest and largest value, by the value's name in the graph.
        pixels: real images, ``uint8[N, crop, crop, 3]``, of which :data:`IMAGES` are looked at.
        advance: called with a count as images are done.

    Returns:
        Ranges by the same names; each has 0 in it, and none is wider than its extremes and 0.

    Raises:
        FleetnetError: ONNX Runtime cannot run the graph.
    """
    whole = {name: (min(low, 0.0), max(high, 0.0)) for name, (low, high) in extremes.items()}
    counts = {name: np.zeros(_BINS) for name, (low, high) in whole.items() if low < high}
    # A graph cannot be asked for no value at all.
    for values, images in values_of(graph, counts, pixels[:IMAGES]) if counts else ():
        for name, seen in counts.items():
            low, high = whole[name]
            # What is zero already is exact in every range, and often half of all.
            found = values[name][values[name] != 0]
            bins = ((found - low) * (_BINS / (high - low))).astype(np.int32)
            seen += np.bincount(bins.clip(0, _BINS - 1), minlength=_BINS)
        advance(images)
    return {
        name: _least(counts[name], *ends) if name in counts and counts[name].any() else ends
        for name, ends in whole.items()
    }


def _least(counts: Floats, low: float, high: float) -> Range:
    """Return the ends of the range with the least error of values that were counted in bins."""
    width = (high - low) / _BINS
    shares = np.linspace(_NARROWEST, 1, _TRIED)
    lows, highs = (end * shares if end else np.zeros(1) for end in (low, high))
    lower, upper = np.meshgrid(lows, highs, indexing="ij")
    sums = _Sums(counts, np.asarray(low + (np.arange(_BINS) + 0.5) * width, np.float64))
    first, last = (
        np.rint((ends - low) / width).astype(np.int64).clip(0, _BINS) for ends in (lower, upper)
    )
    cut = sums.squares(np.zeros_like(first), first, lower) + sums.squares(
        last, np.full_like(last, _BINS), upper
    )
    # Of a step, an error that is as often one as another has a twelfth of its square.
    rounded = sums.counts(first, last) * ((upper - lower) / STEPS) ** 2 / 12
    best = np.unravel_index((cut + rounded).argmin(), cut.shape)
    return float(lower[best]), float(upper[best])


class _Sums:
    """Of what is between two bins, at once for many pairs of these."""

    def __init__(self, counts: Floats, middles: Floats) -> None:
        self._powers = [
            np.concatenate([[0.0], np.cumsum(counts * middles**power)]) for power in range(3)
        ]

    def counts(self, first: npt.NDArray[np.int64], last: npt.NDArray[np.int64]) -> Floats:
        """Return how many values there are."""
        return np.asarray(self._powers[0][last] - self._powers[0][first])

    def squares(
        self, first: npt.NDArray[np.int64], last: npt.NDArray[np.int64], end: Floats
    ) -> Floats:
        """Return the sum of the squares of their distances to an end."""
        number, total, square = (sums[last] - sums[first] for sums in self._powers)
        return np.asarray(square - 2 * end * total + end**2 * number)
