"""The images that an exported network is verified with."""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

import numpy as np

from fleetnet.amounts import count
from fleetnet.data.sources import Source
from fleetnet.errors import DataError
from fleetnet.export.held_out import HeldOut, why_gone
from fleetnet.image_files import find_images
from fleetnet.inference.engines import Pixels
from fleetnet.inference.pictures import MADE_UP, made_up_pictures
from fleetnet.inference.verify import prepare
from fleetnet.labels import printable
from fleetnet.left_out import LeftOut
from fleetnet.preprocess import Preprocess
from fleetnet.training.checkpoint import Checkpoint

IMAGES = 64
"""Default of how many images export verifies with."""


def images_to_verify_with(
    trained: Checkpoint,
    images: Sequence[str],
    limit: int,
    held_out: HeldOut | None,
    left_out: LeftOut | None,
    *,
    made_up: bool,
) -> tuple[Pixels, str]:
    """Return ``uint8[N, crop, crop, 3]`` and what a record of a comparison calls them.

    Raises:
        DataError: none can be read, or there are none; see
            :func:`fleetnet.export.bundle.export_bundle`.
    """
    if limit < 1:
        raise DataError(f"cannot verify with {limit} images: at least one is needed")
    if images and not made_up:
        origin = printable(", ".join(Path(image).name or image for image in images))
        return prepare(find_images(images, left_out), trained.preprocess, limit), origin
    if held_out is None and (made_up or "fingerprint" not in trained.data):
        return _with_made_up(images, trained.preprocess, limit)
    if held_out is None:
        raise DataError(
            f"{why_gone(trained)}: give some to verify with, images=", arguments=["images"]
        )
    source, indices = held_out
    spread = indices[np.linspace(0, len(indices) - 1, min(limit, len(indices))).astype(int)]
    pixels = prepare(_read(source, spread), trained.preprocess, limit)
    return pixels, f"held-out images of {source.description}"


def _with_made_up(images: Sequence[str], preprocess: Preprocess, limit: int) -> tuple[Pixels, str]:
    """Return those of the images that can be read, and made-up pictures up to the limit."""
    given = np.empty((0, preprocess.crop, preprocess.crop, 3), np.uint8)
    if images:
        # The command that wanted answers reports which images are unreadable.
        with contextlib.suppress(DataError):
            given = prepare(find_images(images), preprocess, max(limit // 2, 1))
    pictures = made_up_pictures(max(limit - len(given), 1), preprocess.crop)
    origin = f"{len(pictures)} {MADE_UP}" + (
        f", {count(len(given), 'image')}" if len(given) else ""
    )
    return np.concatenate([pictures, given]), origin


def _read(source: Source, indices: Iterable[int]) -> Iterator[bytes]:
    for index in indices:
        yield source.read(int(index))
