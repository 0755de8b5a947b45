"""Which images to measure a network on, and what a reader of the figures has to know of them."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from fleetnet.amounts import count
from fleetnet.data.contents import Contents
from fleetnet.data.sources import SampleTable, Source, fingerprint, notes_of
from fleetnet.data.sources.samples import TEST
from fleetnet.data.sources.split_names import IS_LEFT_OUT
from fleetnet.data.splits import Indices, split
from fleetnet.errors import DataError, ImageError, unknown
from fleetnet.evaluation.overlap import UNKNOWN, Overlap, find_overlap
from fleetnet.reporting import Advance, Note

SPLITS = ("auto", "all", "train", "val", "test")
SEEN = "These are all images, those that the network was trained on among them."
TRAINED_ON = "These are images that the network was trained on."


@dataclass(frozen=True)
class Selection:
    """Images to measure on.

    Attributes:
        indices: of the images, in their source.
        description: what to call them.
        seen: which of them the network was trained on, in words; empty if none.
        overlap: with the images that it was trained on.
    """

    indices: Indices
    description: str
    seen: str
    overlap: Overlap


def check_split(name: str) -> None:
    """Refuse a split that there is not in any data.

    Raises:
        DataError: it is none of :data:`SPLITS`.
    """
    if name not in SPLITS:
        raise unknown("split", name, SPLITS, DataError)


def select_images(
    source: Source,
    name: str,
    trained_on: Mapping[str, Any],
    trained_images: Contents,
    *,
    advance: Advance = lambda _: None,
) -> Selection:
    """Return the images of a split, less those that the network was trained on.

    Args:
        source: of the images.
        name: ``all``, ``train``, ``val``, ``test``, or ``auto``: the held-out images of the very
            data that the network was trained on, all images of any other. ``auto``, ``val`` and
            ``test`` leave out images that it was trained on.
        trained_on: what is known of that data, as checkpoints and bundles keep it.
        trained_images: the contents of the images that it was trained on; empty if not known.
        advance: called with a count as images are compared.

    Raises:
        DataError: there is no such split, or the network was trained on all of it.
    """
    check_split(name)
    indices, description, seen = _split(source, name, trained_on)
    overlap = find_overlap(
        source, indices, trained_images, leave_out=name not in ("all", "train"), advance=advance
    )
    return Selection(
        overlap.indices,
        overlap.describe(description),
        seen if overlap.trained_on is None else overlap.sentence,
        overlap,
    )


def _split(source: Source, name: str, trained_on: Mapping[str, Any]) -> tuple[Indices, str, str]:
    everything = np.arange(len(source.samples))
    same = fingerprint(source) == trained_on.get("fingerprint")
    if name == "all" or (name == "auto" and not same):
        description = f"all {count(len(everything), 'image')} of {source.description}"
        return everything, description, SEEN if same else UNKNOWN
    if name == "test":
        return _test(source)
    settings = (trained_on["val_fraction"], trained_on["seed"]) if same else ()
    parts = split(source, *settings)
    if name == "train":
        description = f"the {count(len(parts.train), 'training image')} of {source.description}"
        return parts.train, description, TRAINED_ON if same else UNKNOWN
    description = f"the {count(len(parts.val), 'held-out image')} of {source.description}"
    return parts.val, description, "" if same else UNKNOWN


def _test(source: Source) -> tuple[Indices, str, str]:
    indices = np.flatnonzero(SampleTable.of(source.samples).splits == TEST)
    if not len(indices):
        left_out = [note for note in notes_of(source) if IS_LEFT_OUT in note]
        if left_out:
            raise DataError(
                f"{source.description} has no test split that can be measured: "
                f"{'; '.join(left_out)}",
                arguments=[
                    name for note in left_out if isinstance(note, Note) for name in note.arguments
                ],
            )
        raise DataError(
            f"{source.description} has no test split: measure all of it with split='all', or give "
            "only the images to test on",
            arguments=["split"],
        )
    return indices, f"the {count(len(indices), 'test image')} of {source.description}", ""


def sample_of(source: Source, most: int) -> Iterator[bytes]:
    """Yield the bytes of at most so many images from all over the data.

    Classes often follow one another, so the first images would be of one class.
    """
    images = len(source.samples)
    for index in np.unique(np.linspace(0, images - 1, min(images, most), dtype=int)):
        with contextlib.suppress(ImageError):
            yield source.read(int(index))
