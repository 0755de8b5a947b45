"""The order in which an epoch goes through a source."""

from __future__ import annotations

import numpy as np

from fleetnet.data.sources.samples import Indices


def shard_shuffle(
    indices: Indices, shards: Indices, rng: np.random.Generator, buffer: int
) -> Indices:
    """Shuffle so that what is read one after another still lies close together.

    Shards come in random order, each one's samples in the order of the file; then samples change
    places among their neighbours, as if drawn from a buffer, but with a bound both ways: every
    sample ends less than ``buffer`` places from where it was, so that no shard has to be kept, or
    gone back to, for longer than that.

    Args:
        indices: ``intp[N]``, the samples of the epoch.
        shards: the shard of each sample of the source, by its index.
        rng: decides everything.
        buffer: how far samples move; 1 leaves them in the order of the file, and N or more
            shuffles as if there were no shards.

    Returns:
        ``intp[N]``, the same samples.

    Raises:
        ValueError: ``buffer`` is below 1.
    """
    if buffer < 1:
        raise ValueError(f"a buffer of {buffer} samples holds none")
    if buffer >= len(indices):
        return rng.permutation(indices)
    of_sample = shards[indices]
    present = np.unique(of_sample)
    turn = rng.permutation(len(present))[np.searchsorted(present, of_sample)]
    ordered = indices[np.lexsort((indices, turn))]
    # Keys of samples that lie `buffer` or more apart cannot change their order.
    keys = np.arange(len(ordered)) + rng.random(len(ordered)) * buffer
    return ordered[np.argsort(keys, kind="stable")]
