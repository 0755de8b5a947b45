"""Which side of the split a name says that images are on."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from typing import TypeVar

import numpy as np
import numpy.typing as npt

from fleetnet.data.sources.samples import NO_PART, TEST, TRAIN, VAL
from fleetnet.errors import DataError

S = TypeVar("S")
T = TypeVar("T")

WORDS = {
    "train": TRAIN, "training": TRAIN,
    "val": VAL, "valid": VAL, "validation": VAL, "dev": VAL, "eval": VAL,
    "evaluation": VAL,
    "test": TEST, "testing": TEST,
}  # fmt: skip
IS_LEFT_OUT = "is left out"
"""In every note on a part that does not fit."""
_WORD = re.compile(
    f"({'|'.join(WORDS)})(?:(?:set|split|part|image|img|picture|photo|sample|file|folder)s?|data)?"
)
"""A word for a part, alone or before one for what is in it: ``trainset``, ``testimages``."""


def part_of_name(name: str) -> int:
    """Return the part that a file's name says, such as ``train-00000-of-00001.parquet``.

    A word for a part must stand alone between digits and signs, or before a word that says no more
    than that images are there; names with several different ones say nothing.
    """
    words = re.findall(r"[a-z]+", name.casefold())
    found = {WORDS[match[1]] for word in words if (match := _WORD.fullmatch(word))}
    return found.pop() if len(found) == 1 else NO_PART


def settle(parts: Sequence[int]) -> tuple[npt.NDArray[np.int8], npt.NDArray[np.bool_]]:
    """Return the parts to go by, and which of the things are used at all.

    Training and validation count where there are both; then what is of no part is left out.
    Otherwise everything but the test part is one whole, to be split. The test part stays apart
    from either, unless there is nothing else: then it is that whole.
    """
    codes = np.asarray(parts, np.int8)
    if (codes == TRAIN).any() and (codes == VAL).any():
        return codes, codes != NO_PART
    is_test = codes == TEST
    whole = np.zeros_like(codes) if is_test.all() else np.where(is_test, TEST, NO_PART)
    return whole.astype(np.int8), np.ones(len(codes), bool)


def with_test_if_it_fits(
    make: Callable[[S], T], everything: S, but_test: S | None
) -> tuple[T, S, tuple[str, ...]]:
    """Make something of data with its test part, or without it where the test part does not fit.

    So training goes on, and nothing is measured on a part of the part.

    Args:
        make: makes it.
        everything: what to make it of.
        but_test: the same without the test part, None if there is no such part.

    Returns:
        What was made, what it was made of, and a note that says why the test part is left out.

    Raises:
        DataError: it cannot be made without the test part either.
    """
    try:
        return make(everything), everything, ()
    except DataError as error:
        if but_test is None:
            raise
        return make(but_test), but_test, (without_test(error),)


def without_test(error: DataError) -> str:
    """Return the note that a test part is left out, and why."""
    return f"the test part {IS_LEFT_OUT}: {error}"
