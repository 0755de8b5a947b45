"""Heat maps drawn over images, in colours whose lightness grows with the heat."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from fleetnet.images import Pixels

STRENGTH = 0.65
"""Share of the colour where the heat is greatest."""

_COLOURS = np.array(
    [
        (0, 0, 4),
        (31, 12, 72),
        (85, 15, 109),
        (136, 34, 106),
        (186, 54, 85),
        (227, 89, 51),
        (249, 140, 10),
        (249, 201, 50),
        (252, 255, 164),
    ],
    np.float64,
)
"""Nine colours of the perceptual scale 'inferno' (van der Walt and Smith 2015, CC0)."""


def colours(heat: npt.NDArray[np.floating]) -> Pixels:
    """Map ``float[...]`` from 0 to 1 to colours, ``uint8[..., 3]``."""
    stops = np.linspace(0, 1, len(_COLOURS))
    channels = [np.interp(heat, stops, _COLOURS[:, channel]) for channel in range(3)]
    return np.stack(channels, axis=-1).round().astype(np.uint8)


def overlay(pixels: Pixels, heat: npt.NDArray[np.floating]) -> Pixels:
    """Draw heat over an image; where there is none the image is unchanged.

    Args:
        pixels: ``uint8[..., H, W, 3]``.
        heat: from 0 to 1, ``float[..., H, W]``.

    Returns:
        ``uint8[..., H, W, 3]``.
    """
    share = STRENGTH * np.clip(heat, 0, 1)[..., None]
    mixed = (1 - share) * pixels + share * colours(heat)
    return np.asarray(mixed.round(), np.uint8)
