"""Which split the name of a file or folder means."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from typing import TypeVar

import numpy as np
import numpy.typing as npt

from fleetnet.data.sources.samples import NO_SPLIT, TEST, TRAIN, VAL
from fleetnet.errors import DataError
from fleetnet.reporting import Note

S = TypeVar("S")
T = TypeVar("T")

WORDS = {
    "train": TRAIN, "training": TRAIN,
    "val": VAL, "valid": VAL, "validation": VAL, "dev": VAL, "eval": VAL,
    "evaluation": VAL,
    "test": TEST, "testing": TEST,
}  # fmt: skip
IS_LEFT_OUT = "is left out"
"""Part of every note on a split that does not fit."""
_WORD = re.compile(
    f"({'|'.join(WORDS)})(?:(?:set|split|part|image|img|picture|photo|sample|file|folder)s?|data)?"
)
"""A word for a split, by itself or before one for what is in it: ``trainset``, ``testimages``."""


def split_of_name(name: str) -> int:
    """Return the split that a file's name means, such as ``train-00000-of-00001.parquet``.

    The word for a split must be between digits and signs, or before a word that means no more than
    images, such as ``set``. Names with words for several splits mean none.
    """
    words = re.findall(r"[a-z]+", name.casefold())
    found = {WORDS[match[1]] for word in words if (match := _WORD.fullmatch(word))}
    return found.pop() if len(found) == 1 else NO_SPLIT


def splits_to_use(splits: Sequence[int]) -> tuple[npt.NDArray[np.int8], npt.NDArray[np.bool_]]:
    """Return the split of each item (an image, a shard), and which items are used at all.

    Training and validation splits are kept where there are both; then items without a split are
    left out. Otherwise everything but the test split is to be split later and has none here. The
    test split is kept apart in both cases, unless there is nothing else: then it has none either.
    """
    codes = np.asarray(splits, np.int8)
    if (codes == TRAIN).any() and (codes == VAL).any():
        return codes, codes != NO_SPLIT
    is_test = codes == TEST
    whole = np.zeros_like(codes) if is_test.all() else np.where(is_test, TEST, NO_SPLIT)
    return whole.astype(np.int8), np.ones(len(codes), bool)


def with_test_if_it_fits(
    make: Callable[[S], T], everything: S, but_test: S | None
) -> tuple[T, S, tuple[str, ...]]:
    """Call ``make`` with all the data, or without the test split where that does not fit.

    So a test split that does not fit does not stop training, and is never used in part.

    Args:
        make: makes something of the data.
        everything: the data.
        but_test: the data without the test split, None if there is no such split.

    Returns:
        What was made, the data it was made of, and notes: why the test split is left out, if it is.

    Raises:
        DataError: ``make`` fails without the test split too.
    """
    try:
        return make(everything), everything, ()
    except DataError as error:
        if but_test is None:
            raise
        return make(but_test), but_test, (without_test(error),)


def without_test(error: DataError) -> str:
    """Return the note that says that a test split is left out, and why."""
    return Note.of(error, f"the test split {IS_LEFT_OUT}: {error}")
