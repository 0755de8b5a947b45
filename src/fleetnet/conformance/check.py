"""Checking that this installation gives the set's answers."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from fleetnet import native
from fleetnet.bundle import Bundle
from fleetnet.conformance.description import DESCRIPTION, Entry, Input, RejectionCase
from fleetnet.conformance.files import ConformanceSet
from fleetnet.conformance.reference import reference_input
from fleetnet.conformance.refusals import fits, kind_of
from fleetnet.errors import FleetnetError, ImageError
from fleetnet.image_bytes import read_bytes
from fleetnet.images import OpenImage
from fleetnet.inference.certainty import judge
from fleetnet.inference.comparison import run_in_batches
from fleetnet.inference.engines import Engine, engines_for, open_engine
from fleetnet.preprocess import Preprocess

Pixels = npt.NDArray[np.uint8]
MakeInput = Callable[[bytes, Input], Pixels]

PYTHON, CORE = "Python", "C core"


@dataclass(frozen=True)
class Difference:
    """An answer that differs from the set's."""

    picture: str
    detail: str

    def __str__(self) -> str:
        return f"{self.picture}: {self.detail}"


@dataclass(frozen=True)
class Check:
    """What was compared, and what differs."""

    name: str
    answers: int
    """How many answers were compared."""
    differences: tuple[Difference, ...] = ()
    max_abs_diff: float | None = None
    """Largest difference of a logit, if logits were compared."""

    @property
    def passed(self) -> bool:
        """Whether nothing differs."""
        return not self.differences

    def to_json(self) -> dict[str, Any]:
        """Return everything as JSON values."""
        return {
            "name": self.name,
            "passed": self.passed,
            "answers": self.answers,
            "max_abs_diff": self.max_abs_diff,
            "differences": [vars(difference) for difference in self.differences],
        }


def check_installation(
    found: ConformanceSet, engines: Sequence[str] | None = None
) -> Iterator[Check]:
    """Compare this installation's answers with a set's.

    Args:
        found: the set.
        engines: these run the set's network, in fp32, on one thread; None for all that are
            installed and can load it.

    Yields:
        The checks in turn: the set's files, refusals, whole pictures, inputs made by the C core and
        by Python, rejection, and each engine's logits.

    Raises:
        FleetnetError: the set is incomplete or contradicts itself, or an engine cannot be opened.
    """
    yield Check("files of the set", found.check_files())
    yield _check_refusals(found)
    yield _check_decoding(found)
    if native.core is not None:
        yield _check_inputs(found, CORE, lambda data, one: _from_bytes(data, one))
    yield _check_inputs(
        found, PYTHON, lambda data, one: reference_input(data, one.preprocess, exact=one.exact)
    )
    yield check_rejection(found)
    bundle = _network(found)
    for name in engines_for(bundle) if engines is None else engines:
        with open_engine(name, bundle, 1) as engine:
            yield check_logits(found, engine)


def _network(found: ConformanceSet) -> Bundle:
    """Return the set's network.

    Raises:
        FleetnetError: it is not what the set says it is.
    """
    network = found.description.network
    bundle = Bundle.load(found.path / network.file)
    has = bundle.manifest
    one, other = (
        (value.resize, value.crop, value.interpolation) for value in (has.preprocess, network)
    )
    if (has.classes, one) != (network.classes, other):
        raise FleetnetError(
            f"{bundle.path} is not the network that {DESCRIPTION} describes: it has other classes "
            "or another preprocessing"
        )
    return bundle


def readable(found: ConformanceSet) -> Iterator[tuple[Entry, bytes]]:
    """Yield the pictures that can be decoded, and their files' content.

    Raises:
        FleetnetError: a file is missing or has changed.
    """
    for picture in found.description.pictures:
        if picture.error is None:
            yield picture, found.read(picture.file, picture.sha256, picture.bytes)


def first_difference(pixels: Pixels, expected: Pixels) -> str | None:
    """Return where two crops, ``uint8[H, W, 3]``, begin to differ; None if they are equal."""
    if pixels.shape != expected.shape:
        return f"it is {_size(pixels)}, not {_size(expected)}"
    differs = (pixels != expected).any(axis=2)
    if not differs.any():
        return None
    row, column = (int(place) for place in np.argwhere(differs)[0])
    one, other = (tuple(crop[row, column].tolist()) for crop in (pixels, expected))
    count = int(differs.sum())
    return (
        f"the pixel in row {row}, column {column} is {one}, not {other}; {count} of "
        f"{differs.size} pixels differ"
    )


