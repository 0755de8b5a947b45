"""Verifying a bundle's engines: what they are compared with, and by what standard."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path

import numpy as np

from fleetnet.bundle import Bundle, Judgement, Manifest
from fleetnet.errors import DataError, ImageError, the_first
from fleetnet.image_bytes import StoredImage, read_bytes
from fleetnet.inference.comparison import Comparison, compare, probabilities_of, run_in_batches
from fleetnet.inference.engines import Engine, Pixels
from fleetnet.inference.judging import AGREEMENT as BY_AGREEMENT
from fleetnet.inference.judging import AgreementJudge, Judge, judge_without_labels
from fleetnet.preprocess import Preprocess

TOLERANCE = 1e-4
"""Largest difference of a probability that export and verification allow by default."""
AGREEMENT = 0.99
"""Share of the images for which fewer bits must give the trained network's answer, where nothing
else is recorded or asked for."""
JudgeOf = Callable[[Judgement, Manifest], Judge]
"""Gives what repeats a bundle's judgement on the images at hand."""


def prepare(
    images: Iterable[str | Path | bytes | StoredImage],
    preprocess: Preprocess,
    limit: int | None = None,
    unreadable: list[str] | None = None,
) -> Pixels:
    """Decode and preprocess images for a comparison, leaving out what cannot be read.

    Args:
        images: paths, files' contents, or what shards hold.
        preprocess: the network's.
        limit: at most this many.
        unreadable: gets a line for each image that is left out, with the reason.

    Returns:
        ``uint8[N, crop, crop, 3]``, at most ``limit`` images.

    Raises:
        DataError: none could be read.
    """
    pixels: list[Pixels] = []
    unreadable = [] if unreadable is None else unreadable
    for image in images:
        if limit is not None and len(pixels) >= limit:
            break
        try:
            pixels.append(preprocess.from_bytes(_content(image)))
        except ImageError as error:
            unreadable.append(f"{_prefix(image)}{error}")
    if not pixels:
        raise DataError(f"no image to verify with could be read{the_first(unreadable)}")
    return np.stack(pixels)


def _content(image: str | Path | bytes | StoredImage) -> bytes:
    if isinstance(image, StoredImage):
        return image.content
    return image if isinstance(image, bytes) else read_bytes(image)


def _prefix(image: str | Path | bytes | StoredImage) -> str:
    """Return what comes before an image's error."""
    if isinstance(image, bytes):
        return ""
    return f"{image.name if isinstance(image, StoredImage) else image}: "


def verify_bundle(
    bundle: Bundle, engines: Sequence[Engine], pixels: Pixels, reference: Engine | None
) -> Iterator[Comparison]:
    """Compare a bundle's engines with the trained network.

    Args:
        bundle: its self-test is used if there is no reference.
        engines: what to check.
        pixels: real images, ``uint8[N, crop, crop, 3]``.
        reference: the trained network in PyTorch; None if PyTorch is not installed. Then each
            engine has to give PyTorch's answers to the self-test, recorded at export.

    Raises:
        DataError: there is no reference and the bundle has no self-test.
    """
    if reference is not None:
        expected = run_in_batches(reference, pixels)
    elif bundle.manifest.self_test is not None:
        pixels = bundle.manifest.self_test.pixels(bundle.manifest.preprocess.crop)
        expected = np.asarray(bundle.manifest.self_test.logits, np.float32)
    else:
        raise DataError(
            f"{bundle.path} records no self-test: verify it where PyTorch is installed "
            "(pip install 'fleetnet[train]')"
        )
    for engine in engines:
        yield compare(engine, pixels, expected, probabilities_of(bundle.manifest))


def verify_fewer_bits(
    bundle: Bundle,
    engines: Sequence[Engine],
    pixels: Pixels,
    reference: Engine,
    judge_of: JudgeOf = judge_without_labels,
) -> Iterator[Comparison]:
    """Compare engines that compute in fewer bits than fp32; each comparison has a verdict.

    It is by what the bundle records that was judged, or else by the share of the same answers.

    Args:
        bundle: records what was judged, and the agreement required.
        engines: what to check.
        pixels: real images, ``uint8[N, crop, crop, 3]``; on made-up ones, int8 may give any answer.
        reference: the trained network in PyTorch, or, without PyTorch, an engine in fp32.
        judge_of: what repeats the judgement.
    """
    expected = run_in_batches(reference, pixels)
    for engine in engines:
        yield compare(
            engine,
            pixels,
            expected,
            probabilities_of(bundle.manifest),
            activation=bundle.manifest.model.activation,
            judge=_judge_of(bundle, engine, judge_of),
        )


def _judge_of(bundle: Bundle, engine: Engine, judge_of: JudgeOf) -> Judge:
    """Return what repeats the judgement on record of an engine in its precision."""
    judgement = bundle.judgement(engine.name, engine.precision)
    if judgement is not None and judgement.judged_by != BY_AGREEMENT:
        return judge_of(judgement, bundle.manifest)
    records = bundle.records(engine.name, engine.precision)
    made = next((artifact.quantization for artifact, _ in records if artifact.quantization), None)
    wanted = AGREEMENT if judgement is None else 1 - judgement.allowed
    if made is not None:
        wanted = made.agreement
    return AgreementJudge(wanted, bundle.manifest.model.activation)
