"""Which images are for calibration, and which for validation."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import partial
from itertools import islice
from typing import Any, NamedTuple

import numpy as np

from fleetnet.amounts import count
from fleetnet.bundle import Bundle
from fleetnet.data.contents import NONE, Contents, content_of
from fleetnet.data.sources import Source, fingerprint
from fleetnet.data.splits import Indices, split
from fleetnet.errors import DataError, ImageError, the_first
from fleetnet.evaluation.labelled_images import labels_of, trained_on, unseen
from fleetnet.evaluation.losses import Labels
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
        labels: of the validation images, as the network numbers them; None if they have none.
        contents: what the files of the validation images are known by.
    """

    calibration: Pixels
    validation: Pixels
    unreadable: int
    repeated: int
    trained_on: int = 0
    labels: Labels | None = None
    contents: Contents = field(default_factory=lambda: NONE)

    @property
    def summary(self) -> str:
        """How many there are, in a line."""
        repeated = f"; {self.repeated} repetitions left out" if self.repeated else ""
        return (
            f"{len(self.calibration)} calibration images, {len(self.validation)} validation "
            f"images{repeated}"
        )

    def doubts(self, agreement: float | None) -> Iterator[str]:
        """Yield a line for whatever makes a comparison on these images say less than it seems to.

        Args:
            agreement: share of the validation images that have to get the same answer; None if
                something else is asked for.
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
        enough = enough_to_show(agreement or 1)
        if agreement is not None and agreement < 1 and validation < enough:
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
    reader = _Reader(preprocess, advance)
    read_ones = (reader.read(path, partial(read, path)) for path in paths)
    kept = list(islice(filter(None, read_ones), calibration + validation))
    first = min(calibration, len(kept) // 3, max(len(kept) - least, 0))
    held_back = kept[first : first + validation]
    contents = np.array([image.content for image in held_back], np.uint64)
    samples = Samples(
        _stacked([image.pixels for image in kept[:first]]),
        _stacked([image.pixels for image in held_back]),
        len(reader.unreadable),
        reader.repeated,
        int(np.isin(contents, trained_images).sum()),
        contents=contents,
    )
    _check_enough(samples, reader.unreadable, least)
    return samples


def draw_labelled_samples(
    source: Source,
    bundle: Bundle,
    calibration: int = CALIBRATION,
    validation: int = VALIDATION,
    advance: Advance = lambda _: None,
    calibrate_with: Iterable[str] = (),
    *,
    least: int = 0,
) -> tuple[Samples, str]:
    """Read labelled images, of which those for validation keep their labels.

    Of the data that the network was trained on, training images are for calibration, where labels
    do not count, and the held-out ones are for validation. Of other data, a third is for
    calibration if they are few.

    Args:
        source: of the images.
        bundle: whose network; tells what it was trained on.
        calibration: as in :func:`draw_samples`.
        validation: likewise.
        advance: likewise.
        calibrate_with: paths of other images to calibrate with.
        least: as in :func:`draw_samples`.

    Returns:
        The samples, and which images the validation images are, in words.

    Raises:
        DataError: too few of them, or their classes are not the network's.
    """
    selection = unseen(source, bundle)
    rng = np.random.default_rng(SEED)
    judging = rng.permutation(selection.indices)
    known = trained_on(bundle.manifest)
    others = tuple(calibrate_with)
    if others:
        calibrating = judging[:0]
    elif fingerprint(source) == known.get("fingerprint"):
        calibrating = rng.permutation(split(source, known["val_fraction"], known["seed"]).train)
    else:
        first = min(calibration, len(judging) // 3, max(len(judging) - least, 0))
        calibrating, judging = judging[:first], judging[first:]
    reader = _Reader(bundle.manifest.preprocess, advance)
    if others:
        shown = reader.take_files(others, calibration)
    else:
        shown = [image.pixels for image in reader.take(source, calibrating, calibration)[0]]
    judged, taken = reader.take(source, judging, validation)
    samples = Samples(
        _stacked(shown),
        _stacked([image.pixels for image in judged]),
        len(reader.unreadable),
        reader.repeated,
        labels=labels_of(source, taken, bundle.manifest),
        contents=np.array([image.content for image in judged], np.uint64),
    )
    _check_enough(samples, reader.unreadable, least)
    return samples, selection.description


def _stacked(pixels: Sequence[Pixels]) -> Pixels:
    return np.stack(pixels) if pixels else np.empty((0, 0, 0, 3), np.uint8)


class _Image(NamedTuple):
    """An image as a network takes it, and what its file is known by."""

    pixels: Pixels
    content: int


class _Reader:
    """Reads images, none of them twice."""

    def __init__(self, preprocess: Preprocess, advance: Advance) -> None:
        self._preprocess, self._advance = preprocess, advance
        self._seen: set[bytes] = set()
        self.unreadable: list[str] = []
        self.repeated = 0

    def take(self, source: Source, indices: Indices, limit: int) -> tuple[list[_Image], list[int]]:
        """Return at most so many images of a source, and their indices."""
        images: list[_Image] = []
        taken: list[int] = []
        for index in map(int, indices):
            if len(taken) >= limit:
                break
            image = self.read(source.samples[index].name, partial(source.read, index))
            if image is not None:
                images.append(image)
                taken.append(index)
        return images, taken

    def take_files(self, paths: Iterable[str], limit: int) -> list[Pixels]:
        """Return at most so many images of files."""
        shuffled = list(paths)
        np.random.default_rng(SEED).shuffle(shuffled)
        found = (self.read(path, partial(read_bytes, path)) for path in shuffled)
        return [image.pixels for image in islice(filter(None, found), limit)]

    def read(self, name: str, read: Callable[[], bytes]) -> _Image | None:
        """Return an image; None if it cannot be read or has been there."""
        try:
            data = read()
            pixels = self._preprocess.from_bytes(data)
        except ImageError as error:
            self.unreadable.append(f"{name}: {error}")
            return None
        digest = hashlib.sha256(pixels.tobytes()).digest()
        if digest in self._seen:
            self.repeated += 1
            return None
        self._seen.add(digest)
        self._advance(1)
        return _Image(pixels, content_of(data))


def _check_enough(samples: Samples, unreadable: Sequence[str], least: int = 0) -> None:
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
