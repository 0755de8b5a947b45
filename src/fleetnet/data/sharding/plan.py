"""Which images go into which shard, in what order and under what name."""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict, dataclass
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from fleetnet.data.contents import content_of
from fleetnet.data.order import shard_shuffle
from fleetnet.data.sources import Source, fingerprint
from fleetnet.data.sources.samples import NO_SPLIT, TEST, TRAIN, VAL, Indices, SampleTable
from fleetnet.data.sources.shard_manifest import ShardsKind
from fleetnet.formats import is_image_name

PER_SHARD = 1000
BUFFER = 65_536
"""How far the images of a source that is in shards itself may move, so that each is read once."""
_WORDS = {NO_SPLIT: "shard", TRAIN: "train", VAL: "val", TEST: "test"}
"""What shards are called, in the order of the splits; the test split is last where it is read."""
_VERSION = 1
"""Of how images are laid out; shards that another one began are not continued."""


@dataclass(frozen=True)
class ShardOptions:
    """How shards are made.

    Attributes:
        kind: of the shards.
        per_shard: images in each, but the last of a split.
        max_side: longest side that larger images are made smaller to; None leaves all as they are.
        seed: of the order.
    """

    kind: ShardsKind = "webdataset"
    per_shard: int = PER_SHARD
    max_side: int | None = None
    seed: int = 0


class PlannedShard(NamedTuple):
    """A shard to be made: its file's name, and the samples of the source that go into it."""

    name: str
    indices: Indices


def plan(source: Source, options: ShardOptions) -> list[PlannedShard]:
    """Return the shards to make, in the order in which they are read.

    The images of a split are shuffled, so that a shard has all classes; those of a source in shards
    within a window, so that each of its shards is read once. The plan follows from its arguments
    alone.
    """
    splits = SampleTable.of(source.samples).splits
    rng = np.random.default_rng(options.seed)
    found = []
    for code, word in _WORDS.items():
        indices = np.flatnonzero(splits == code)
        if not len(indices):
            continue
        if source.shards is None:
            order = rng.permutation(indices)
        else:
            order = shard_shuffle(indices, source.shards, rng, BUFFER)
        chunks = np.split(order, range(options.per_shard, len(order), options.per_shard))
        for number, chunk in enumerate(chunks):
            found.append(PlannedShard(_name(options.kind, word, number, len(chunks)), chunk))
    return found


def key_of_plan(source: Source, options: ShardOptions) -> str:
    """Return a word for all that the shards depend on, by which a later call recognises its own."""
    facts = [_VERSION, fingerprint(source), len(source.samples), asdict(options)]
    return hashlib.sha256(json.dumps(facts).encode()).hexdigest()


class Keys:
    """What the samples are called in tar files: as their files, as far as keys allow that.

    A key has no dot after the last slash, because it ends there. Of samples that would have the
    same one, each gets its number as well.

    Args:
        source: of the samples.
    """

    def __init__(self, source: Source) -> None:
        self._samples = source.samples
        stems = np.array(
            [content_of(_stem(sample.name).encode()) for sample in source.samples], np.uint64
        )
        _, inverse, counts = np.unique(stems, return_inverse=True, return_counts=True)
        self._shared: npt.NDArray[np.bool_] = counts[inverse] > 1

    def __getitem__(self, index: int) -> str:
        stem = _stem(self._samples[index].name)
        return f"{stem}~{index}" if self._shared[index] else stem


def _stem(name: str) -> str:
    """Return a name as a key; what is no Unicode in it is written out."""
    *folders, base = [part for part in name.split("/") if part not in ("", ".", "..")] or ["image"]
    stem = base.rpartition(".")[0] if is_image_name(base) else base
    key = "/".join([*folders, stem.replace(".", "_") or "image"])
    return key.encode("utf-8", "backslashreplace").decode()


def _name(kind: ShardsKind, word: str, number: int, total: int) -> str:
    if kind == "parquet":
        return f"{word}-{number:05d}-of-{total:05d}.parquet"
    return f"{word}-{number:06d}.tar"
