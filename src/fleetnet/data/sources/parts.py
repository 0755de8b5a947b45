"""Which side of the split a name says that images are on."""

from __future__ import annotations

import re
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from fleetnet.data.sources.samples import NO_PART, TRAIN, VAL

TEST = 3
"""Images of a test part: used only where there is nothing else."""

WORDS = {
    "train": TRAIN, "training": TRAIN,
    "val": VAL, "valid": VAL, "validation": VAL, "dev": VAL,
    "test": TEST, "testing": TEST,
}  # fmt: skip


def part_of_name(name: str) -> int:
    """Return the part that a file's name says, such as ``train-00000-of-00001.parquet``.

    A word for a part must stand alone between digits and signs; names with several different ones
    say nothing.
    """
    words = re.findall(r"[a-z]+", name.casefold())
    found = {WORDS[word] for word in words if word in WORDS}
    return found.pop() if len(found) == 1 else NO_PART


def settle(parts: Sequence[int]) -> tuple[npt.NDArray[np.int8], npt.NDArray[np.bool_]]:
    """Return the parts to go by, and which of the things are used at all.

    Parts count where there is both something to train on and something to hold out; then what is
    of no part, or of the test part, is left out. Otherwise everything but the test part is one
    whole, to be split, and the test part too if there is nothing else.
    """
    codes = np.asarray(parts, np.int8)
    if (codes == TRAIN).any() and (codes == VAL).any():
        return codes, (codes == TRAIN) | (codes == VAL)
    used = codes != TEST
    if not used.any():
        used = ~used
    return np.zeros_like(codes), used
