"""Numbers with their nouns, sizes and shares, as they are written everywhere."""

from __future__ import annotations

import math

NONE = "–"
"""Where there is no figure."""


def count(number: int, noun: str) -> str:
    """Return a number and its noun, such as ``1 image``, ``2 images`` and ``2 classes``."""
    ending = "" if number == 1 else "es" if noun.endswith("s") else "s"
    return f"{number:,} {noun}{ending}"


def percent(fraction: float | None) -> str:
    """Return a fraction as a percentage with two decimals, for columns, or a dash.

    Where the unit is to be beside it: :func:`share`.
    """
    return NONE if fraction is None or not math.isfinite(fraction) else f"{fraction * 100:.2f}"


def share(fraction: float | None) -> str:
    """Return a fraction as a percentage with its sign, such as ``83.69%``, or a dash."""
    text = percent(fraction)
    return text if text == NONE else f"{text}%"


def size(number: int) -> str:
    """Return a number of bytes in a unit that leaves something of it, such as ``0.98 MB``."""
    if number < 1000:
        return count(number, "byte")
    if number < 1e5:
        return f"{number / 1e3:.1f} kB"
    return f"{number / 1e6:.2f} MB" if number < 1e9 else f"{number / 1e9:.1f} GB"
