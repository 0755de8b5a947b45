"""A network in int8 for other runtimes: calibrated on real images, and held to its answers.

The guard is that of ``fleetnet quantize``: as few layers as possible stay in fp32, the most
sensitive ones first, so that the files, run by what runs them here, answer as the network does.
"""

from __future__ import annotations

import contextlib
from collections.abc import Sequence
from pathlib import Path

from fleetnet.bundle import Bundle, Quantization
from fleetnet.data.contents import NONE
from fleetnet.errors import DataError
from fleetnet.evaluation.overlap import trained_images_of
from fleetnet.export.converted_engine import ConvertedEngine
from fleetnet.export.held_out import held_out_part, why_gone
from fleetnet.export.quantize.layers import Layer
from fleetnet.export.quantize.quantizer import Quantized
from fleetnet.export.quantize.samples import CALIBRATION, Samples, draw_samples
from fleetnet.export.quantize.session import Session
from fleetnet.export.targets import Files, Target
from fleetnet.image_files import find_images
from fleetnet.inference.verify import AGREEMENT
from fleetnet.labels import printable
from fleetnet.left_out import LeftOut
from fleetnet.reporting import Begin
from fleetnet.training.adopt import read_checkpoint
from fleetnet.weights.subject import Subject, file_of

LEAST = 100
"""Of how many images the answers are compared: with fewer, 99 % says nothing."""
_INSTEAD = "use another precision"


def real_images(
    subject: Subject,
    bundle: Bundle,
    images: Sequence[str],
    limit: int,
    left_out: LeftOut | None,
    begin: Begin,
) -> tuple[Samples, str]:
    """Return images to calibrate with and others to compare answers on, and what they are called.

    Args:
        subject: what the bundle was made of.
        bundle: the network's.
        images: files, folders and globs; if empty, those that a checkpoint was not trained on.
        limit: compare on at most this many.
        left_out: counts what is skipped in ``images``.
        begin: called with the images to read.

    Raises:
        DataError: they are too few, or there are none.
    """
    if limit < LEAST:
        raise DataError(
            f"int8 is compared on at least {LEAST} images: leave out limit=, or give more",
            arguments=["limit"],
        )
    preprocess = bundle.manifest.preprocess
    if images:
        paths = list(find_images(images, left_out))
        known = trained_images_of(bundle)
        origin = printable(", ".join(Path(image).name or image for image in images))
        advance = begin("reading images", min(len(paths), CALIBRATION + limit))
        samples = draw_samples(paths, preprocess, CALIBRATION, limit, advance, known, least=LEAST)
        return samples, origin
    if subject.kind != "weights":
        raise DataError(
            "int8 takes real images to calibrate with, like those that it will see: give some, "
            "images=",
            arguments=["images"],
        )
    trained = read_checkpoint(file_of(subject))
    held_out = held_out_part(trained)
    if held_out is None:
        raise DataError(
            f"{why_gone(trained)}: give some to calibrate with, images=", arguments=["images"]
        )
    source, indices = held_out
    advance = begin("reading images", min(len(indices), CALIBRATION + limit))
    samples = draw_samples(
        map(str, indices),
        preprocess,
        CALIBRATION,
        limit,
        advance,
        NONE,
        least=LEAST,
        read=lambda index: source.read(int(index)),
    )
    return samples, f"held-out images of {source.description}"


def in_int8(
    target: Target, bundle: Bundle, batch: int | None, samples: Samples, begin: Begin
) -> tuple[Files, Quantization]:
    """Return a target's files in int8 that answer as the network in fp32, and how they were made.

    Raises:
        VerificationError: there are none, or what runs them does not take them.
        FleetnetError: its tool fails.
    """
    with contextlib.closing(Session(bundle, samples, AGREEMENT, 7, begin)) as session:
        quantizer = _TargetQuantizer(target, bundle, batch, samples, session.layers, begin)
        found = session.find(quantizer, _INSTEAD)
        described = session.described(quantizer, found, 8)
    return found.validated.quantized.contents, described


class _TargetQuantizer:
    """A target's own tool, as the guard takes it."""

    def __init__(
        self,
        target: Target,
        bundle: Bundle,
        batch: int | None,
        samples: Samples,
        layers: Sequence[Layer],
        begin: Begin,
    ) -> None:
        assert target.int8 is not None  # noqa: S101 - for the type checker
        self.engine = target.title
        tool, environment = target.int8.tool, target.int8.environment
        version = environment.version(tool) if environment else target.version_of(tool)
        self.tool = f"{tool} {version}"
        self._target = target
        self._batch = batch
        advance = begin(f"{self.engine}: calibrating", 1)
        self._quantize = target.int8.calibrate(bundle, batch, samples.calibration, layers)
        advance(1)

    def quantize(self, kept: Sequence[Layer]) -> Quantized:
        """Return the network with all layers but ``kept`` in int8."""
        files = self._quantize([layer.name for layer in kept])
        return Quantized(
            self._target.format,
            files,
            lambda _threads: ConvertedEngine(self._target, files, "int8", self._batch),
        )
