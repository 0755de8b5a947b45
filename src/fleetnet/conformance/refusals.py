"""Why a picture is refused, in one word that all hosts share; the words are part of the set."""

from __future__ import annotations

from typing import Literal, get_args

from fleetnet.errors import ImageError

Kind = Literal[
    "empty", "not-an-image", "too-long", "too-large", "unsupported", "truncated", "damaged"
]
_KINDS: tuple[Kind, ...] = get_args(Kind)


def kind_of(error: ImageError) -> Kind:
    """Return the word for what is wrong: the error's ``code``, ``damaged`` if that is no such."""
    return next((kind for kind in _KINDS if kind == error.code), "damaged")


def fits(found: Kind, expected: Kind) -> bool:
    """Tell whether a refusal is the expected one.

    For a file that ends too early, some decoders say only that it is damaged.
    """
    return found == expected or (expected == "truncated" and found == "damaged")
