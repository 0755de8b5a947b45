"""Which layers to keep in fp32, so that the answers stay the same.

The search knows nothing of engines: it is given a way to quantise a network with some layers kept,
and looks for the fewest layers, the most sensitive first, with which enough answers agree.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Generic, Protocol, TypeVar

from fleetnet.errors import VerificationError
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
    wanted: float,
    what: str,
    instead: str = "",
) -> Found[T]:
    """Find the fewest of the most sensitive layers to keep for the agreement that is wanted.

    The number kept is doubled until the agreement suffices, then bisected between the largest
    number that failed and the smallest that passed. Agreement need not grow with each layer kept,
    so the number found passes and one fewer fails, but a smaller one might pass too.

    Args:
        attempt: quantises all layers but those given and compares the answers.
        ranking: all layers, the most sensitive first; asked for only where it is needed.
        wanted: share of the images that have to get the same answer.
        what: what is quantised, for the error.
        instead: what the error tells to do, where there is no ``agreement=`` to make smaller.

    Raises:
        VerificationError: too few answers agree even with half of the multiply-adds in fp32.
    """
    kept: tuple[Layer, ...] = ()
    validated, attempts = attempt(kept), 1
    if validated.agreement >= wanted:
        return Found(kept, validated, attempts)
    ranked = tuple(ranking())
    most = _most(ranked)
    failing, passing = 0, 0
    while not passing:
        if failing == most:
            raise _refusal(what, kept, ranked, validated.agreement, wanted, instead)
        number = min(max(2 * failing, 1), most)
        kept = ranked[:number]
        validated, attempts = attempt(kept), attempts + 1
        if validated.agreement >= wanted:
            passing = number
        else:
            failing = number
    found = Found(kept, validated, attempts)
    while passing - failing > 1:
        number = (failing + passing) // 2
        validated, attempts = attempt(ranked[:number]), attempts + 1
        if validated.agreement >= wanted:
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
    agreement: float,
    wanted: float,
    instead: str,
) -> VerificationError:
    share = macs_share(kept, ranked)
    return VerificationError(
        f"{what} in int8 gives the same answer on {agreement:.2%} of the images, {wanted:.2%} are "
        f"wanted, although the {len(kept)} most sensitive of {len(ranked)} layers ({share:.0%} of "
        f"the multiply-adds) stay in fp32; rounding '{ranked[0].name}' changes the answers most: "
        f"nothing is written; {instead or 'use fp32 or bf16, or a smaller agreement='}",
        engine=what,
        precision="int8",
        agreement=agreement,
        required_agreement=wanted,
        kept_layers=[layer.name for layer in kept],
        layer=ranked[0].name,
        arguments=[] if instead else ["agreement"],
    )
