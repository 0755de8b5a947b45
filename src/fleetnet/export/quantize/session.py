"""Finding an engine's int8 network that answers as the network in fp32 does."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, Generic, Literal, NamedTuple, TypeVar

import onnx

from fleetnet.bundle import Bundle, Quantization
from fleetnet.errors import DataError, FleetnetError
from fleetnet.export.quantize import guard
from fleetnet.export.quantize.apart import Apart
from fleetnet.export.quantize.finetuned import Finetuned
from fleetnet.export.quantize.layers import Layer, layers_of, macs_share, read_graph
from fleetnet.export.quantize.moments import IMAGES as IMAGES_ROUNDED
from fleetnet.export.quantize.quantizer import (
    NARROWED,
    ROUNDED,
    Quantized,
    Quantizer,
    Unquantized,
    step,
)
from fleetnet.export.quantize.quantizers import QUANTIZERS
from fleetnet.export.quantize.rounding import Rounding, rounding_of
from fleetnet.export.quantize.samples import Samples
from fleetnet.export.quantize.sensitivity import IMAGES, rank
from fleetnet.export.quantize.timing import median_ms
from fleetnet.inference.binomial import at_least
from fleetnet.inference.comparison import (
    Comparison,
    compare,
    judged,
    probabilities_of,
    run_in_batches,
)
from fleetnet.inference.engines import (
    Engine,
    Precision,
    available_threads,
    open_engine,
    precisions,
)
from fleetnet.inference.judging import AgreementJudge, Judge, Verdict
from fleetnet.reporting import Begin

ENGINE = "onnxruntime"
"""Computes the fp32 answers that are the reference, and ranks the layers."""
WeightBits = Literal[7, 8]
LEAST_AGREEMENT = 1e-6
"""A manifest has no room for less."""


@dataclass(frozen=True)
class Result:
    """One engine's network in int8.

    Attributes:
        quantized: what the bundle gets.
        comparison: with the network in fp32, on the validation images; its latency is on one
            thread.
        quantization: how it was made.
        bytes_before: size of the network in fp32.
        latency_ms: median of one image on one thread, for each precision that the engine offers
            here, measured in turns.
        attempts: how many choices of layers to keep were tried.
    """

    quantized: Quantized
    comparison: Comparison
    quantization: Quantization
    bytes_before: int
    latency_ms: dict[Precision, float]
    attempts: int

    @property
    def bytes_after(self) -> int:
        """Size of the network in int8."""
        return sum(map(len, self.quantized.contents.values()))

    @property
    def faster(self) -> list[Precision]:
        """Precisions in which one image takes less time than in int8, the fastest first."""
        times = self.latency_ms
        return sorted(
            (name for name in times if times[name] < times["int8"]), key=times.__getitem__
        )

    @property
    def agreement_at_least(self) -> float:
        """A lower bound for the share of all images that get the same answer."""
        return at_least(self.comparison.images, self.comparison.different)

    def to_json(self) -> dict[str, Any]:
        """Return everything but the network itself as JSON values."""
        return {
            **self.comparison.to_json(),
            **self.quantization.model_dump(mode="json"),
            "agreement": self.comparison.agreement,
            "agreement_at_least": self.agreement_at_least,
            "required_agreement": self.quantization.agreement,
            "bytes_before": self.bytes_before,
            "bytes_after": self.bytes_after,
            "latency_ms": self.latency_ms,
            "faster": self.faster,
            "attempts": self.attempts,
        }


@dataclass(frozen=True)
class Validated:
    """An attempt: what was made, and how it compares."""

    quantized: Quantized
    comparison: Comparison

    @property
    def agreement(self) -> float:
        """Share of the images with the same answer."""
        return self.comparison.agreement

    @property
    def loss(self) -> float:
        """What is lost, as a share: by the judge's own measure, of agreement by that."""
        return self.verdict.judgement.loss

    @property
    def verdict(self) -> Verdict:
        """What the judge said of it."""
        return judged(self.comparison)


Q = TypeVar("Q", bound=Quantizer)


class Calibrated(NamedTuple, Generic[Q]):
    """A quantiser by one of its recipes.

    Attributes:
        quantizer: of that recipe.
        validated: what it makes with no layer kept.
        others: of how many other recipes networks were compared.
    """

    quantizer: Q
    validated: Validated
    others: int


class Advice(NamedTuple):
    """What an error tells to do, and the arguments that it names."""

    text: str
    arguments: tuple[str, ...]


def _standard(judge: Judge) -> guard.Standard[Validated]:
    """Return what a judge lets pass as the search takes it."""
    if isinstance(judge, AgreementJudge):
        return guard.agreeing(judge.wanted)
    return guard.Standard(
        passes=lambda one: one.verdict.passed,
        shortfall=lambda one: str(one.verdict),
        facts=lambda one: {"judgement": one.verdict.to_json()},
        advice="use fp32 or bf16, more images, or a larger max_loss=",
        arguments=("max_loss",),
    )


