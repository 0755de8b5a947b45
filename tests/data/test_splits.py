import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fleetnet.data.sources import SplitName
from fleetnet.data.splits import Split, check_classes, shown_in_training, split, spread
from fleetnet.errors import DataError
from listed import Listed, counted


def split_without_groups(counts: list[int], fraction: float, seed: int) -> list[int]:
    """Hold out as checkpoints were split that know nothing of duplicates."""
    labels = np.repeat(np.arange(len(counts)), counts)
    val: list[int] = []
    for label, count in enumerate(counts):
        members = np.flatnonzero(labels == label)
        shuffled = np.random.default_rng([seed, label]).permutation(members)
        val += shuffled[: min(max(round(count * fraction), 1), count - 1)].tolist()
    return sorted(val)


@given(
    st.lists(st.integers(2, 60), min_size=1, max_size=6),
    st.floats(0.01, 0.99),
    st.integers(0, 1000),
)
def test_split_is_stratified_complete_and_seeded(
    counts: list[int], fraction: float, seed: int
) -> None:
    source = counted(counts)
    found = split(source, fraction, seed)
    assert sorted([*found.train, *found.val]) == list(range(sum(counts)))
    labels = np.array([sample.label for sample in source.samples])
    for label, count in enumerate(counts):
        held_out = int((labels[found.val] == label).sum())
        assert 1 <= held_out < count
        assert abs(held_out - count * fraction) <= 1
    assert np.array_equal(found.val, split(source, fraction, seed).val)
    assert found.val.tolist() == split_without_groups(counts, fraction, seed)
    assert not len(found.dropped)


def test_the_split_of_older_checkpoints_stays() -> None:
    assert split(counted([6, 5, 9]), 0.25, 3).val.tolist() == [2, 5, 7, 12, 19]


def test_another_seed_holds_out_other_images() -> None:
    source = counted([100, 100])
    assert not np.array_equal(split(source, 0.25, 0).val, split(source, 0.25, 1).val)


def test_a_class_of_one_image_cannot_be_split() -> None:
    with pytest.raises(DataError, match="'class 1' has a single image"):
        split(counted([5, 1]))


def test_a_class_without_images_is_passed_over() -> None:
    found = split(Listed([(0,)] * 4 + [(2,)] * 4, classes=5))
    assert len(found.val) == 2


def separable(drawn: list[tuple[int, int]]) -> bool:
    """Tell whether every class has an image to hold out and another one to train on."""
    for label in {label for label, _ in drawn}:
        own = {content for other, content in drawn if other == label}
        shared = own & {content for other, content in drawn if other != label}
        if not own - shared or len(own) < 2:
            return False
    return True


@given(
    st.lists(st.tuples(st.integers(0, 2), st.integers(0, 12)), min_size=1, max_size=60),
    st.floats(0.05, 0.95),
    st.integers(0, 50),
)
def test_no_image_is_on_both_sides(
    drawn: list[tuple[int, int]], fraction: float, seed: int
) -> None:
    labels = [(label,) for label, _ in drawn]
    contents = [bytes([content]) for _, content in drawn]
    source = Listed(labels, contents)
    if not separable(drawn):
        with pytest.raises(DataError, match=r"single image|identical|in another class too"):
            split(source, fraction, seed)
        return
    found = split(source, fraction, seed)
    assert sorted([*found.train, *found.val]) == list(range(len(drawn)))
    train = {contents[index] for index in found.train}
    val = {contents[index] for index in found.val}
    assert not train & val
    for label in {label for label, _ in drawn}:
        assert any(labels[index] == (label,) for index in found.train)
        assert any(labels[index] == (label,) for index in found.val)


def test_the_fraction_counts_images_and_not_groups() -> None:
    # Twenty images ten times each, and two hundred once.
    contents = [bytes([number]) for number in range(20) for _ in range(10)]
    contents += [number.to_bytes(2, "big") + b"x" for number in range(200)]
    found = split(Listed([(0,)] * 400, contents), 0.25)
    assert len(found.val) == 100


