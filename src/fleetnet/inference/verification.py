"""Verifying a bundle on this machine: every installed engine against the trained network."""

from __future__ import annotations

import contextlib
from dataclasses import dataclass
from typing import Any

from fleetnet.bundle import Bundle
from fleetnet.errors import BundleError
from fleetnet.inference.comparison import Comparison
from fleetnet.inference.engines import (
    CPU,
    ENGINES,
    REFERENCE,
    Engine,
    Pixels,
    Precision,
    engines_for,
    engines_on,
    open_engine,
    precisions,
)
from fleetnet.inference.judging import judge_without_labels
from fleetnet.inference.left_out_engines import LeftOutEngine, left_out_engines
from fleetnet.inference.verify import JudgeOf, verify_bundle, verify_quantized
from fleetnet.reporting import Say


@dataclass(frozen=True)
class Report:
    """What verification found.

    Attributes:
        comparisons: of the engines, each in the first precision that it offers on the device.
        int8: of the engines that compute in int8, each with the agreement that is required where
            the comparison has no verdict, see :func:`stands`.
        has_reference: whether the reference was the trained network itself; otherwise its answers
            at export, which the bundle records.
        tolerance: largest allowed difference of a probability.
        not_compared: the other engines that are known here, each with the reason.
    """

    comparisons: tuple[Comparison, ...]
    int8: tuple[tuple[Comparison, float], ...]
    has_reference: bool
    tolerance: float
    not_compared: tuple[LeftOutEngine, ...] = ()

    @property
    def failed(self) -> Comparison | None:
        """The first comparison beyond the tolerance; None if there is none."""
        return next((one for one in self.comparisons if not one.passes(self.tolerance)), None)

    @property
    def int8_failed(self) -> tuple[Comparison, float] | None:
        """The first in int8 that differs too much, and the agreement required; None if none."""
        return next(((one, wanted) for one, wanted in self.int8 if not stands(one, wanted)), None)

    @property
    def passed(self) -> bool:
        """Whether every comparison passed."""
        return self.failed is None and self.int8_failed is None

    def to_json(self) -> dict[str, Any]:
        """Return all of it as JSON values."""
        return {
            "passed": self.passed,
            "tolerance": self.tolerance,
            "reference": REFERENCE if self.has_reference else "self_test",
            "engines": [one.to_json() for one in self.comparisons],
            "int8": [
                {
                    **one.to_json(),
                    "required_agreement": wanted,
                    "passed": stands(one, wanted),
                    "reference": REFERENCE if self.has_reference else "fp32",
                }
                for one, wanted in self.int8
            ],
            "not_compared": [vars(one) for one in self.not_compared],
        }


def stands(comparison: Comparison, wanted: float) -> bool:
    """Tell whether int8 may be what its bundle says of it, as far as these images show.

    They are a sample: it fails only if they show that more is lost than was allowed, or that less
    agrees.

    Args:
        comparison: with the trained network.
        wanted: the agreement required, where the comparison has no verdict.
    """
    if comparison.verdict is not None:
        return not comparison.verdict.refuted
    return comparison.meets(wanted)


def verify_here(
    bundle: Bundle,
    pixels: Pixels,
    *,
    tolerance: float,
    threads: int = 1,
    device: str = CPU,
    judge_of: JudgeOf = judge_without_labels,
    say: Say = lambda _: None,
) -> Report:
    """Compare every installed engine that can load the bundle, and has the device, with PyTorch.

    Args:
        bundle: what to verify; the files that engines take are checked against their hashes.
        pixels: real images, ``uint8[N, crop, crop, 3]``.
        tolerance: largest difference of a probability to allow.
        threads: to compute with.
        device: as the engines' runtimes name it.
        judge_of: what repeats the judgement that int8 passed, with the labels of ``pixels`` if
            there are any.
        say: called with what the user should know.

    Raises:
        FleetnetError: an engine cannot be opened, or there is nothing to compare with.
    """
    with contextlib.ExitStack() as stack:

        def open_one(name: str, precision: Precision = "fp32", place: str = CPU) -> Engine:
            return stack.enter_context(
                open_engine(name, bundle, threads, precision=precision, device=place)
            )

        reference = open_one(REFERENCE) if ENGINES[REFERENCE].installed else None
        if reference is None:
            say("PyTorch is not installed: comparing with the answers recorded at export")
        without: dict[str, str] = {}
        places = engines_on(device, engines_for(bundle), without)
        engines = [
            open_one(name, next(iter(precisions(name, bundle, place)), "fp32"), place)
            for name, place in places.items()
            if (name, place) != (REFERENCE, CPU)
        ]
        if not engines:
            raise BundleError(f"no engine that is installed can run {bundle.path}")
        comparisons = tuple(verify_bundle(bundle, engines, pixels, reference))
        quantized = [
            open_one(engine.name, "int8", engine.device)
            for engine in engines
            if "int8" in precisions(engine.name, bundle, engine.device)
        ]
        int8 = tuple(verify_quantized(bundle, quantized, pixels, reference or engines[0], judge_of))
        not_compared = tuple(left_out_engines(bundle, places, without))
    return Report(comparisons, int8, reference is not None, tolerance, not_compared)
