"""Numbers with their nouns, sizes and shares, as they are written everywhere."""

from __future__ import annotations


def count(number: int, noun: str, plural: str = "") -> str:
    """Return a number and its noun, such as ``1 image`` and ``2 images``.

    Args:
        number: how many.
        noun: of one of them.
        plural: of several, where that is not the noun with an s.
    """
    return f"{number:,} {noun if number == 1 else plural or f'{noun}s'}"
