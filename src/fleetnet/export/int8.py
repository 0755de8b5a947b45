"""A network in int8 for other runtimes: calibrated on real images, and held to its answers.

The guard is that of ``fleetnet quantize``, and so is what it may lose: as few layers as possible
stay in fp32, the most sensitive ones first, so that the files, run by what runs them here, pass.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial

from fleetnet.bundle import Bundle, Quantization
from fleetnet.data.sources import Source
from fleetnet.errors import DataError
from fleetnet.evaluation.overlap import trained_images_of
from fleetnet.export.converted_engine import ConvertedEngine
from fleetnet.export.converting import converting
from fleetnet.export.held_out import training_source, why_gone
from fleetnet.export.layers_apart import first_apart
from fleetnet.export.quantize.apart import Apart
from fleetnet.export.quantize.layers import Layer, read_graph
from fleetnet.export.quantize.quantizer import LARGEST, Quantized, step
from fleetnet.export.quantize.samples import (
    CALIBRATION,
    Samples,
    draw_labelled_samples,
    draw_samples,
)
from fleetnet.export.quantize.session import Advice, Session, Validated, WeightBits
from fleetnet.export.quantize.weights import Weights, weights_of_int8, weights_of_rounding
from fleetnet.export.reweighted import Reweighted, weights_in
from fleetnet.export.shown import Given
from fleetnet.export.targets import Files, Target
from fleetnet.export.targets.target import Imitated
from fleetnet.image_files import find_images
from fleetnet.inference.judging import AgreementJudge, Judge
from fleetnet.reporting import Begin
from fleetnet.training.adopt import read_checkpoint
from fleetnet.weights.subject import Subject, file_of

ATTEMPTS = 8
"""How many networks a search makes at most: converters take up to minutes for each."""
LEAST = 100
"""Of how many images the answers are compared: with fewer, hardly anything is shown."""
_TO_AGREE = Advice("use another precision, or a smaller agreement=", arguments=("agreement",))
_TO_LOSE = Advice(
    "use another precision, more images, or a larger max_loss=", arguments=("max_loss",)
)


def real_images(
    subject: Subject, bundle: Bundle, given: Given, begin: Begin
) -> tuple[Samples, str]:
    """Return images to calibrate with and others to compare answers on, and what they are called.

    Labelled data has labels for the latter, as in ``fleetnet quantize``: of the data that the
    network was trained on, training images calibrate, and the held-out ones are compared on.

    Args:
        subject: what the bundle was made of.
        bundle: the network's.
        given: images of the caller's; if there are none, the data that a checkpoint was trained on.
        begin: called with the images to read.

    Raises:
        DataError: they are too few, or there are none.
    """
    source = given.data or (None if given.images else _own_data(subject))
    limit = given.most(labelled=source is not None)
    if limit < LEAST:
        raise DataError(
            f"int8 is compared on at least {LEAST} images: leave out limit=, or give more",
            arguments=["limit"],
        )
    paths = list(find_images(given.images, given.left_out)) if given.images else []
    number = len(paths) if source is None else len(source.samples)
    advance = begin("reading images", min(number, CALIBRATION + limit))
    if source is not None:
        return draw_labelled_samples(
            source, bundle, CALIBRATION, limit, advance, paths, least=LEAST
        )
    known, preprocess = trained_images_of(bundle), bundle.manifest.preprocess
    samples = draw_samples(paths, preprocess, CALIBRATION, limit, advance, known, least=LEAST)
    return samples, given.names


def _own_data(subject: Subject) -> Source:
    """Return the data that a checkpoint was trained on.

    Raises:
        DataError: it is not here, or this is no checkpoint.
    """
    if subject.kind != "weights":
        raise DataError(
            "int8 takes real images to calibrate with, like those that it will see: give some, "
            "images=, or labelled ones, data=",
            arguments=["images", "data"],
        )
    trained = read_checkpoint(file_of(subject))
    source = training_source(trained)
    if source is None:
        raise DataError(
            f"{why_gone(trained)}: give some to calibrate with, images=, or labelled ones, data=",
            arguments=["images", "data"],
        )
    return source


def in_int8(
    target: Target, bundle: Bundle, batch: int | None, samples: Samples, judge: Judge, begin: Begin
) -> tuple[Files, Quantization]:
    """Return a target's files in int8 that lose no more than is allowed, and how they were made.

    Where the bundle has a network in int8 for ONNX Runtime, its weights are converted, and else the
    bundle's own; if a network without layers in fp32 does not pass then, those rounded for their
    sums are tried too.

    Raises:
        VerificationError: there are none, or what runs them does not take them.
        BundleError: the bundle's network in int8 is not that of its network in fp32.
        FleetnetError: its tool fails.
    """
    with contextlib.closing(Session(bundle, samples, judge, 7, begin)) as session:

        def make(weights: Callable[[], Weights | None]) -> _TargetQuantizer:
            chosen = weights()
            view = bundle if chosen is None else Reweighted(bundle, chosen)
            return _TargetQuantizer(target, bundle, view, batch, samples, session.layers, begin)

        recipes = _recipes(target, bundle, session)
        first = session.best([partial(make, one) for one in recipes], _TargetQuantizer.whole)
        quantizer = first.quantizer
        advice = _TO_AGREE if isinstance(judge, AgreementJudge) else _TO_LOSE
        found = session.find(
            quantizer, advice, quantizer.apart, ATTEMPTS, quantizer.imitate, first.validated
        )
        described = session.described(quantizer, found, quantizer.weight_bits)
    return found.validated.quantized.contents, described


def _recipes(
    target: Target, bundle: Bundle, session: Session
) -> list[Callable[[], Weights | None]]:
    """Return ways to get the weights to convert, the first one first; None is the bundle's own."""
    assert target.int8 is not None  # noqa: S101 - for the type checker
    bits = target.int8.weight_bits
    if not bits:
        return [lambda: None]
    if bundle.find(format="onnx", precision="int8") is not None:
        return [lambda: _own_int8(bundle, session, bits)]
    return [
        lambda: None,
        lambda: weights_of_rounding(session.rounding(session.graph, LARGEST[8]), session.layers),
    ]


