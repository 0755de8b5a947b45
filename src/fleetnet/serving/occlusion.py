"""Where in an image a class is found, by hiding one place after another.

Occlusion sensitivity (Zeiler and Fergus 2014) asks only for answers, so it works with every engine
and precision, and shows what the served network does. Grad-CAM needs gradients and feature maps,
which no exported graph gives.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from fleetnet.bundle import Activation
from fleetnet.images import Pixels

MAX_GRID = 7
"""Places on a side: 49 images, about one for each cell of a MobileNetV2's last feature map."""
_SPREAD = 1.0
"""Width of what is hidden, in cells: a bell's deviation, so that no edge looks like a shape."""
_BLUR = 2.0
"""Over how many cells the colours of what takes its place run into each other."""

Numbers = npt.NDArray[np.float64]


def hidden(pixels: Pixels, grid: int, row: int) -> Pixels:
    """Return an image with each place of one row hidden, ``uint8[grid, H, W, 3]``.

    What is hidden takes the colours around it: a patch of one colour would be a shape itself.

    Args:
        pixels: ``uint8[H, W, 3]``.
        grid: places on a side.
        row: which row, from the top.
    """
    height, width = pixels.shape[:2]
    across = _bells(width, grid, _SPREAD)
    down = _bells(height, grid, _SPREAD)
    rest = _blurred(pixels, grid)
    masks = down[row][None, :, None] * across[:, None, :]
    mixed = pixels + masks[..., None] * (rest - pixels)
    return np.asarray(mixed.round(), np.uint8)


def log_odds(
    logits: npt.NDArray[np.floating], index: int, activation: Activation, temperature: float
) -> Numbers:
    """Return how sure a network is of a class, of logits ``[..., K]``.

    Probabilities near 1 hardly change, whatever is hidden; their log-odds do.
    """
    values = np.asarray(logits, np.float64) / temperature
    own = values[..., index]
    others = np.delete(values, index, axis=-1)
    if activation == "sigmoid" or others.shape[-1] == 0:
        return own
    highest = others.max(-1)
    return np.asarray(own - highest - np.log(np.exp(others - highest[..., None]).sum(-1)))


def heat_of(whole: Numbers, with_hidden: Numbers) -> Numbers:
    """Return how much each place speaks for a class, from 0 to 1 at the strongest.

    What speaks against the class is cut off, as in Grad-CAM.

    Args:
        whole: log-odds of the whole image.
        with_hidden: those with each place hidden, ``float64[grid, grid]``.
    """
    fall = np.maximum(whole - with_hidden, 0.0)
    strongest = fall.max()
    return fall / strongest if strongest > 0 else fall


def _bells(length: int, grid: int, spread: float) -> Numbers:
    """Return a bell around the middle of each cell, ``float64[grid, length]``, 1 at its top."""
    places = (np.arange(length) + 0.5) * grid / length
    middles = np.arange(grid) + 0.5
    return np.exp(-0.5 * ((places - middles[:, None]) / spread) ** 2)


def _blurred(pixels: Pixels, grid: int) -> Numbers:
    """Return an image of broad patches of colour that run into each other."""
    height, width = pixels.shape[:2]
    down, across = _bells(height, grid, _BLUR), _bells(width, grid, _BLUR)
    down_share = down / down.sum(1, keepdims=True)
    across_share = across / across.sum(1, keepdims=True)
    means = np.einsum("gh,hwc,kw->gkc", down_share, pixels.astype(np.float64), across_share)
    back_down, back_across = down / down.sum(0), across / across.sum(0)
    blurred: Numbers = np.einsum("gh,gkc,kw->hwc", back_down, means, back_across)
    return blurred