def test_an_image_of_two_classes_trains() -> None:
    contents = [b"same", b"a", b"b", b"same", b"c", b"d"]
    for seed in range(20):
        found = split(Listed([(0,)] * 3 + [(1,)] * 3, contents), 0.5, seed)
        assert {0, 3} <= set(found.train.tolist())
        assert {contents[index] for index in found.val} <= {b"a", b"b", b"c", b"d"}


def test_classes_that_cannot_be_on_both_sides_say_why() -> None:
    with pytest.raises(DataError, match="all 3 images of class 'class 0' are identical"):
        split(Listed([(0,)] * 3 + [(1,)] * 2, [b"x", b"x", b"x", b"a", b"b"]))
    with pytest.raises(DataError, match="every image of class 'class 0' is in another class too"):
        split(Listed([(0,), (0,), (1,), (1,), (1,)], [b"x", b"y", b"x", b"y", b"z"]))


SIDES: dict[str, SplitName | None] = {"t": "train", "v": "val", "x": "test", "-": None}


def with_splits(contents: list[bytes], splits: str, labels: list[int] | None = None) -> Listed:
    sides = [SIDES[letter] for letter in splits]
    rows = [(label,) for label in labels or [0] * len(contents)]
    return Listed(rows, contents, splits=sides, classes=2)


def test_training_copies_of_images_that_are_held_out_are_dropped() -> None:
    found = split(with_splits([b"a", b"b", b"c", b"b", b"d", b"b", b"a2"], "ttttvvv"))
    assert found.train.tolist() == [0, 2]
    assert found.val.tolist() == [4, 5, 6]
    assert found.dropped.tolist() == [1, 3]


def test_training_copies_of_test_images_are_dropped() -> None:
    found = split(with_splits([b"a", b"b", b"c", b"d", b"b", b"c", b"d"], "tttvxxx"))
    assert [side.tolist() for side in found] == [[0], [3], [1, 2], [4, 5, 6]]


def test_images_outside_the_test_part_are_split_as_without_one() -> None:
    labels = [0, 1] * 10
    whole = [bytes([number]) for number in range(20)]
    alone = split(Listed([(label,) for label in labels], whole, classes=2), 0.25, 3)
    for letter in "t-":
        # Test images in between, one of them an image that is there to train on as well.
        contents = [b"x", *whole[:10], b"y", *whole[10:], b"y"]
        source = with_splits(
            contents, f"x{letter * 10}x{letter * 11}", [0, *labels[:10], 0, *labels[10:], 1]
        )
        found = split(source, 0.25, 3)
        assert [contents[n] for n in found.train] == [whole[n] for n in alone.train]
        assert [contents[n] for n in found.val] == [whole[n] for n in alone.val]
        assert (found.dropped.tolist(), found.test.tolist()) == ([22], [0, 11])


@given(
    st.lists(
        st.tuples(st.sampled_from("tvx-"), st.integers(0, 1), st.integers(0, 30)),
        min_size=1,
        max_size=60,
    ),
    st.booleans(),
)
def test_no_image_is_in_two_parts_of_which_one_trains(
    drawn: list[tuple[str, int, int]], with_val: bool
) -> None:
    drawn = [entry for entry in drawn if entry[0] != ("-" if with_val else "v")] or [("t", 0, 0)]
    letters, labels, numbers = zip(*drawn, strict=True)
    contents = [bytes([number]) for number in numbers]
    try:
        found = split(with_splits(contents, "".join(letters), list(labels)))
    except DataError:
        return
    assert sorted(np.concatenate(found).tolist()) == list(range(len(drawn)))
    trained = {contents[n] for n in found.train}
    assert not trained & {contents[n] for n in [*found.val, *found.test]}
    assert found.test.tolist() == [n for n, letter in enumerate(letters) if letter == "x"]


def test_a_single_class_cannot_be_trained_on() -> None:
    with pytest.raises(DataError, match=r"a list has only one class .'class 0'.: .* at least two"):
        check_classes(Listed([(0,)] * 4))
    check_classes(Listed([(0,)] * 4, multi_label=True))
    check_classes(Listed([(0,)] * 4, classes=2))


def test_copies_within_a_part_stay() -> None:
    found = split(with_splits([b"a", b"a", b"b", b"b"], "ttvv"))
    assert (found.train.tolist(), found.val.tolist(), len(found.dropped)) == ([0, 1], [2, 3], 0)