def _own_int8(bundle: Bundle, session: Session, bits: Sequence[int]) -> Weights:
    """Return the weights of the bundle's network in int8, as a tool takes weights of such bits."""
    artifact = bundle.find(format="onnx", precision="int8")
    path, content = bundle.content(format="onnx", precision="int8")
    made = artifact.quantization if artifact else None
    told = f"with the weights of {path.name}{f' ({made.tool})' if made else ''}"
    graph = read_graph(content, str(path))
    weights = weights_of_int8(session.graph, graph, str(path), told)
    if weights.bits in bits:
        return weights
    rounding = session.rounding(weights.applied(session.graph), LARGEST[8])
    return weights.rounded_to(rounding, session.layers)


class _TargetQuantizer:
    """A target's own tool, as the guard takes it."""

    def __init__(
        self,
        target: Target,
        bundle: Bundle,
        converted: Bundle,
        batch: int | None,
        samples: Samples,
        layers: Sequence[Layer],
        begin: Begin,
    ) -> None:
        assert target.int8 is not None  # noqa: S101 - for the type checker
        self.engine = target.title
        tool, environment = target.int8.tool, target.int8.environment
        version = environment.version(tool) if environment else target.version_of(tool)
        weights = weights_in(converted)
        self.tool = " ".join((tool, version, *([weights.told] if weights else [])))
        self.weight_bits: WeightBits = weights.bits if weights else 8
        self._target = target
        self._bundle = bundle
        self._batch = batch
        self._pixels = samples.validation
        self._begin = begin
        advance = begin(f"{self.engine}: calibrating", 1)
        with converting(bundle, target):
            self._quantize = target.int8.calibrate(converted, batch, samples.calibration, layers)
        advance(1)

    def quantize(self, kept: Sequence[Layer]) -> Quantized:
        """Return the network with all layers but ``kept`` in int8."""
        advance = self._begin(step(self.engine, "converting", kept), 1)
        with converting(self._bundle, self._target):
            files = self._quantize([layer.name for layer in kept])
        advance(1)
        return Quantized(
            self._target.format,
            files,
            lambda _threads: ConvertedEngine(self._target, files, "int8", self._batch),
        )

    def whole(self) -> Quantized:
        """Return the network with no layer kept, or what answers as it would."""
        return self.imitate(()) if self.imitate else self.quantize(())

    @property
    def imitate(self) -> Callable[[Sequence[Layer]], Quantized] | None:
        """What answers as :meth:`quantize`'s networks would; None where only they can."""
        made = self._quantize
        if not isinstance(made, Imitated):
            return None

        def imitated(kept: Sequence[Layer]) -> Quantized:
            names = [layer.name for layer in kept]
            target = replace(self._target, load=lambda _: made.imitate(names))
            return Quantized(
                target.format, {}, lambda _: ConvertedEngine(target, {}, "int8", self._batch)
            )

        return imitated

    def apart(self, refused: Validated) -> Apart | None:
        """Return the layer whose values are off, in the target's own runtime, if that tells."""
        return first_apart(
            self._target,
            self._bundle,
            refused.quantized.contents,
            "int8",
            self._batch,
            self._pixels,
        )
