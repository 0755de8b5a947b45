"""Which images are for calibration, and which for validation."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from fleetnet.amounts import count
from fleetnet.data.contents import NONE, Contents, content_of
from fleetnet.errors import DataError, ImageError, the_first
from fleetnet.image_bytes import read_bytes
from fleetnet.inference.binomial import enough_to_show
from fleetnet.inference.engines import Pixels
from fleetnet.preprocess import Preprocess
from fleetnet.reporting import Advance

CALIBRATION, VALIDATION = 300, 1000
"""Default of how many images of each there are at most."""
LEAST_CALIBRATION = 10
LEAST_VALIDATION = 30
"""If all of 30 agree, that shows 90 %; fewer show less
(:func:`~fleetnet.inference.binomial.at_least`)."""
ENOUGH = 3 * LEAST_VALIDATION // 2
SEED = 0


@dataclass(frozen=True)
class Samples:
    """Preprocessed images, ``uint8[N, crop, crop, 3]`` each, none of them in both.

    Attributes:
        calibration: these show the ranges of the activations.
        validation: these show whether the answers are the same.
        unreadable: how many files were left out because they could not be read.
        repeated: how many were left out because an image with the same pixels was there.
        trained_on: how many validation images the network was trained on, as far as is known.
    """

    calibration: Pixels
    validation: Pixels
    unreadable: int
    repeated: int
    trained_on: int = 0

    @property
    def summary(self) -> str:
        """How many there are, in a line."""
        repeated = f"; {self.repeated} repetitions left out" if self.repeated else ""
        return (
            f"{len(self.calibration)} calibration images, {len(self.validation)} validation "
            f"images{repeated}"
        )

    def doubts(self, agreement: float) -> Iterator[str]:
        """Yield a line for whatever makes a comparison on these images say less than it seems to.

        Args:
            agreement: share of the validation images that have to get the same answer.
        """
        validation = len(self.validation)
        if self.unreadable:
            were = "was" if self.unreadable == 1 else "were"
            yield f"{count(self.unreadable, 'image')} could not be read and {were} left out"
        if self.trained_on:
            yield (
                f"the network was trained on {self.trained_on} of the {validation} validation "
                "images: int8 agrees more often on those than on new images"
            )
        enough = enough_to_show(agreement)
        if agreement < 1 and validation < enough:
            yield (
                f"{validation} images cannot show that {agreement:.2%} of all agree, even if they "
                f"all do: that takes {enough}"
            )

    def to_json(self) -> dict[str, Any]:
        """Return how many there are, and how many were left out, as JSON values."""
        return {
            "calibration_images": len(self.calibration),
            "judging_images": len(self.validation),
            "unreadable": self.unreadable,
            "repeated": self.repeated,
        }


def draw_samples(
    images: Iterable[str],
    preprocess: Preprocess,
    calibration: int = CALIBRATION,
    validation: int = VALIDATION,
    advance: Advance = lambda _: None,
    trained_images: Contents = NONE,
    *,
    least: int = 0,
    read: Callable[[str], bytes] = read_bytes,
) -> Samples:
    """Read images in a random order and split them; if they are few, a third is for calibration.

    The order is random, with a fixed seed, because folders are sorted by class. An image whose
    pixels came before is left out, so that no image is in both parts.

    Args:
        images: paths.
        preprocess: the bundle's.
        calibration: at most this many are for calibration.
        validation: at most this many are for validation.
        advance: called with a count as images are read.
        trained_images: the contents of those that the network was trained on, where known.
        least: so many are for validation, if need be with fewer for calibration.
        read: gives the bytes of what ``images`` names.

    Raises:
        DataError: too few of them for calibration or for validation.
    """
    paths = list(images)
    np.random.default_rng(SEED).shuffle(paths)
    seen: dict[bytes, Pixels] = {}
    contents: list[int] = []
    unreadable: list[str] = []
    repeated = 0
    for path in paths:
        if len(seen) >= calibration + validation:
            break
        try:
            data = read(path)
            pixels = preprocess.from_bytes(data)
        except ImageError as error:
            unreadable.append(f"{path}: {error}")
            continue
        digest = hashlib.sha256(pixels.tobytes()).digest()
        if digest in seen:
            repeated += 1
            continue
        seen[digest] = pixels
        contents.append(content_of(data))
        advance(1)
    first = min(calibration, len(seen) // 3, max(len(seen) - least, 0))
    found = np.stack(list(seen.values())) if seen else np.empty((0, 0, 0, 3), np.uint8)
    held_back = slice(first, first + validation)
    known = np.isin(np.array(contents[held_back], np.uint64), trained_images)
    samples = Samples(found[:first], found[held_back], len(unreadable), repeated, int(known.sum()))
    _check_enough(samples, unreadable, least)
    return samples


def _check_enough(samples: Samples, unreadable: Sequence[str], least: int) -> None:
    calibration, validation = len(samples.calibration), len(samples.validation)
    enough, least = max(ENOUGH, least + least // 2), max(LEAST_VALIDATION, least)
    if calibration >= LEAST_CALIBRATION and validation >= least:
        return
    left_out = [
        f"{number} {what}"
        for number, what in (
            (samples.unreadable, "cannot be read"),
            (samples.repeated, "are repetitions"),
        )
        if number
    ]
    reason = f" ({', '.join(left_out)})" if left_out else ""
    raise DataError(
        f"{calibration + validation} different images{reason} are too few to quantise with: "
        f"calibration takes at least {LEAST_CALIBRATION}, validation at least {least} "
        f"others and twice as many as calibration; give {enough} or more"
        f"{the_first(unreadable, 'the first that cannot be read')}"
    )