def test_validation_that_is_the_training_images_again_is_refused() -> None:
    source = with_splits([b"a", b"b", b"a", b"b"], "ttvv", [0, 1, 0, 1])
    with pytest.raises(DataError, match="every training image of class 'class 0'"):
        split(source)


def test_groups_may_come_from_elsewhere() -> None:
    groups = np.array([0, 0, 0, 3, 4, 4])
    for seed in range(10):
        val = set(split(counted([6]), 0.5, seed, groups=groups).val.tolist())
        assert val & {0, 1, 2} in (set(), {0, 1, 2})
        assert val & {4, 5} in (set(), {4, 5})


def test_two_indices_make_a_split() -> None:
    train, val = np.array([0]), np.array([1])
    assert not len(Split(train, val).dropped)


def label_matrix(source: Listed) -> np.ndarray[tuple[int, ...], np.dtype[np.bool_]]:
    matrix = np.zeros((len(source.samples), len(source.classes)), bool)
    for number, sample in enumerate(source.samples):
        matrix[number, list(sample.labels)] = True
    return matrix


@given(st.integers(0, 10_000), st.floats(0.1, 0.5))
def test_every_label_keeps_its_share(seed: int, fraction: float) -> None:
    rng = np.random.default_rng(seed)
    frequency = rng.uniform(0.02, 0.5, 8)
    drawn = rng.random((400, 8)) < frequency
    source = Listed([tuple(np.flatnonzero(row).tolist()) for row in drawn], multi_label=True)
    found = split(source, fraction, seed)
    assert sorted([*found.train, *found.val]) == list(range(400))
    assert abs(len(found.val) - 400 * fraction) <= 20
    held_out = label_matrix(source)[found.val].sum(axis=0)
    off = np.abs(held_out - label_matrix(source).sum(axis=0) * fraction)
    # Labels that come together pull at each other; a few images off is as near as they get.
    assert off.mean() <= 3
    assert off.max() <= 10


def test_a_rare_label_is_on_both_sides() -> None:
    rows = [(0,)] * 100 + [(0, 1), (0, 1)] + [(2,)] + [()] * 20
    for seed in range(20):
        source = Listed(rows, multi_label=True)
        found = split(source, 0.25, seed)
        of_val = label_matrix(source)[found.val].sum(axis=0)
        assert of_val[1] == 1
        assert of_val[2] == 0
        assert np.array_equal(found.val, split(source, 0.25, seed).val)


def test_no_image_of_several_labels_is_on_both_sides() -> None:
    rng = np.random.default_rng(0)
    contents = [bytes([int(rng.integers(0, 40))]) for _ in range(100)]
    rows: list[tuple[int, ...]] = [(content[0] % 4, 4 + content[0] % 3) for content in contents]
    rows[0] = (9,)  # and another image of those bytes says something else
    found = split(Listed(rows, contents, multi_label=True), 0.25)
    assert not {contents[n] for n in found.train} & {contents[n] for n in found.val}
    assert contents[0] in {contents[n] for n in found.train}
    assert abs(len(found.val) - 25) <= 3


def test_one_image_of_several_labels_is_too_few() -> None:
    with pytest.raises(DataError, match="fewer than two different images"):
        split(Listed([(0, 1), (0, 1)], [b"x", b"x"], multi_label=True))


def test_training_shows_its_side_of_the_split_or_what_might_be() -> None:
    source = counted([8, 8])
    expected = split(source, 0.25, 3).train
    assert np.array_equal(shown_in_training(source, 0.25, 3), expected)
    lonely = counted([1, 5])  # a class of one image cannot be split
    assert shown_in_training(lonely, 0.25, 0).tolist() == list(range(6))


@given(st.integers(1, 50), st.integers(1, 60))
def test_a_spread_begins_and_ends_where_the_images_do(images: int, most: int) -> None:
    found = spread(np.arange(100, 100 + images), most)
    assert len(found) == len(set(found.tolist())) == min(images, most)
    assert found[0] == 100
    assert found[-1] == (99 + images if most > 1 else 100)
