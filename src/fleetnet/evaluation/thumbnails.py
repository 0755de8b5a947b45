"""Thumbnails as data URIs inside a page."""

from __future__ import annotations

import base64
import io
from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
from PIL import Image

from fleetnet.data.sources import Source
from fleetnet.errors import ImageError
from fleetnet.evaluation.heatmap import overlay
from fleetnet.images import Pixels
from fleetnet.preprocess import Preprocess

SIDE = 192
"""Longest side of a thumbnail in pixels."""
QUALITY = 80

Explain = Callable[[npt.NDArray[np.uint8], Sequence[int]], npt.NDArray[np.float32]]
"""Maps ``uint8[N, H, W, 3]`` and a class for each to heat from 0 to 1, ``float32[N, H, W]``."""


class Thumbnail(NamedTuple):
    """An image as the network sees it, as data URIs."""

    sample: int
    """Its index in the source."""
    chosen: int
    """The class that was explained."""
    image: str
    heat: str | None
    """The same image under the heat map of a class, if that was asked for."""


def thumbnails(
    source: Source,
    preprocess: Preprocess,
    wanted: Sequence[tuple[int, int]],
    explain: Explain | None = None,
) -> Iterator[Thumbnail]:
    """Read images again and yield a thumbnail of each; unreadable ones are left out.

    Args:
        source: of the images.
        preprocess: of the network.
        wanted: for each image its index in the source and the class to explain.
        explain: computes the heat map of that class; no heat maps if None.
    """
    found = [
        (index, chosen, pixels)
        for index, chosen in wanted
        if (pixels := _seen(source, preprocess, index)) is not None
    ]
    if not found:
        return
    heats: Sequence[npt.NDArray[np.float32] | None] = [None] * len(found)
    if explain is not None:
        pictures = np.stack([pixels for _, _, pixels in found])
        heats = list(explain(pictures, [chosen for _, chosen, _ in found]))
    for (index, chosen, pixels), heat in zip(found, heats, strict=True):
        over = None if heat is None else data_uri(overlay(pixels, heat))
        yield Thumbnail(index, chosen, data_uri(pixels), over)


def _seen(source: Source, preprocess: Preprocess, index: int) -> Pixels | None:
    try:
        return preprocess.from_bytes(source.read(index))
    except ImageError:
        return None


def data_uri(pixels: Pixels) -> str:
    """Return ``uint8[H, W, 3]`` as a small JPEG in a data URI."""
    image = Image.fromarray(pixels)
    image.thumbnail((SIDE, SIDE), Image.Resampling.BICUBIC)
    buffer = io.BytesIO()
    image.save(buffer, "JPEG", quality=QUALITY, optimize=True)
    return "data:image/jpeg;base64," + base64.b64encode(buffer.getvalue()).decode("ascii")
