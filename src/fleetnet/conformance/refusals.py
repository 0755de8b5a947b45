"""Why a picture is refused, in one word that all hosts share.

The words are part of the set. The messages of this host, from which it finds them, are not.
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
    """Tell whether a refusal is the expected one.

    For a file that ends too early, some decoders say only that it is damaged.
    """
    return found == expected or (expected == "truncated" and found == "damaged")
