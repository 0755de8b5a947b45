import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fleetnet.errors import DataError
from fleetnet.evaluation.evaluate import class_indices
from fleetnet.evaluation.metrics import measure


def test_known_figures() -> None:
    logits = np.array([[3, 2, 1], [1, 2, 3], [0, 5, 1], [9, 0, 1]], np.float32)
    metrics = measure(logits, np.array([0, 1, 1, 2]), ("a", "b", "c"))
    assert metrics.top1 == 0.5
    assert metrics.top5 == 1.0
    assert metrics.confusion.tolist() == [[1, 0, 0], [0, 1, 1], [1, 0, 0]]
    assert metrics.recalls().tolist() == [1.0, 0.5, 0.0]


def test_a_class_without_images_has_no_recall() -> None:
    metrics = measure(np.eye(2, dtype=np.float32), np.array([0, 0]), ("a", "b"))
    assert metrics.recalls()[0] == 0.5
    assert np.isnan(metrics.recalls()[1])


def test_of_equal_logits_the_first_class_wins() -> None:
    metrics = measure(np.zeros((1, 7), np.float32), np.array([5]), tuple("abcdefg"))
    assert (metrics.top1, metrics.top5) == (0.0, 0.0)


@given(st.integers(1, 30), st.integers(2, 12), st.integers(0, 1000))
def test_figures_agree_with_a_plain_count(images: int, classes: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    logits = rng.normal(size=(images, classes))
    labels = rng.integers(0, classes, images)
    metrics = measure(logits, labels, tuple(map(str, range(classes))))
    ranks = [
        sorted(range(classes), key=lambda k: -row[k]).index(y)
        for row, y in zip(logits, labels, strict=True)
    ]
    assert metrics.top1 == sum(rank == 0 for rank in ranks) / images
    assert metrics.top5 == sum(rank < 5 for rank in ranks) / images
    assert metrics.confusion.sum() == images


def test_nothing_to_evaluate() -> None:
    with pytest.raises(DataError, match="nothing to evaluate"):
        measure(np.empty((0, 2)), np.empty(0, int), ("a", "b"))


def test_classes_are_matched_by_name() -> None:
    assert class_indices(["b", "a"], ["a", "b", "c"]) == [1, 0]
    with pytest.raises(DataError, match=r"'cats' is not among the model's, did you mean 'cat'"):
        class_indices(["cats"], ["cat", "dog"])
