import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.metrics import (
    accuracy_score,
    average_precision_score,
    precision_recall_fscore_support,
)

from fleetnet.errors import DataError
from fleetnet.evaluation.multilabel import measure_multi_label


@given(st.integers(1, 40), st.integers(2, 6), st.integers(0, 10_000))
def test_figures_agree_with_scikit_learn(images: int, classes: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    logits, truth = rng.normal(size=(images, classes)), rng.random((images, classes)) < 0.4
    metrics = measure_multi_label(logits, truth, tuple(map(str, range(classes))))
    predicted = 1 / (1 + np.exp(-logits)) >= 0.5
    precision, recall, f1, support = precision_recall_fscore_support(
        truth, predicted, zero_division=0
    )
    figures = metrics.per_class
    assert np.allclose(np.nan_to_num(figures.precision), precision)
    assert np.allclose(np.nan_to_num(figures.recall), recall)
    present = support > 0
    assert np.allclose(figures.f1[present], f1[present])
    micro = precision_recall_fscore_support(truth, predicted, average="micro", zero_division=0)
    assert np.nan_to_num(metrics.micro_precision) == pytest.approx(micro[0])
    assert np.nan_to_num(metrics.micro_recall) == pytest.approx(micro[1])
    assert np.nan_to_num(metrics.micro_f1) == pytest.approx(micro[2])
    assert metrics.exact_match == pytest.approx(accuracy_score(truth, predicted))
    for k in np.flatnonzero(present):
        expected = average_precision_score(truth[:, k], logits[:, k])
        assert metrics.average_precision[k] == pytest.approx(expected)
    if present.any():
        expected = np.mean(metrics.average_precision[present])
        assert metrics.mean_average_precision == pytest.approx(expected)
        assert metrics.macro_f1 == pytest.approx(f1[present].mean())


def test_soft_labels_are_cut_at_one_half() -> None:
    soft = np.array([[0.5, 0.4], [0.0, 1.0]], np.float32)
    logits = np.array([[1.0, -1.0], [-1.0, 1.0]])
    metrics = measure_multi_label(logits, soft, ("a", "b"))
    assert metrics.exact_match == 1.0
    values = metrics.to_json()
    assert values["mean_average_precision"] == 1.0
    assert values["per_class"][0]["class"] == "a"


def test_nothing_to_evaluate() -> None:
    with pytest.raises(DataError, match="nothing to evaluate"):
        measure_multi_label(np.empty((0, 2)), np.empty((0, 2), bool), ("a", "b"))
