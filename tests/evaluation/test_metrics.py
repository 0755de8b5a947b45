import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.metrics import confusion_matrix, precision_recall_fscore_support

from fleetnet.errors import DataError
from fleetnet.evaluation.evaluate import class_indices
from fleetnet.evaluation.metrics import measure


def test_known_figures() -> None:
    logits = np.array([[3, 2, 1], [1, 2, 3], [0, 5, 1], [9, 0, 1]], np.float32)
    metrics = measure(logits, np.array([0, 1, 1, 2]), ("a", "b", "c"))
    assert metrics.top1 == 0.5
    assert metrics.top5 == 1.0
    assert metrics.confusion.tolist() == [[1, 0, 0], [0, 1, 1], [1, 0, 0]]
    assert metrics.per_class().recall.tolist() == [1.0, 0.5, 0.0]


def test_a_class_without_images_has_no_recall() -> None:
    metrics = measure(np.eye(2, dtype=np.float32), np.array([0, 0]), ("a", "b"))
    assert metrics.per_class().recall[0] == 0.5
    assert np.isnan(metrics.per_class().recall[1])


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
    assert class_indices(["c"], ["a", "b", "c"]) == [2]
    # Names that repeat, as ImageNet's two cranes, are distinguished only by their places.
    cranes = ["crane", "tench", "crane"]
    assert class_indices(cranes, cranes) == [0, 1, 2]
    assert class_indices(["tench"], cranes) == [1]
    for names in (["crane"], ["crane", "tench"], ["crane", "crane", "tench"]):
        with pytest.raises(DataError, match="'crane' names several classes"):
            class_indices(names, cranes)
    with pytest.raises(DataError, match=r"'cats' is not among the model's, did you mean 'cat'"):
        class_indices(["cats"], ["cat", "dog"])


@given(st.integers(1, 40), st.integers(2, 9), st.integers(0, 10_000))
def test_class_figures_agree_with_scikit_learn(images: int, classes: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    logits, labels = rng.normal(size=(images, classes)), rng.integers(0, classes, images)
    predicted = logits.argmax(axis=1)
    metrics = measure(logits, labels, tuple(map(str, range(classes))))
    figures = metrics.per_class()
    every = range(classes)
    precision, recall, f1, support = precision_recall_fscore_support(
        labels, predicted, labels=every, zero_division=0
    )
    assert np.array_equal(metrics.confusion, confusion_matrix(labels, predicted, labels=every))
    assert np.array_equal(figures.support, support)
    assert np.allclose(np.nan_to_num(figures.precision), precision)
    assert np.allclose(np.nan_to_num(figures.recall), recall)
    assert np.allclose(np.nan_to_num(figures.f1), f1)
    present = support > 0
    assert np.isnan(figures.recall[~present]).all()
    assert figures.macro_precision == pytest.approx(precision[present].mean())
    assert figures.macro_recall == pytest.approx(recall[present].mean())
    assert figures.macro_f1 == pytest.approx(f1[present].mean())


def test_a_class_that_was_never_predicted_has_no_precision() -> None:
    metrics = measure(np.array([[1.0, 0], [1, 0]]), np.array([0, 1]), ("a", "b"))
    first, second = metrics.per_class().rows(metrics.classes)
    assert first == {
        "class": "a", "precision": 0.5, "recall": 1.0, "f1": 2 / 3, "support": 1, "predicted": 2,
    }  # fmt: skip
    assert second["precision"] is None
    assert (second["recall"], second["f1"]) == (0.0, 0.0)


def test_the_largest_confusions_come_first_and_only_those_there_are() -> None:
    labels = np.array([0, 0, 0, 1, 2])
    logits = np.eye(3)[[1, 1, 2, 1, 0]]
    metrics = measure(logits, labels, ("a", "b", "c"))
    assert metrics.largest_confusions(10) == [("a", "b", 2), ("a", "c", 1), ("c", "a", 1)]
    assert metrics.largest_confusions(1) == [("a", "b", 2)]


def test_an_answer_that_is_no_number_ranks_last() -> None:
    logits = np.array([[np.nan, 1, 2], [np.nan, np.nan, 0]])
    metrics = measure(logits, np.array([0, 2]), ("a", "b", "c"))
    assert metrics.top1 == 0.5
    assert metrics.confusion[0].tolist() == [0, 0, 1]


def test_large_data_is_counted_in_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(3)
    logits, labels = rng.normal(size=(100, 8)), rng.integers(0, 8, 100)
    whole = measure(logits, labels, tuple("abcdefgh"))
    monkeypatch.setattr("fleetnet.evaluation.metrics.CHUNK_VALUES", 24)
    parts = measure(logits, labels, tuple("abcdefgh"))
    assert parts.to_json() == whole.to_json()
