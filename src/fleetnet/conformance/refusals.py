"""Why a picture is refused, in one word that every host has.

The words are part of the set; the messages of this host, by which it knows them, are not.
"""

from __future__ import annotations

import re
from typing import Literal, get_args

from fleetnet.errors import ImageError

Kind = Literal[
    "empty", "not-an-image", "too-long", "too-large", "unsupported", "truncated", "damaged"
]
_KINDS: tuple[Kind, ...] = get_args(Kind)

_MESSAGES: tuple[tuple[Kind, str], ...] = (
    ("empty", r"the file is empty"),
    ("not-an-image", r"not an image"),
    ("too-long", r"is longer than 1:"),
    ("too-large", r"million pixels|is larger than"),
    ("unsupported", r"no defined range"),
    ("truncated", r"truncated|cut off"),
)


def kind_of(error: ImageError) -> Kind:
    """Return the word for what is wrong: the error's own ``code`` if it is one of them."""
    code = getattr(error, "code", None)
    for kind in _KINDS:
        if kind == code:
            return kind
    message = str(error)
    return next((kind for kind, words in _MESSAGES if re.search(words, message)), "damaged")


def fits(found: Kind, expected: Kind) -> bool:
    """Tell whether a refusal is the right one.

    What ends too early is damaged, and some decoders say no more of it than that.
    """
    return found == expected or (expected == "truncated" and found == "damaged")
