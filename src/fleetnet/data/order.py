"""The order of a source in shards."""

from __future__ import annotations

import numpy as np

from fleetnet.data.splits import Indices


def shard_shuffle(
    indices: Indices, shards: Indices, rng: np.random.Generator, buffer: int
) -> Indices:
    """Return ``indices`` shard after shard in random order, shuffled within a window."""
    of = shards[indices]
    order = np.concatenate([indices[of == shard] for shard in rng.permutation(np.unique(of))])
    blocks = [order[start : start + buffer] for start in range(0, len(order), buffer)]
    return np.concatenate([rng.permutation(block) for block in blocks])
