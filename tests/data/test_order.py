import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fleetnet.data.order import shard_shuffle


@given(
    st.lists(st.integers(1, 30), min_size=1, max_size=8),
    st.integers(1, 100),
    st.integers(0, 2**32),
    st.floats(0.1, 1.0),
)
def test_it_is_a_permutation_of_bounded_reach(
    counts: list[int], buffer: int, seed: int, share: float
) -> None:
    shards = np.repeat(np.arange(len(counts)), counts)
    chosen = np.flatnonzero(np.random.default_rng(seed).random(len(shards)) < share)
    order = shard_shuffle(chosen, shards, np.random.default_rng(seed), buffer)
    assert sorted(order.tolist()) == chosen.tolist()
    assert np.array_equal(order, shard_shuffle(chosen, shards, np.random.default_rng(seed), buffer))
    if buffer < len(chosen):
        # With a buffer of one, the same draws give the order before the shuffle.
        before = shard_shuffle(chosen, shards, np.random.default_rng(seed), 1)
        place = {index: number for number, index in enumerate(before.tolist())}
        moved = [abs(place[index] - number) for number, index in enumerate(order.tolist())]
        assert max(moved) < buffer


def test_a_buffer_of_one_keeps_shards_whole_and_in_file_order() -> None:
    shards = np.repeat(np.arange(20), 5)
    order = shard_shuffle(np.arange(100), shards, np.random.default_rng(0), 1)
    blocks = order.reshape(20, 5)
    assert (np.diff(blocks, axis=1) == 1).all()
    assert sorted(shards[blocks[:, 0]].tolist()) == list(range(20))
    assert shards[blocks[:, 0]].tolist() != list(range(20))


def test_a_buffer_mixes_neighbours() -> None:
    shards = np.repeat(np.arange(10), 100)
    order = shard_shuffle(np.arange(1000), shards, np.random.default_rng(0), 200)
    neighbours = np.abs(np.diff(order)) == 1
    assert neighbours.mean() < 0.05
    # and yet no more than a few shards are needed at a time
    assert max(len(set(shards[order[at : at + 10]])) for at in range(0, 990, 10)) <= 5


def test_a_buffer_for_all_is_a_plain_shuffle() -> None:
    shards = np.zeros(50, np.intp)
    order = shard_shuffle(np.arange(50), shards, np.random.default_rng(4), 50)
    assert np.array_equal(order, np.random.default_rng(4).permutation(np.arange(50)))


def test_no_buffer_is_refused() -> None:
    with pytest.raises(ValueError, match="at least one sample, not 0"):
        shard_shuffle(np.arange(3), np.zeros(3, np.intp), np.random.default_rng(0), 0)
