"""One seed for a run, and independent random generators from it for every purpose."""

from __future__ import annotations

from typing import Literal

import numpy as np

Purpose = Literal["order", "image", "mix", "noise"]

_PURPOSES: dict[Purpose, int] = {"order": 0, "image": 1, "mix": 2, "noise": 3}


def generator(seed: int, purpose: Purpose, *key: int) -> np.random.Generator:
    """Return the generator of ``purpose`` for ``key``, the same on every machine.

    Args:
        seed: of the run, at least 0.
        purpose: the ``order`` of images in an epoch, the augmentation of one ``image``, the
            ``mix`` of a batch, or the ``noise`` inside the network of one of several processes.
        key: numbers of this use: the epoch, then the image and its copy, or the batch; the step and
            the process.
    """
    # Not default_rng([seed, ...]): entropy is padded with zeros, so [1] and [1, 0] are the same.
    sequence = np.random.SeedSequence(seed, spawn_key=(_PURPOSES[purpose], *key))
    return np.random.default_rng(sequence)
