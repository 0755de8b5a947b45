"""Which layers to keep in fp32, so that the answers stay the same.

The search knows nothing of engines: it is given a way to quantise a network with some layers kept,
and looks for the fewest layers, the most sensitive first, with which it is good enough.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any, Generic, Protocol, TypeVar

from fleetnet.errors import VerificationError
from fleetnet.export.quantize.apart import Apart
from fleetnet.export.quantize.layers import Layer, macs_share

MOST_KEPT = 0.5
"""Largest share of the multiply-adds that may stay in fp32: beyond it there is little to gain."""


class RefusedError(VerificationError):
    """No network was good enough; that one could not be run is another error."""


class Validated(Protocol):
    """A quantised network whose answers were compared."""

    @property
    def agreement(self) -> float:
        """Share of the images with the same answer."""
        ...


T = TypeVar("T", bound=Validated)
Judged = TypeVar("Judged", bound=Validated, contravariant=True)


@dataclass(frozen=True)
class Standard(Generic[Judged]):
    """What is good enough.

    Attributes:
        passes: tells whether a network is.
        shortfall: says what it does instead, after its name and before what was kept.
        facts: what an error says of it.
        advice: what to do about it.
        arguments: those that the advice names.
    """

    passes: Callable[[Judged], bool]
    shortfall: Callable[[Judged], str]
    facts: Callable[[Judged], dict[str, Any]]
    advice: str
    arguments: tuple[str, ...] = ()


def agreeing(wanted: float) -> Standard[Validated]:
    """Return the standard of a share of the images that have to get the same answer."""
    return Standard(
        passes=lambda one: one.agreement >= wanted,
        shortfall=lambda one: (
            f"gives the same answer on {one.agreement:.2%} of the images, {wanted:.2%} are wanted"
        ),
        facts=lambda one: {"agreement": one.agreement, "required_agreement": wanted},
        advice="use fp32 or bf16, or a smaller agreement=",
        arguments=("agreement",),
    )


@dataclass(frozen=True)
class Found(Generic[T]):
    """What the search ended with.

    Attributes:
        kept: layers that stay in fp32, the most sensitive first.
        validated: the network with those kept.
        attempts: how many networks were made and validated.
    """

    kept: tuple[Layer, ...]
    validated: T
    attempts: int


def search(
    attempt: Callable[[Sequence[Layer]], T],
    ranking: Callable[[], Sequence[Layer]],
    wanted: float | Standard[T],
    what: str,
    apart: Callable[[T], Apart | None] = lambda _: None,
    *,
    attempts: int | None = None,
    imitate: Callable[[Sequence[Layer]], T] | None = None,
) -> Found[T]:
    """Find the fewest of the most sensitive layers to keep for what is wanted.

    The number kept is doubled until that suffices, then bisected between the largest number that
    failed and the smallest that passed. Answers need not get better with each layer kept, so the
    number found passes and one fewer fails, but a smaller one might pass too.

    Where attempts are few, as many layers as may be are kept first: if that does not suffice, the
    refusal takes two attempts, and else the others are spent between, in steps that halve the order
    of the number, on fewer layers. What passed when they are spent is found.

    Args:
        attempt: quantises all layers but those given and compares the answers.
        ranking: all layers, the most sensitive first; asked for only where it is needed.
        wanted: what is good enough; a number is the share of the images that have to get the same
            answer.
        what: what is quantised, for the error.
        apart: finds the layer whose values are off in a network that is refused.
        attempts: at most so many, two or more; None for as many as it takes.
        imitate: does nearly what ``attempt`` does, in less time: the number is found with it, and
            then doubled where ``attempt`` does not bear it out.

    Raises:
        RefusedError: it is not good enough even with half of the multiply-adds in fp32.
    """
    standard: Standard[T] = wanted if isinstance(wanted, Standard) else agreeing(wanted)
    if imitate is not None:
        number = _imitated(imitate, ranking, standard, what, attempts)
        return _from(number, attempt, ranking, standard, what, apart)
    last, spent = attempt(()), 1
    if standard.passes(last):
        return Found((), last, spent)
    ranked = tuple(ranking())
    most = _most(ranked)
    found: Found[T] | None = None
    failing = 0
    while found is None or (len(found.kept) - failing > 1 and spent != attempts):
        if found is None and failing == most:
            raise _refusal(what, ranked[:most], ranked, last, standard, apart(last))
        number = _next(
            failing, len(found.kept) if found else None, most, bounded=attempts is not None
        )
        last, spent = attempt(ranked[:number]), spent + 1
        if standard.passes(last):
            found = Found(ranked[:number], last, spent)
        else:
            failing = number
    return replace(found, attempts=spent)


def _imitated(
    imitate: Callable[[Sequence[Layer]], T],
    ranking: Callable[[], Sequence[Layer]],
    standard: Standard[T],
    what: str,
    attempts: int | None,
) -> int:
    """Return how many layers an imitation has to keep, or the most that may be."""
    try:
        return len(search(imitate, ranking, standard, what, attempts=attempts).kept)
    except RefusedError:
        return _most(ranking())


def _from(
    number: int,
    attempt: Callable[[Sequence[Layer]], T],
    ranking: Callable[[], Sequence[Layer]],
    standard: Standard[T],
    what: str,
    apart: Callable[[T], Apart | None],
) -> Found[T]:
    """Keep so many layers, and twice as many until that suffices.

    Raises:
        RefusedError: as :func:`search`.
    """
    attempts = 0
    while True:
        kept = tuple(ranking())[:number] if number else ()
        last, attempts = attempt(kept), attempts + 1
        if standard.passes(last):
            return Found(kept, last, attempts)
        ranked = tuple(ranking())
        most = _most(ranked)
        if number >= most:
            raise _refusal(what, kept, ranked, last, standard, apart(last))
        number = min(max(2 * number, 1), most)


def _next(failing: int, passing: int | None, most: int, *, bounded: bool) -> int:
    """Return how many layers to keep next, more than failed and fewer than passed."""
    if passing is None:
        return most if bounded else min(max(2 * failing, 1), most)
    if bounded:
        return max(math.isqrt(max(failing, 1) * passing), failing + 1)
    return (failing + passing) // 2


def _most(ranked: Sequence[Layer]) -> int:
    """Return how many layers of the ranking may be kept."""
    counts = range(len(ranked))
    return max(count for count in counts if macs_share(ranked[:count], ranked) <= MOST_KEPT)


def _refusal(
    what: str,
    kept: Sequence[Layer],
    ranked: Sequence[Layer],
    last: T,
    standard: Standard[T],
    apart: Apart | None,
) -> RefusedError:
    share = macs_share(kept, ranked)
    where = str(apart) if apart else f"rounding '{ranked[0].name}' changes the answers most"
    return RefusedError(
        f"{what} in int8 {standard.shortfall(last)}, although the {len(kept)} most sensitive of "
        f"{len(ranked)} layers ({share:.0%} of the multiply-adds) stay in fp32; {where}: "
        f"nothing is written; {standard.advice}",
        engine=what,
        precision="int8",
        kept_layers=[layer.name for layer in kept],
        layer=apart.layer if apart else ranked[0].name,
        arguments=list(standard.arguments),
        **standard.facts(last),
    )
