"""An image explained by the served network itself: which of its places speak for a class."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from fleetnet.geometry import geometry
from fleetnet.images import OpenImage, Pixels
from fleetnet.inference.prediction import Score
from fleetnet.serving.batching import Outcome
from fleetnet.serving.errors import RequestError
from fleetnet.serving.loaded import LOGITS, LoadedModel
from fleetnet.serving.models import Version
from fleetnet.serving.occlusion import Numbers, heat_of, hidden, log_odds
from fleetnet.serving.requests import Picture, Prepared

Ask = Callable[[Sequence[Picture]], Awaitable[list[Outcome]]]
"""Computes images together, within the limits and the deadline of a request."""


class Frame(NamedTuple):
    """The part of an upright image that the network sees, in shares of its width and height."""

    left: float
    top: float
    right: float
    bottom: float


@dataclass(frozen=True, slots=True)
class Explanation:
    """Where in an image a class is found.

    Attributes:
        model: that answered, and its version and bundle, as in a result.
        score: the class, and its probability in the whole image.
        lowest: its probability with the place hidden that lowers it most.
        heat: how much each place speaks for the class, from 0 to 1, ``float64[grid, grid]``.
        frame: over which part of the image the places are spread.
    """

    model: str
    version: str
    bundle: str
    score: Score
    lowest: float
    heat: Numbers
    frame: Frame


async def explain(
    version: Version, picture: Picture, index: int | None, grid: int, ask: Ask
) -> Explanation:
    """Explain an image, in as many requests as there are rows of places, and one.

    Args:
        version: that is asked.
        picture: the image.
        index: of the class; None for the most probable one.
        grid: places on a side.
        ask: computes images.

    Raises:
        ImageError: the image cannot be read.
        RequestError: there is no such class.
    """
    loaded = version.loaded
    if index is not None and not 0 <= index < len(loaded.classes):
        raise RequestError(
            f"there is no class {index}: the model '{version.model}' has 0 to "
            f"{len(loaded.classes) - 1}"
        )
    pixels = await asyncio.to_thread(loaded.prepare, picture, watched=False)
    frame = await asyncio.to_thread(frame_of, loaded, picture)
    (whole,) = await _logits(ask, [pixels])
    if index is None:
        index = int(np.argmax(whole))
    rows = []
    for row in range(grid):
        masked = await asyncio.to_thread(hidden, pixels, grid, row)
        rows.append(await _logits(ask, masked))
    return _explanation(version, index, whole, np.stack(rows), frame)


async def _logits(ask: Ask, images: Sequence[Pixels] | Pixels) -> Numbers:
    outcomes = await ask([image.view(Prepared) for image in images])
    return np.stack([outcome.rows[LOGITS] for outcome in outcomes]).astype(np.float64)


def _explanation(
    version: Version, index: int, whole: Numbers, rows: Numbers, frame: Frame
) -> Explanation:
    loaded = version.loaded
    classifier = loaded.classifier
    odds = log_odds(rows, index, classifier.activation, classifier.temperature)
    at_first = log_odds(whole, index, classifier.activation, classifier.temperature)
    least = rows[np.unravel_index(np.argmin(odds), odds.shape)]
    before, lowest = (
        float(classifier.probabilities(logits.astype(np.float32))[index])
        for logits in (whole, least)
    )
    return Explanation(
        model=version.model,
        version=version.version,
        bundle=loaded.hash,
        score=Score(loaded.classes[index], index, before),
        lowest=min(before, lowest),
        heat=heat_of(at_first, odds),
        frame=frame,
    )


def frame_of(loaded: LoadedModel, picture: Picture) -> Frame:
    """Return which part of a picture the network sees.

    Raises:
        ImageError: it cannot be read.
    """
    preprocess = loaded.classifier.preprocess
    if isinstance(picture, bytes):
        image = OpenImage(picture, preprocess.sample_bits, max_pixels=loaded.max_pixels)
        width, height = image.width, image.height
    else:
        height, width = picture.shape[:2]
    crop = preprocess.crop
    size, offset = geometry(width, height, preprocess.resize, crop, preprocess.interpolation)
    left, top = (start / side for start, side in zip(offset, size, strict=True))
    right, bottom = ((start + crop) / side for start, side in zip(offset, size, strict=True))
    return Frame(left, top, right, bottom)
