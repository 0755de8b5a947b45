"""The images of an epoch: which, in which order and how often."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal, NamedTuple

import numpy as np
import numpy.typing as npt

from fleetnet.data.order import shard_shuffle
from fleetnet.data.seeds import generator
from fleetnet.data.sources import Source
from fleetnet.data.sources.samples import SampleTable
from fleetnet.data.splits import Indices

Sampling = Literal["shuffle", "balanced"]


class Draw(NamedTuple):
    """The images of one batch."""

    epoch: int
    indices: Indices
    """Into the source's samples."""
    copies: Indices
    """How many times the epoch has shown the image before."""


@dataclass(frozen=True)
class InOrder:
    """The given images once, in their order, for evaluation."""

    indices: Indices
    batch_size: int

    @property
    def images(self) -> int:
        """How many images an epoch has."""
        return len(self.indices)

    def draws(self, epoch: int) -> Iterator[Draw]:
        """Yield the batches of an epoch, counted from 1."""
        yield from _batches(epoch, self.indices, self.batch_size)


class Shuffled:
    """The images of a training epoch; they depend only on the seed and the epoch's number.

    Args:
        source: of the images; one in shards is shuffled within a window.
        indices: of the images to train on.
        batch_size: images in a batch; the last may have fewer, but not a single one, for which
            batch norm has no variance.
        seed: of the run.
        sampling: ``shuffle`` shows every image once, ``balanced`` every class equally often.
        repeats: how often a batch has each of its images.
        buffer: how many images of a source in shards are shuffled together.
    """

    def __init__(
        self,
        source: Source,
        indices: Indices,
        *,
        batch_size: int,
        seed: int,
        sampling: Sampling = "shuffle",
        repeats: int = 1,
        buffer: int = 4096,
    ) -> None:
        self.source = source
        self.indices = indices
        self.batch_size = batch_size
        self.seed = seed
        self.sampling = sampling
        self.repeats = repeats
        self.buffer = buffer
        self.images = len(indices)
        if batch_size > 1 and self.images % batch_size == 1:
            self.images = max(self.images - 1, 1)

    def draws(self, epoch: int) -> Iterator[Draw]:
        """Yield the batches of an epoch, counted from 1."""
        order = self._order(generator(self.seed, "order", epoch))
        if self.repeats > 1:
            order = repeat_in_batches(order, self.batch_size, self.repeats)
        yield from _batches(epoch, order[: self.images], self.batch_size)

    def _order(self, rng: np.random.Generator) -> Indices:
        if self.sampling == "balanced":
            return balanced(self.source, self.indices, rng)
        shards = self.source.shards
        if shards is None:
            return rng.permutation(self.indices)
        return shard_shuffle(self.indices, shards, rng, self.buffer)


def balanced(source: Source, indices: Indices, rng: np.random.Generator) -> Indices:
    """Return as many indices as there are, with every class equally often.

    With one label an image, the numbers of two classes differ by one at most, and no image of a
    class comes again before all of it had their turn. With many, images are drawn with replacement
    by the inverse frequency of their rarest label; those without labels count as a class.
    """
    if source.multi_label:
        weights = inverse_frequency(source, indices)
        return rng.choice(indices, size=len(indices), p=weights)
    table = SampleTable.of(source.samples)
    labels = table.values[table.ends[indices] - 1]
    present = rng.permutation(np.unique(labels))
    drawn = []
    for rank, label in enumerate(present):
        members = indices[labels == label]
        count = len(indices) // len(present) + (rank < len(indices) % len(present))
        rounds = -(-count // len(members))
        turns = [rng.permutation(members) for _ in range(rounds)]
        drawn.append(np.concatenate([*turns, members[:0]])[:count])
    return rng.permutation(np.concatenate(drawn))


def inverse_frequency(source: Source, indices: Indices) -> npt.NDArray[np.float64]:
    """Return the share of each image when drawn by the inverse count of its rarest label."""
    table = SampleTable.of(source.samples)
    lengths = np.diff(table.ends, prepend=0)
    counts = table.label_counts(indices, len(source.classes))
    # Of every sample the count of its rarest label; reduceat knows no empty stretch.
    has_labels = lengths > 0
    rarest = np.full(len(table), np.count_nonzero(~has_labels[indices]), np.int64)
    starts = (table.ends - lengths)[has_labels]
    if len(starts):
        rarest[has_labels] = np.minimum.reduceat(counts[table.values], starts)
    weights: npt.NDArray[np.float64] = 1.0 / rarest[indices]
    weights /= weights.sum()
    return weights


def repeat_in_batches(order: Indices, batch_size: int, repeats: int) -> Indices:
    """Return the first images of ``order``, each ``repeats`` times in its batch.

    The length stays the same; if ``batch_size`` is no multiple of ``repeats``, the last image of a
    batch has fewer copies. This is repeated augmentation (Hoffer et al. 2020).
    """
    batches: list[Indices] = []
    taken = 0
    for start in range(0, len(order), batch_size):
        size = min(batch_size, len(order) - start)
        distinct = order[taken : taken + -(-size // repeats)]
        taken += len(distinct)
        batches.append(np.repeat(distinct, repeats)[:size])
    return np.concatenate(batches)


def count_earlier(order: Indices) -> Indices:
    """Return for each entry how many equal ones precede it."""
    if len(order) and np.bincount(order).max() == 1:
        return np.zeros(len(order), np.intp)
    by_value = np.argsort(order, kind="stable")
    ordered = order[by_value]
    starts = np.flatnonzero(np.r_[True, ordered[1:] != ordered[:-1]])
    lengths = np.diff(np.r_[starts, len(ordered)])
    earlier = np.empty(len(order), np.intp)
    earlier[by_value] = np.arange(len(order)) - np.repeat(starts, lengths)
    return earlier


def _batches(epoch: int, order: Indices, size: int) -> Iterator[Draw]:
    copies = count_earlier(order)
    for start in range(0, len(order), size):
        yield Draw(epoch, order[start : start + size], copies[start : start + size])
