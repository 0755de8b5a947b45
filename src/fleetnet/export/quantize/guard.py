"""Which layers to keep in fp32, so that the answers stay the same.

The search knows nothing of engines: it is given a way to quantise a network with some layers kept,
and looks for the fewest layers, the most sensitive first, with which it is good enough.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Generic, Protocol, TypeVar

from fleetnet.errors import VerificationError
from fleetnet.export.quantize.apart import Apart
from fleetnet.export.quantize.layers import Layer, macs_share

MOST_KEPT = 0.5
"""Largest share of the multiply-adds that may stay in fp32: beyond it there is little to gain."""


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
) -> Found[T]:
    """Find the fewest of the most sensitive layers to keep for what is wanted.

    The number kept is doubled until that suffices, then bisected between the largest number that
    failed and the smallest that passed. Answers need not get better with each layer kept, so the
    number found passes and one fewer fails, but a smaller one might pass too.

    Args:
        attempt: quantises all layers but those given and compares the answers.
        ranking: all layers, the most sensitive first; asked for only where it is needed.
        wanted: what is good enough; a number is the share of the images that have to get the same
            answer.
        what: what is quantised, for the error.
        apart: finds the layer whose values are off in a network that is refused.

    Raises:
        VerificationError: it is not good enough even with half of the multiply-adds in fp32.
    """
    standard: Standard[T] = wanted if isinstance(wanted, Standard) else agreeing(wanted)
    kept: tuple[Layer, ...] = ()
    validated, attempts = attempt(kept), 1
    if standard.passes(validated):
        return Found(kept, validated, attempts)
    ranked = tuple(ranking())
    most = _most(ranked)
    failing, passing = 0, 0
    while not passing:
        if failing == most:
            raise _refusal(what, kept, ranked, validated, standard, apart(validated))
        number = min(max(2 * failing, 1), most)
        kept = ranked[:number]
        validated, attempts = attempt(kept), attempts + 1
        if standard.passes(validated):
            passing = number
        else:
            failing = number
    found = Found(kept, validated, attempts)
    while passing - failing > 1:
        number = (failing + passing) // 2
        validated, attempts = attempt(ranked[:number]), attempts + 1
        if standard.passes(validated):
            passing, found = number, Found(ranked[:number], validated, attempts)
        else:
            failing = number
    return Found(found.kept, found.validated, attempts)


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
) -> VerificationError:
    share = macs_share(kept, ranked)
    where = str(apart) if apart else f"rounding '{ranked[0].name}' changes the answers most"
    return VerificationError(
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