class Session:
    """What several engines' quantisation shares: the graph, its answers, the layers' ranking.

    Args:
        bundle: the answers of its fp32 network are the reference.
        samples: images for calibration and for validation.
        judge: says whether int8 loses too much on the validation images; a number is the share of
            them that have to get the same answer.
        weight_bits: 7, which every processor multiplies exactly, or 8, for those with VNNI and Arm.
        begin: called with each step that takes long.
        finetuned: what to quantise in place of the bundle's network.

    Raises:
        BundleError: the bundle's graph cannot be read.
    """

    def __init__(
        self,
        bundle: Bundle,
        samples: Samples,
        judge: Judge | float,
        weight_bits: WeightBits,
        begin: Begin,
        finetuned: Finetuned | None = None,
    ) -> None:
        self._bundle = bundle
        self._finetuned = finetuned
        self._samples = samples
        activation = bundle.manifest.model.activation
        self._judge = AgreementJudge(judge, activation) if isinstance(judge, float) else judge
        self._weight_bits = weight_bits
        self._begin = begin
        path, content = bundle.content(format="onnx")
        if finetuned is not None:
            content = finetuned.content
        graph = read_graph(content, str(path))
        self._network = Unquantized(
            content,
            str(path),
            graph,
            layers_of(graph, str(path)),
            samples.calibration,
            weight_bits,
            begin,
        )
        self._layers = self._network.layers
        self._reference = open_engine(ENGINE, bundle)
        self._expected = run_in_batches(self._reference, samples.validation)
        self._quantizers: dict[tuple[str, str], Quantizer] = {}
        self._ranking: list[Layer] | None = None
        self._roundings: dict[float, Rounding] = {}

    def close(self) -> None:
        """Close the engine whose answers are the reference."""
        self._reference.close()

    def quantize(self, engine: str) -> Result:
        """Find an engine's int8 network that the judge lets pass.

        Args:
            engine: one that has a quantiser.

        Raises:
            VerificationError: there is none.
        """
        kind = QUANTIZERS.find(engine)
        trained = (kind.trained,) if self._finetuned and kind.trained else ()
        first = self.best(
            [partial(self.quantizer, engine, recipe) for recipe in (*trained, *kind.recipes)]
        )
        quantizer = first.quantizer
        found = self.find(quantizer, whole=first.validated)
        times = self._times(engine, found.validated.quantized)
        return Result(
            quantized=found.validated.quantized,
            comparison=replace(found.validated.comparison, latency_ms=times["int8"], threads=1),
            quantization=self.described(quantizer, found, self._weight_bits),
            bytes_before=len(self._network.content),
            latency_ms=times,
            attempts=found.attempts + first.others,
        )

    def best(
        self,
        makers: Sequence[Callable[[], Q]],
        attempt: Callable[[Q], Quantized] | None = None,
    ) -> Calibrated[Q]:
        """Return the first of several quantisers that passes with no layer kept.

        If none does, it is the one that loses least, as the judge counts it, and of equals the one
        with the most answers that are the same. One that fails is left out if another does not.

        Args:
            makers: make them, the usual one first; the others are made where they are wanted.
            attempt: gives a quantiser's network with no layer kept, or what answers as it would.

        Raises:
            FleetnetError: all of them fail; the error is that of the first.
        """
        standard = _standard(self._judge)
        tried, failed = list[Calibrated[Q]](), list[FleetnetError]()
        for make in makers:
            try:
                quantizer = make()
                whole = attempt(quantizer) if attempt else quantizer.quantize(())
                validated = self._validate(quantizer.engine, whole, ())
            except DataError:
                raise  # the judge's: it would say the same of every network
            except FleetnetError as error:
                failed.append(error)
                continue
            made = Calibrated(quantizer, validated, len(tried))
            if standard.passes(validated):
                return made
            tried.append(made)
        if not tried:
            raise failed[0]
        best = min(tried, key=lambda made: (made.validated.loss, -made.validated.agreement))
        return best._replace(others=len(tried) - 1)

    def find(
        self,
        quantizer: Quantizer,
        advice: Advice | None = None,
        apart: Callable[[Validated], Apart | None] = lambda _: None,
        attempts: int | None = None,
        imitate: Callable[[Sequence[Layer]], Quantized] | None = None,
        whole: Validated | None = None,
    ) -> guard.Found[Validated]:
        """Find the fewest layers to keep for what the judge lets pass.

        Args:
            quantizer: makes the networks.
            advice: what the error tells to do, in place of what ``fleetnet quantize`` would.
            apart: finds the layer whose values are off in a network that is refused.
            attempts: at most so many networks are made; None for as many as it takes.
            imitate: gives what answers nearly as a network of the quantiser's would, in less time
                than that is made in, to search with.
            whole: the network with no layer kept, or its imitation, if it has been made.

        Raises:
            VerificationError: keeping layers with half of the multiply-adds does not suffice.
        """
        standard = _standard(self._judge)
        if advice is not None:
            standard = replace(standard, advice=advice.text, arguments=advice.arguments)

        def attempt(kept: Sequence[Layer]) -> Validated:
            if whole and not kept and imitate is None:
                return whole
            return self._validate(quantizer.engine, quantizer.quantize(kept), kept)

        def imitated(kept: Sequence[Layer]) -> Validated:
            assert imitate is not None  # noqa: S101 - for the type checker
            if whole and not kept:
                return whole
            return self._validate(f"{quantizer.engine} imitated", imitate(kept), kept)

        return guard.search(
            attempt,
            self._rank,
            standard,
            quantizer.engine,
            apart,
            attempts=attempts,
            imitate=imitated if imitate else None,
        )

    def described(
        self, quantizer: Quantizer, found: guard.Found[Validated], weight_bits: WeightBits
    ) -> Quantization:
        """Return what the manifest says of what :meth:`find` ended with."""
        return Quantization(
            tool=", ".join(map(str, filter(None, (quantizer.tool, self._finetuned)))),
            calibration_images=len(self._samples.calibration),
            weight_bits=weight_bits,
            agreement=self._required(found.validated),
            layers=len(self._layers),
            kept_layers=tuple(layer.name for layer in found.kept),
            kept_macs=macs_share(found.kept, self._layers),
        )

    @property
    def graph(self) -> onnx.ModelProto:
        """The network in fp32."""
        return self._network.graph

    @property
    def layers(self) -> tuple[Layer, ...]:
        """All of them, in the order they run."""
        return tuple(self._layers)

    def _required(self, validated: Validated) -> float:
        """Return the agreement that images without labels are held to from now on."""
        if isinstance(self._judge, AgreementJudge):
            return self._judge.wanted
        return max(validated.agreement, LEAST_AGREEMENT)

    def quantizer(self, engine: str, recipe: str = "") -> Quantizer:
        """Return an engine's quantiser, made once: ONNX Runtime's measures the ranges then.

        Args:
            engine: that has one.
            recipe: one of its recipes.
        """
        key = engine, recipe
        if key not in self._quantizers:
            rounding = self._rounded(engine) if recipe in (ROUNDED, NARROWED) else None
            network = replace(
                self._network,
                recipe=recipe,
                rounding=rounding,
                shared=partial(self.quantizer, ENGINE),
            )
            self._quantizers[key] = QUANTIZERS.find(engine).make(network)
        return self._quantizers[key]

    def _rounded(self, engine: str) -> Rounding:
        """Return the weights as a quantiser is to find them, chosen once for the same steps."""
        largest = QUANTIZERS.find(engine).largest[self._weight_bits]
        if largest not in self._roundings:
            self._roundings[largest] = self.rounding(self.graph, largest)
        return self._roundings[largest]

    def rounding(self, graph: onnx.ModelProto, largest: float) -> Rounding:
        """Return a graph's weights rounded for their sums, by the images for calibration."""
        pixels = self._samples.calibration
        advance = self._begin("rounding weights", min(len(pixels), IMAGES_ROUNDED))
        return rounding_of(graph, pixels, largest, advance)

    def _validate(self, name: str, quantized: Quantized, kept: Sequence[Layer]) -> Validated:
        with quantized.open(available_threads()) as engine:
            comparison = compare(
                engine,
                self._samples.validation,
                self._expected,
                probabilities_of(self._bundle.manifest),
                self._begin(step(name, "validating", kept), len(self._samples.validation)),
                self._bundle.manifest.model.activation,
                self._judge,
            )
        return Validated(quantized, comparison)

    def _rank(self) -> list[Layer]:
        """Rank the layers by calibration images, not by validation images, which stay unseen."""
        if self._ranking is None:
            quantizer = self.quantizer(ENGINE)
            pixels = self._samples.calibration[:IMAGES]
            self._ranking = rank(
                self._layers,
                quantizer,
                pixels,
                run_in_batches(self._reference, pixels),
                self._bundle.manifest.model.activation,
                self._begin("ranking layers", len(self._layers)),
            )
        return self._ranking

    def _times(self, engine: str, quantized: Quantized) -> dict[Precision, float]:
        others = [name for name in precisions(engine, self._bundle) if name != "int8"]
        with contextlib.ExitStack() as stack:
            opened: dict[Precision, Engine] = {
                name: stack.enter_context(open_engine(engine, self._bundle, 1, precision=name))
                for name in others
            }
            opened["int8"] = stack.enter_context(quantized.open(1))
            return median_ms(opened, self._samples.validation[:1])
