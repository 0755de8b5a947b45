"""Which network for a budget: published accuracies beside what was measured here."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

from fleetnet.benchmark.measured import Measurement
from fleetnet.errors import FleetnetError
from fleetnet.models.registry import NAMES, published
from fleetnet.weights.published import weights_of

AnyOne = TypeVar("AnyOne")


@dataclass(frozen=True)
class Candidate:
    """A network with a published accuracy.

    Attributes:
        name: a word for it and, where that is one, its set of weights.
        model: the network.
        family: what its family is called.
        size: side of the images that the accuracy was published for, in pixels.
        top1: on ImageNet-1k, as published, as a fraction.
        source: who published it.
        figures: the document's other figures.
    """

    name: str
    model: str
    family: str
    size: int
    top1: float
    source: str
    figures: dict[str, Any]


def candidates() -> tuple[Candidate, ...]:
    """Return every name with a published accuracy: a document's, else that of its weights."""
    return tuple(one for name in NAMES if (one := _candidate(name)) is not None)


def _candidate(name: str) -> Candidate | None:
    entry, sets = NAMES[name].entry, weights_of(name)
    family = _family(entry.family)
    row = published()["models"].get(name)
    if row is not None:
        title = published()["documents"][row["document"]]["title"]
        return Candidate(name, entry.name, family, 224, row["top1"], title, row)
    if not sets:
        return None
    usual = sets[0]
    crop = usual.preprocess.crop
    return Candidate(name, entry.name, family, crop, usual.top1, usual.source, {})


def _family(file: str) -> str:
    """Return what a family is called: how the name of its first network begins."""
    first = next(name for name, named in NAMES.items() if named.entry.family == file)
    return first.partition("_")[0]


@dataclass(frozen=True)
class Budget:
    """The most that a network may cost; None where that does not matter.

    Attributes:
        latency: seconds for one image.
        size: bytes of the files that the engine loads.
        macs: multiply-adds for one image.
    """

    latency: float | None = None
    size: float | None = None
    macs: float | None = None

    def allows(self, measurement: Measurement) -> bool:
        """Tell whether a network is within all of it."""
        return all(
            most is None or spent <= most
            for most, spent in (
                (self.latency, measurement.p50),
                (self.size, measurement.bytes),
                (self.macs, measurement.macs),
            )
        )


UNITS: dict[str, dict[str, float]] = {
    "latency": {"us": 1e-6, "µs": 1e-6, "ms": 1e-3, "s": 1.0},
    "size": {"kb": 1e3, "mb": 1e6, "gb": 1e9},
    "macs": {"k": 1e3, "m": 1e6, "g": 1e9},
}
_WRITTEN = {"latency": "us, ms, s", "size": "kB, MB, GB", "macs": "k, M, G"}
_EXAMPLES = {"latency": "5ms", "size": "5MB", "macs": "100M"}


def amount(text: str, kind: str) -> float:
    """Return an amount with its unit, such as ``5ms``, ``5MB`` or ``100M``, as a plain number.

    Args:
        text: what a user wrote.
        kind: a key of :data:`UNITS`.

    Raises:
        FleetnetError: it is no number above 0 with such a unit.
    """
    found = re.fullmatch(r"(\d{1,9}(?:\.\d{1,9})?)\s*([A-Za-zµ]+)", text.strip(), re.ASCII)
    units = UNITS[kind]
    if found is None or found[2].lower() not in units or float(found[1]) == 0:
        raise FleetnetError(
            f"{kind}='{text}' is no {kind}: a number and a unit ({_WRITTEN[kind]}), such as "
            f"{_EXAMPLES[kind]}",
            arguments=[kind],
        )
    return float(found[1]) * units[found[2].lower()]


@dataclass(frozen=True)
class Choice:
    """A network and what it costs here."""

    candidate: Candidate
    measurement: Measurement


def choices(
    figures: Iterable[Measurement], budget: Budget, precision: str = "fp32"
) -> list[Choice]:
    """Return the networks within a budget, the most accurate first.

    Of the numbers of threads that a network was measured with, the fastest counts.

    Args:
        figures: what was measured.
        budget: what a network may cost.
        precision: that it computes in.
    """
    fastest: dict[tuple[str, int], Measurement] = {}
    for one in figures:
        key = (one.model, one.size)
        if one.precision == precision and (key not in fastest or one.p50 < fastest[key].p50):
            fastest[key] = one
    found = [
        Choice(candidate, measurement)
        for candidate in candidates()
        if (measurement := fastest.get((candidate.model, candidate.size))) is not None
        and budget.allows(measurement)
    ]
    return sorted(found, key=lambda one: (-one.candidate.top1, one.measurement.p50))


def pareto(
    points: Sequence[AnyOne], cost: Callable[[AnyOne], float], gain: Callable[[AnyOne], float]
) -> list[AnyOne]:
    """Return the points that no other beats: none costs as little and gains as much, and more.

    They come from the cheapest to the most expensive.
    """
    front: list[AnyOne] = []
    for point in sorted(points, key=lambda one: (cost(one), -gain(one))):
        if not front or gain(point) > gain(front[-1]):
            front.append(point)
    return front
