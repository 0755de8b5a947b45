"""Made-up pictures for comparing engines if no real images are given.

Unlike noise, they resemble photographs: much more power in coarse structure than in fine (Field
1987: amplitude falls as one over frequency), correlated colours, flat areas and hard edges.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageDraw

Pixels = npt.NDArray[np.uint8]
MADE_UP = "made-up pictures"
"""Their name in the record of a comparison."""


def made_up_pictures(count: int, side: int) -> Pixels:
    """Draw different pictures, the same ones each time on one machine.

    Args:
        count: how many.
        side: of each, in pixels.

    Returns:
        ``uint8[count, side, side, 3]``.
    """
    return np.stack(
        [_picture(np.random.default_rng([side, number]), side) for number in range(count)]
    )


def _picture(rng: np.random.Generator, side: int) -> Pixels:
    image = Image.fromarray(_clouds(rng, side))
    pen = ImageDraw.Draw(image)
    for _ in range(rng.integers(0, 6)):
        corners = rng.integers(-side // 4, side + side // 4, (int(rng.integers(3, 6)), 2))
        colour = tuple(int(value) for value in rng.integers(0, 256, 3))
        if rng.random() < 0.5:
            pen.polygon([(int(x), int(y)) for x, y in corners], fill=colour)
        else:
            (left, right), (top, bottom) = np.sort(corners[:2].T)
            pen.ellipse((int(left), int(top), int(right), int(bottom)), fill=colour)
    return np.asarray(image)


def _clouds(rng: np.random.Generator, side: int) -> Pixels:
    """Return noise whose amplitude falls with frequency, with randomly mixed colours."""
    rows, columns = np.fft.fftfreq(side)[:, None], np.fft.rfftfreq(side)[None]
    frequency = np.hypot(rows, columns)
    frequency[0, 0] = 1 / side
    steepness = rng.uniform(0.8, 1.4)
    noise = np.fft.rfft2(rng.standard_normal((3, side, side))) / frequency**steepness
    planes = np.fft.irfft2(noise, s=(side, side))
    planes /= np.abs(planes).max(axis=(1, 2), keepdims=True)
    # Mostly brightness with a little colour, as in photographs.
    mixed = planes[:1] + rng.uniform(0, 0.6) * np.tensordot(rng.standard_normal((3, 3)), planes, 1)
    contrast, brightness = rng.uniform(40, 120), rng.uniform(60, 200)
    pixels = np.clip(brightness + contrast * mixed, 0, 255).astype(np.uint8)
    return np.ascontiguousarray(pixels.transpose(1, 2, 0))
