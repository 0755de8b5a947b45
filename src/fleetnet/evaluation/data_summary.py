"""A summary of the evaluated data: counts, sizes and formats."""

from __future__ import annotations

import warnings
from collections import Counter
from dataclasses import dataclass

import numpy as np

from fleetnet.data.sources import Source
from fleetnet.data.splits import Indices
from fleetnet.errors import ImageError
from fleetnet.images import opened
from fleetnet.orientation import orientation_of, upright_size

SIZES_OF = 100
"""Images whose sizes are read: enough for an impression, and fast on a network disk."""


@dataclass(frozen=True)
class DataSummary:
    """A summary of all images of a source and of those evaluated.

    Attributes:
        counts: for each class its name, images in the source, and images evaluated.
        sizes: width and height of some evaluated images, evenly spaced, ``int[M, 2]``.
        formats: of those images, each with its count, the most frequent first.
    """

    counts: tuple[tuple[str, int, int], ...]
    sizes: np.ndarray[tuple[int, int], np.dtype[np.int64]]
    formats: tuple[tuple[str, int], ...]


def summarise_data(source: Source, indices: Indices) -> DataSummary:
    """Count images by class, and read the sizes of some without decoding them."""
    every = Counter(label for sample in source.samples for label in sample.labels)
    evaluated = Counter(label for index in indices for label in source.samples[int(index)].labels)
    spread = indices[np.linspace(0, len(indices) - 1, min(SIZES_OF, len(indices))).astype(int)]
    headers = [header for index in spread if (header := _header(source, int(index)))]
    return DataSummary(
        counts=tuple(
            (name, every[label], evaluated[label]) for label, name in enumerate(source.classes)
        ),
        sizes=np.array([header[:2] for header in headers], np.int64).reshape(-1, 2),
        formats=tuple(Counter(header[2] for header in headers).most_common()),
    )


def _header(source: Source, index: int) -> tuple[int, int, str] | None:
    """Return width, height and format of an image; None if it cannot be read."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # nothing is decoded, so a large size is harmless
            with opened(source.read(index)) as image:
                width, height = upright_size(*image.size, orientation_of(image))
                return width, height, str(image.format)
    except ImageError:
        return None
    except Exception:  # Pillow's parsers may raise anything on hostile bytes
        return None
