"""Which images calibrate, and which others judge."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from fleetnet.data.contents import NONE, Contents, content_of
from fleetnet.errors import DataError, ImageError, the_first
from fleetnet.images import read_bytes
from fleetnet.inference.engines import Pixels
from fleetnet.preprocess import Preprocess
from fleetnet.reporting import Advance

CALIBRATION, JUDGING = 300, 1000
"""How many images calibrate and judge, at most, unless told otherwise."""
LEAST_CALIBRATION = 10
LEAST_JUDGING = 30
"""All of 30 agreeing shows 90 %, of fewer less (:func:`fleetnet.inference.binomial.at_least`)."""
ENOUGH = 3 * LEAST_JUDGING // 2
SEED = 0


@dataclass(frozen=True)
class Samples:
    """Preprocessed images, ``uint8[N, crop, crop, 3]`` each, none of them in both.

    Attributes:
        calibration: show which values flow through the network.
        judging: held back, to see whether the answers are the same.
        unreadable: how many files were left out because they could not be read.
        repeated: how many were left out because an image with the same pixels was there.
        trained_on: how many of those that judge the network was trained on, as far as is known.
    """

    calibration: Pixels
    judging: Pixels
    unreadable: int
    repeated: int
    trained_on: int = 0


def draw_samples(
    images: Iterable[str],
    preprocess: Preprocess,
    calibration: int = CALIBRATION,
    judging: int = JUDGING,
    advance: Advance = lambda _: None,
    trained_images: Contents = NONE,
) -> Samples:
    """Read images in a random order and split them; a third calibrates where there are few.

    The order is random, with a fixed seed, because folders are sorted by class. An image whose
    pixels were seen already is left out: a judge that has calibrated would not be one.

    Args:
        images: paths.
        preprocess: the bundle's.
        calibration: at most this many calibrate.
        judging: at most this many judge.
        advance: called with a count as images are read.
        trained_images: the contents of those that the network was trained on, where known.

    Raises:
        DataError: too few of them for calibration, or to judge by.
    """
    paths = list(images)
    np.random.default_rng(SEED).shuffle(paths)
    seen: dict[bytes, Pixels] = {}
    contents: list[int] = []
    unreadable: list[str] = []
    repeated = 0
    for path in paths:
        if len(seen) >= calibration + judging:
            break
        try:
            data = read_bytes(path)
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
    first = min(calibration, len(seen) // 3)
    found = np.stack(list(seen.values())) if seen else np.empty((0, 0, 0, 3), np.uint8)
    judges = slice(first, first + judging)
    known = np.isin(np.array(contents[judges], np.uint64), trained_images)
    samples = Samples(found[:first], found[judges], len(unreadable), repeated, int(known.sum()))
    _check_enough(samples, unreadable)
    return samples


def _check_enough(samples: Samples, unreadable: Sequence[str]) -> None:
    calibration, judging = len(samples.calibration), len(samples.judging)
    if calibration >= LEAST_CALIBRATION and judging >= LEAST_JUDGING:
        return
    left_out = [
        f"{count} {what}"
        for count, what in (
            (samples.unreadable, "cannot be read"),
            (samples.repeated, "are repetitions"),
        )
        if count
    ]
    reason = f" ({', '.join(left_out)})" if left_out else ""
    raise DataError(
        f"{calibration + judging} different images{reason} are too few to quantise with: at least "
        f"{LEAST_CALIBRATION} calibrate and {LEAST_JUDGING} others, twice as many as calibrate, "
        f"judge; give {ENOUGH} or more{the_first(unreadable, 'the first that cannot be read')}"
    )
