"""Checking that a bundle gives the same answers in every engine, on the set's pictures."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from fleetnet import native
from fleetnet.bundle import Bundle, Judgement
from fleetnet.conformance.check import CORE, Check, Difference, first_difference, readable
from fleetnet.conformance.files import ConformanceSet
from fleetnet.conformance.reference import reference_input
from fleetnet.errors import DataError, ImageError, VerificationError
from fleetnet.inference.comparison import Comparison, compare, probabilities_of, run_in_batches
from fleetnet.inference.engines import (
    REFERENCE,
    Engine,
    Pixels,
    Precision,
    engines_for,
    open_engine,
    precisions,
)
from fleetnet.inference.verify import TOLERANCE
from fleetnet.preprocess import Preprocess

_EXACT = (True, False)


@dataclass(frozen=True)
class BundleCheck:
    """A bundle's answers to the set's pictures.

    Attributes:
        inputs: its preprocessing by the C core compared with the reference.
        reference: the engine that the others are compared with.
        comparisons: of the engines, in every precision that they offer.
        tolerance: largest allowed difference of a probability in fp32.
        on_record: of each comparison, what the bundle has on record of what is lost in it.
    """

    inputs: Check
    reference: str
    comparisons: tuple[Comparison, ...]
    tolerance: float
    on_record: tuple[Judgement | None, ...]

    @property
    def passed(self) -> bool:
        """Whether the inputs are the reference's, and every engine's fp32 answers too."""
        return self.inputs.passed and all(map(self.allows, self.comparisons))

    def allows(self, comparison: Comparison) -> bool:
        """Tell whether an engine's answers are close enough; with fewer bits than fp32, always.

        ``fleetnet verify`` checks those, on images like the network's own.
        """
        return comparison.precision != "fp32" or comparison.passes(self.tolerance)

    def failure(self, name: str) -> VerificationError | None:
        """Return what is wrong with the bundle, None if nothing is."""
        if not self.inputs.passed:
            return VerificationError(
                f"{name}: {self.inputs.differences[0]}",
                file=name,
                picture=self.inputs.differences[0].picture,
            )
        for comparison in self.comparisons:
            if not self.allows(comparison):
                return VerificationError(
                    f"{name}: {comparison.engine} differs from {self.reference} by up to "
                    f"{comparison.max_abs_diff:.2g} (allowed: {self.tolerance:g}), top-1 agrees on "
                    f"{comparison.top1_agreement:.2%}",
                    file=name,
                    tolerance=self.tolerance,
                    **comparison.facts,
                )
        return None

    def to_json(self) -> dict[str, Any]:
        """Return everything as JSON values."""
        return {
            "passed": self.passed,
            "inputs": self.inputs.to_json(),
            "reference": self.reference,
            "tolerance": self.tolerance,
            "engines": [
                {
                    **comparison.to_json(),
                    "judgement": judgement and judgement.model_dump(mode="json"),
                    "passed": self.allows(comparison),
                }
                for comparison, judgement in zip(self.comparisons, self.on_record, strict=True)
            ],
        }


def check_bundle(
    found: ConformanceSet, bundle: Bundle, tolerance: float = TOLERANCE
) -> BundleCheck:
    """Compare a bundle's preprocessing and every engine's answers here with the reference's.

    The reference is the trained network in PyTorch, if that is installed and the bundle has its
    weights; otherwise the bundle's fp32 graph in the first of the other engines.

    Args:
        found: the set whose pictures are used.
        bundle: what to check.
        tolerance: largest difference of a probability to allow in fp32.

    Raises:
        DataError: no engine that is installed can run it, or no picture can be decoded.
        FleetnetError: a file of the set or of the bundle is missing or damaged, or an engine
            cannot be opened.
    """
    inputs, pixels = _inputs(found, bundle.manifest.preprocess)
    names = sorted(engines_for(bundle), key=lambda name: name != REFERENCE)
    if not names:
        raise DataError(f"no engine that is installed can run {bundle.path}")
    with open_engine(names[0], bundle, 1) as reference:
        expected = run_in_batches(reference, pixels)
    comparisons = tuple(
        compare(
            engine,
            pixels,
            expected,
            probabilities_of(bundle.manifest),
            activation=bundle.manifest.model.activation,
        )
        for engine in _opened(bundle, names)
    )
    on_record = tuple(bundle.judgement(one.engine, one.precision) for one in comparisons)
    return BundleCheck(inputs, names[0], comparisons, tolerance, on_record)


def _opened(bundle: Bundle, names: Sequence[str]) -> Iterator[Engine]:
    """Open the engines in each of their precisions, except the reference's own in fp32."""
    for place, name in enumerate(names):
        offered: tuple[Precision, ...] = precisions(name, bundle)
        for precision in offered:
            if place or precision != "fp32":
                with contextlib.closing(
                    open_engine(name, bundle, 1, precision=precision)
                ) as engine:
                    yield engine


def _inputs(found: ConformanceSet, preprocess: Preprocess) -> tuple[Check, Pixels]:
    """Compare the C core's inputs with Python's; return that and Python's exact inputs."""
    answers = 0
    differences: list[Difference] = []
    crops: list[Pixels] = []
    title = f"{preprocess.interpolation} {preprocess.resize}/{preprocess.crop}"
    for picture, data in readable(found):
        try:
            both = [(exact, reference_input(data, preprocess, exact=exact)) for exact in _EXACT]
        except ImageError as error:
            answers += 1
            differences.append(Difference(picture.name, f"refused: {error}"))
            continue
        crops.append(both[0][1])
        for exact, expected in both if native.core else ():
            answers += 1
            where = first_difference(preprocess.from_bytes(data, exact=exact), expected)
            if where:
                smaller = "" if exact else ", decoded smaller"
                detail = f"{title}{smaller}, {CORE}: {where}"
                differences.append(Difference(picture.name, detail))
    if not crops:
        raise DataError(f"no picture of the set can be decoded here: {differences[0]}")
    return Check(f"inputs, {CORE}", answers, tuple(differences)), np.stack(crops)
