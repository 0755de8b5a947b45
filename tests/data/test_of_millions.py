"""What is done for millions of images at once gives what was done for each."""

import hashlib
from collections.abc import Sequence
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from fleetnet.data import duplicates
from fleetnet.data.order import shard_shuffle
from fleetnet.data.sampling import balanced, count_earlier
from fleetnet.data.sources import Sample, SampleTable, fingerprint

CLASSES = ("cat", "dög", "", "a\udc80b")
SPLITS = (None, "train", "val", "test")


def samples(count: int, *, several: bool, tests: bool) -> list[Sample]:
    rng = np.random.default_rng(count)
    return [
        Sample(
            f"{number}-ü-{'x' * int(rng.integers(0, 9))}\udcff",
            tuple(range(int(rng.integers(0, 4)))) if several else (int(rng.integers(0, 4)),),
            SPLITS[rng.integers(0, 4)] if tests else None,  # type: ignore[arg-type]
        )
        for number in range(count)
    ]


def sample_by_sample(rows: Sequence[Sample]) -> str:
    digest = hashlib.sha256()
    for row in rows:
        if row.split != "test":
            line = "\0".join([*(CLASSES[label] for label in row.labels), row.name]) + "\n"
            digest.update(line.encode("utf-8", "surrogatepass"))
    return digest.hexdigest()


@pytest.mark.parametrize("several", [False, True])
@pytest.mark.parametrize("tests", [False, True])
@pytest.mark.parametrize("count", [1, 4096, 9000])
def test_fingerprints(count: int, several: bool, tests: bool) -> None:
    rows = samples(count, several=several, tests=tests)
    expected = sample_by_sample(rows)
    for form in (rows, SampleTable.of(rows)):
        source: Any = SimpleNamespace(samples=form, classes=CLASSES)
        assert fingerprint(source) == expected
    table = SampleTable.of(rows)
    first = np.arange(max(count // 2, 1))
    assert list(table.take(first)) == rows[: len(first)]
    assert list(table.take(first[::-1])) == rows[: len(first)][::-1]


def test_a_known_fingerprint() -> None:
    source: Any = SimpleNamespace(
        samples=[Sample("a/1.jpg", (0,)), Sample("b/2.jpg", (1,), "test"), Sample("c", (0, 1))],
        classes=("a", "b"),
    )
    assert fingerprint(source) == hashlib.sha256(b"a\0a/1.jpg\na\0b\0c\n").hexdigest()


def test_equal_digests() -> None:
    digests = np.random.default_rng(0).integers(0, 256, (900, 16), np.uint8)
    digests[[7, 300, 899]] = digests[5]
    digests[100, :8] = digests[50, :8]  # half of one
    digests[200, 8:] = digests[150, 8:]
    digests[400] = digests[50]
    first: dict[bytes, int] = {}
    expected = [first.setdefault(row.tobytes(), number) for number, row in enumerate(digests)]
    assert duplicates._first_equal(digests).tolist() == expected
    assert duplicates._first_equal(digests[:0]).tolist() == []


@pytest.mark.parametrize("buffer", [1, 10, 400])
def test_orders(buffer: int) -> None:
    shards = np.sort(np.random.default_rng(1).integers(0, 40, 1000)) * 3
    indices = np.flatnonzero(np.random.default_rng(2).random(1000) < 0.7)
    rng = np.random.default_rng(3)
    of_sample = shards[indices]
    present = np.unique(of_sample)
    turn = rng.permutation(len(present))[np.searchsorted(present, of_sample)]
    ordered = indices[np.lexsort((indices, turn))]
    keys = np.arange(len(ordered)) + rng.random(len(ordered)) * buffer
    expected = ordered[np.argsort(keys, kind="stable")]
    found = shard_shuffle(indices, shards, np.random.default_rng(3), buffer)
    assert found.tolist() == expected.tolist()
    assert found.dtype == np.intp


def test_earlier_copies_and_balance() -> None:
    assert count_earlier(np.array([4, 0, 7])).tolist() == [0, 0, 0]
    assert count_earlier(np.array([4, 0, 4, 4, 0])).tolist() == [0, 0, 1, 2, 1]
    assert count_earlier(np.empty(0, np.intp)).tolist() == []
    rows = samples(400, several=False, tests=False)
    drawn = []
    for form in (rows, SampleTable.of(rows)):
        source: Any = SimpleNamespace(samples=form, multi_label=False)
        found = balanced(source, np.arange(0, 400, 3), np.random.default_rng(0))
        drawn.append(found.tolist())
    assert drawn[0] == drawn[1]
    labels = np.bincount([rows[index].label for index in drawn[0]])
    assert labels.max() - labels.min() <= 1
