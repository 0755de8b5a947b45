"""The order of a source's samples in an epoch."""

from __future__ import annotations

import numpy as np

from fleetnet.data.sources.samples import Indices


def shard_shuffle(
    indices: Indices, shards: Indices, rng: np.random.Generator, buffer: int
) -> Indices:
    """Shuffle so that samples that are read one after another are still close together.

    Shards come in random order, each one's samples in the order of the file; then samples are
    shuffled locally, as if drawn from a buffer, but bounded both ways: every sample moves by less
    than ``buffer`` places, so no shard is needed for longer than that.

    Args:
        indices: ``intp[N]``, the samples of the epoch.
        shards: the shard of each sample of the source, by its index.
        rng: decides everything.
        buffer: how far samples may move; 1 keeps the order of the file, and N or more shuffles as
            if there were no shards.

    Returns:
        ``intp[N]``, the same samples.

    Raises:
        ValueError: ``buffer`` is below 1.
    """
    if buffer < 1:
        raise ValueError(f"a buffer must hold at least one sample, not {buffer}")
    if buffer >= len(indices):
        return rng.permutation(indices)
    of_sample = shards[indices]
    present = np.flatnonzero(np.bincount(of_sample))
    turns = np.zeros(int(present[-1]) + 1, np.int64)
    turns[present] = rng.permutation(len(present))
    # One number says both, whose order is found in a fraction of the time that two take. In place,
    # because there may be millions.
    ordered = turns[of_sample]
    del of_sample
    ordered *= len(shards)
    ordered += indices
    ordered.sort()
    ordered %= len(shards)
    # Samples that are `buffer` or more apart cannot change their order.
    keys = rng.random(len(ordered))
    keys *= buffer
    keys += np.arange(len(ordered))
    return ordered[np.argsort(keys, kind="stable")]
