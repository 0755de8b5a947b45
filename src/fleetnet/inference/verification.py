"""Verifying a bundle on this machine: every installed engine against the trained network."""

from __future__ import annotations

import contextlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from fleetnet.bundle import Bundle
from fleetnet.errors import BundleError
from fleetnet.inference.comparison import Comparison, judged
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
from fleetnet.inference.judging import AGREEMENT, judge_without_labels
from fleetnet.inference.left_out_engines import LeftOutEngine, left_out_engines
from fleetnet.inference.verify import JudgeOf, verify_bundle, verify_fewer_bits
from fleetnet.reporting import Say


@dataclass(frozen=True)
class Report:
    """What verification found.

    Attributes:
        comparisons: of the engines in fp32.
        fewer_bits: of the engines in int8, and of those whose device has no fp32 in the first
            precision that it has; each with a verdict, see :func:`stands`.
        has_reference: whether the reference was the trained network itself; otherwise its answers
            at export, which the bundle records.
        tolerance: largest allowed difference of a probability.
        not_compared: the other engines that are known here, each with the reason.
    """

    comparisons: tuple[Comparison, ...]
    fewer_bits: tuple[Comparison, ...]
    has_reference: bool
    tolerance: float
    not_compared: tuple[LeftOutEngine, ...] = ()

    @property
    def failed(self) -> Comparison | None:
        """The first comparison beyond the tolerance; None if there is none."""
        return next((one for one in self.comparisons if not one.passes(self.tolerance)), None)

    @property
    def refuted(self) -> Comparison | None:
        """The first in fewer bits that is shown to lose too much; None if there is none."""
        return next((one for one in self.fewer_bits if not stands(one)), None)

    @property
    def passed(self) -> bool:
        """Whether every comparison passed."""
        return self.failed is None and self.refuted is None

    def to_json(self) -> dict[str, Any]:
        """Return all of it as JSON values."""
        return {
            "passed": self.passed,
            "tolerance": self.tolerance,
            "reference": REFERENCE if self.has_reference else "self_test",
            "engines": [one.to_json() for one in self.comparisons],
            "fewer_bits": [
                {
                    **one.to_json(),
                    "required_agreement": required_agreement(one),
                    "passed": stands(one),
                    "reference": REFERENCE if self.has_reference else "fp32",
                }
                for one in self.fewer_bits
            ],
            "not_compared": [vars(one) for one in self.not_compared],
        }


def stands(comparison: Comparison) -> bool:
    """Tell whether fewer bits may be what their bundle says of them, as far as these images show.

    They are a sample: it fails only if they show that more is lost than was allowed, or that less
    agrees.
    """
    return not judged(comparison).refuted


def required_agreement(comparison: Comparison) -> float | None:
    """Return the share of the same answers that is wanted, where that is what is judged."""
    judgement = judged(comparison).judgement
    return 1 - judgement.allowed if judgement.judged_by == AGREEMENT else None


def _compared(offered: Sequence[Precision]) -> list[Precision]:
    """Return fp32, or what a device has first in its place, and int8 if that is offered."""
    return [one for place, one in enumerate(offered) if place == 0 or one == "int8"] or ["fp32"]


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
        judge_of: what repeats the judgement that fewer bits passed, with the labels of ``pixels``
            if there are any.
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
        opened = [
            open_one(name, precision, place)
            for name, place in places.items()
            if (name, place) != (REFERENCE, CPU)
            for precision in _compared(precisions(name, bundle, place))
        ]
        if not opened:
            raise BundleError(f"no engine that is installed can run {bundle.path}")
        engines = [one for one in opened if one.precision == "fp32"]
        fewer = [one for one in opened if one.precision != "fp32"]
        comparisons: tuple[Comparison, ...] = ()
        fewer_bits: tuple[Comparison, ...] = ()
        if engines:
            comparisons = tuple(verify_bundle(bundle, engines, pixels, reference))
        if fewer:
            # A device may have no fp32, but the processor has.
            known = reference or (engines[0] if engines else open_one(opened[0].name))
            fewer_bits = tuple(verify_fewer_bits(bundle, fewer, pixels, known, judge_of))
        not_compared = tuple(left_out_engines(bundle, places, without))
    return Report(comparisons, fewer_bits, reference is not None, tolerance, not_compared)
