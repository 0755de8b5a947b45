"""What workers of engines that take ready floats share; needs NumPy."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float32]


class FloatNetwork:
    """A network that takes normalised ``float32[1, 3, H, W]`` and gives logits."""

    def __init__(self, compute: Callable[[Any], Any], inputs: list[Any]) -> None:
        self.compute = compute
        self.inputs = inputs

    def run(self, number: int) -> Any:
        """Compute one input."""
        return self.compute(self.inputs[number])

    def probabilities(self, number: int) -> Floats:
        """Return the softmax of the logits."""
        return softmax(np.asarray(self.run(number), np.float32).reshape(-1))


def load_floats(inputs: str) -> list[Floats]:
    """Return the normalised inputs, each a batch of one."""
    return [np.ascontiguousarray(floats[None]) for floats in np.load(inputs)["floats"]]


def softmax(logits: Floats) -> Floats:
    """Return probabilities."""
    powers = np.exp(logits - logits.max())
    return np.asarray(powers / powers.sum(), np.float32)


def every(one: Callable[[str], list[int]], threads: int) -> Callable[[list[str]], list[list[int]]]:
    """Return what answers for many files, on one thread or on several that each take a file."""
    if threads == 1:
        return lambda paths: [one(path) for path in paths]
    pool = ThreadPoolExecutor(threads)
    return lambda paths: list(pool.map(one, paths))


def best_five(scores: Floats) -> list[int]:
    """Return the five classes with the highest scores, best first."""
    return [int(index) for index in np.argsort(scores)[::-1][:5]]
