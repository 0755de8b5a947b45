from collections import Counter

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fleetnet.data.sampling import (
    Draw,
    Shuffled,
    count_earlier,
    inverse_frequency,
    repeat_in_batches,
)
from fleetnet.data.seeds import generator
from listed import Listed

MANY: list[tuple[int, ...]] = [(0,), (0,), (0, 1), (0, 2), (2,), ()]
UNEVEN = Listed([(label,) for label in [0] * 40 + [1] * 7 + [3] * 3])


def shuffled(source: Listed = UNEVEN, batch_size: int = 8, **options: object) -> Shuffled:
    indices = np.arange(len(source.samples))
    return Shuffled(source, indices, batch_size=batch_size, seed=1, **options)  # type: ignore[arg-type]


def order(draws: Shuffled, epoch: int = 1) -> list[int]:
    return np.concatenate([draw.indices for draw in draws.draws(epoch)]).tolist()  # type: ignore[no-any-return]


def test_an_epoch_shows_every_image_once() -> None:
    draws = shuffled()
    assert sorted(order(draws)) == list(range(50))
    assert [len(draw.indices) for draw in draws.draws(1)] == [8] * 6 + [2]
    assert order(draws, 1) == order(draws, 1)
    assert order(draws, 1) != order(draws, 2)


def test_a_remainder_of_one_is_left_out() -> None:
    assert shuffled(batch_size=7).images == 49
    assert len(order(shuffled(batch_size=7))) == 49
    assert shuffled(batch_size=49).images == 49
    assert shuffled(batch_size=1).images == 50


def test_balanced_shows_every_class_equally_often() -> None:
    draws = shuffled(sampling="balanced")
    shown = order(draws)
    assert len(shown) == 50
    classes = Counter(UNEVEN.samples[index].label for index in shown)
    assert sorted(classes.values()) == [16, 17, 17]
    images = Counter(shown)
    assert max(images[index] for index in range(40)) == 1
    assert all(images[index] in (5, 6) for index in range(47, 50))
    assert shown == order(draws)
    assert shown != order(draws, 2)


def test_copies_tell_the_showings_of_an_image_apart() -> None:
    seen: set[tuple[int, int]] = set()
    for draw in shuffled(sampling="balanced", repeats=2).draws(1):
        seen |= set(zip(draw.indices.tolist(), draw.copies.tolist(), strict=True))
    assert len(seen) == 50


def test_multi_label_is_balanced_by_the_rarest_label() -> None:
    source = Listed(MANY, multi_label=True)
    weights = inverse_frequency(source, np.arange(6))
    assert weights.sum() == pytest.approx(1)
    # Four images have 0, one has 1, two have 2, one has none.
    assert weights / weights[0] == pytest.approx([1, 1, 4, 2, 2, 4])
    many = Listed(MANY * 100, multi_label=True)
    counts = Counter(index % 6 for index in order(shuffled(many, sampling="balanced")))
    assert counts[2] / counts[0] == pytest.approx(4, rel=0.4)


@given(st.data())
def test_weights_are_those_of_each_image_alone(data: st.DataObject) -> None:
    row = st.sets(st.integers(0, 4), max_size=4).map(lambda labels: tuple(sorted(labels)))
    rows = data.draw(st.lists(row, min_size=1, max_size=30))
    chosen = data.draw(st.sets(st.integers(0, len(rows) - 1), min_size=1).map(sorted))
    counts = Counter(label for index in chosen for label in rows[index])
    unlabelled = sum(not rows[index] for index in chosen)
    each = [1 / min((counts[n] for n in rows[index]), default=unlabelled) for index in chosen]
    found = inverse_frequency(Listed(rows, classes=5, multi_label=True), np.array(chosen))
    assert found == pytest.approx(np.array(each) / sum(each))


@pytest.mark.parametrize("repeats", [2, 3, 4])
def test_repeats_stay_within_a_batch_and_keep_the_length(repeats: int) -> None:
    draws = list(shuffled(repeats=repeats).draws(1))
    assert sum(len(draw.indices) for draw in draws) == 50
    shown: set[int] = set()
    for draw in draws:
        counts = Counter(draw.indices.tolist())
        assert not shown & set(counts)
        shown |= set(counts)
        assert sorted(counts.values())[1:] == [repeats] * (len(counts) - 1)
        assert draw.copies.max() == min(repeats, len(draw.indices)) - 1


@given(st.integers(1, 60), st.integers(1, 12), st.integers(1, 6))
def test_repeating_changes_no_length(length: int, batch_size: int, repeats: int) -> None:
    assert len(repeat_in_batches(np.arange(length), batch_size, repeats)) == length


@given(st.lists(st.integers(0, 5), min_size=1))
def test_earlier_showings_are_counted(values: list[int]) -> None:
    expected = [values[:place].count(value) for place, value in enumerate(values)]
    assert count_earlier(np.array(values)).tolist() == expected


def test_shards_are_read_one_after_another() -> None:
    shards = np.arange(50) // 10
    source = Listed([sample.labels for sample in UNEVEN.samples], shards=shards)
    near = order(shuffled(source, buffer=10))
    assert sorted(near) == list(range(50))
    for start in range(0, 50, 10):
        assert len({shards[index] for index in near[start : start + 10]}) <= 3


def test_streams_of_randomness_are_independent() -> None:
    keys = [("order", 0), ("order", 0, 0), ("image", 0), ("mix", 0), ("order",), ("order", 1)]
    firsts = {generator(3, purpose, *key).random() for purpose, *key in keys}  # type: ignore[arg-type]
    assert len(firsts) == len(keys)
    assert generator(2**63 - 1, "image", 5, 2**40, 3).random() == (
        generator(2**63 - 1, "image", 5, 2**40, 3).random()
    )


def test_draws_name_their_epoch() -> None:
    assert all(isinstance(draw, Draw) and draw.epoch == 4 for draw in shuffled().draws(4))