def check_logits(found: ConformanceSet, engine: Engine) -> Check:
    """Compare an engine's answers with the set's, from the set's own pixels.

    Raises:
        FleetnetError: a file of the set is missing or has changed.
    """
    name = f"logits, {engine.name} {engine.version}"
    description = found.description
    pictures = [picture for picture in description.pictures if picture.logits]
    crops = [_network_input(found, picture) for picture in pictures]
    if not pictures:
        return Check(name, 0)
    expected = np.asarray([picture.logits for picture in pictures], np.float64)
    apart = np.abs(run_in_batches(engine, np.stack(crops)) - expected).max(axis=1)
    tolerance = description.network.tolerance
    differences = [
        Difference(
            picture.name,
            f"{engine.name}'s logits differ by up to {far:.2g} (allowed: {tolerance:g})",
        )
        for picture, far in zip(pictures, apart.tolist(), strict=True)
        if not far <= tolerance  # written so that NaN fails
    ]
    return Check(name, len(pictures), tuple(differences), float(apart.max()))


def check_rejection(found: ConformanceSet) -> Check:
    """Compare which of the set's answers are rejected here, and their scores, with the set's."""
    description = found.description
    answers, differences = 0, []
    for case in description.rejection.cases:
        rows = description.judged(case)
        answers += len(rows)
        for (name, logits), score, rejected in zip(rows, case.scores, case.rejected, strict=True):
            row = np.asarray([float(value) for value in logits], np.float32)
            here = judge(row, case.score, case.threshold, case.temperature)
            wrong = _misjudged(here, (rejected, float(score)), description.rejection.tolerance)
            if wrong:
                differences.append(Difference(name, f"{_title(case)}: {wrong}"))
    return Check("rejection", answers, tuple(differences))


def _misjudged(
    here: tuple[bool, float], expected: tuple[bool, float], tolerance: float
) -> str | None:
    (rejected, score), (should, wanted) = here, expected
    same = math.isclose(score, wanted, rel_tol=tolerance)  # infinities are near themselves alone
    if not (same or (math.isnan(score) and math.isnan(wanted))):
        return f"the score is {score:.9g}, not {wanted:.9g}"
    if rejected != should:
        return f"it is {'rejected' if rejected else 'accepted'}, and should not be"
    return None


def _title(case: RejectionCase) -> str:
    hot = "" if case.temperature == 1 else f", temperature {case.temperature:g}"
    return f"{case.score}{hot} below {case.threshold:.9g}"


def _network_input(found: ConformanceSet, picture: Entry) -> Pixels:
    one = found.description.network_input(picture)
    crop = found.crop(one) if one else None
    assert crop is not None  # noqa: S101 - the description was checked for it
    return crop


def _from_bytes(data: bytes, one: Input) -> Pixels:
    return one.preprocess.from_bytes(data, exact=one.exact)


def _check_refusals(found: ConformanceSet) -> Check:
    network = found.description.network
    preprocess = Preprocess(network.resize, network.crop, network.interpolation)
    refused, differences = 0, []
    for picture in found.description.pictures:
        if picture.error is None:
            continue
        refused += 1
        kind = picture.error.kind
        try:
            # From the file: an empty one is refused when it is read.
            preprocess.from_bytes(read_bytes(found.path / picture.file))
        except ImageError as error:
            if not fits(kind_of(error), kind):
                detail = f"refused as {kind_of(error)}, not as {kind}: {error}"
                differences.append(Difference(picture.name, detail))
        else:
            differences.append(Difference(picture.name, f"decoded, and not refused as {kind}"))
    return Check("refusals", refused, tuple(differences))


def _check_decoding(found: ConformanceSet) -> Check:
    decoded, differences = 0, []
    for picture, data in readable(found):
        expected = picture.decoded
        assert expected is not None  # noqa: S101 - the description was checked for it
        decoded += 1
        try:
            pixels = OpenImage(data).decode()
        except ImageError as error:
            differences.append(Difference(picture.name, f"refused: {error}"))
            continue
        size = f"{expected.width}×{expected.height}"
        if _size(pixels) != size:
            differences.append(Difference(picture.name, f"it is {_size(pixels)}, not {size}"))
        elif _digest(pixels) != expected.sha256:
            detail = "decoded to other pixels: this decoder's bits are not the set's"
            differences.append(Difference(picture.name, detail))
    return Check("decoded pictures", decoded, tuple(differences))


def _check_inputs(found: ConformanceSet, road: str, make: MakeInput) -> Check:
    answers, differences = 0, []
    for picture, data in readable(found):
        for one in picture.inputs:
            answers += 1
            try:
                difference = _difference(found, one, make(data, one))
            except ImageError as error:
                difference = f"refused: {error}"
            if difference:
                detail = f"{one.title}, {road}: {difference}"
                differences.append(Difference(picture.name, detail))
    return Check(f"inputs, {road}", answers, tuple(differences))


def _difference(found: ConformanceSet, one: Input, pixels: Pixels) -> str | None:
    if _digest(pixels) == one.sha256:
        return None
    expected = found.crop(one)
    if expected is None:
        return "other pixels, and the set has only their hash"
    return first_difference(pixels, expected)


def _digest(pixels: Pixels) -> str:
    return hashlib.sha256(np.ascontiguousarray(pixels).tobytes()).hexdigest()


def _size(pixels: Pixels) -> str:
    return f"{pixels.shape[1]}×{pixels.shape[0]}"
