import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.metrics import (
    average_precision_score,
    precision_recall_curve,
    roc_auc_score,
    roc_curve,
)

from fleetnet.evaluation.ranking import RankedScores, one_vs_rest


def some(images: int, levels: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Scores with ties, and labels of both kinds."""
    rng = np.random.default_rng(seed)
    positives = rng.random(images) < 0.4
    positives[:2] = True, False
    return rng.integers(0, levels, images) / levels, positives


@given(st.integers(2, 60), st.integers(1, 40), st.integers(0, 10_000))
def test_areas_agree_with_scikit_learn(images: int, levels: int, seed: int) -> None:
    scores, positives = some(images, levels, seed)
    ranked = RankedScores(scores, positives)
    assert float(ranked.roc_auc()) == pytest.approx(roc_auc_score(positives, scores))
    expected = average_precision_score(positives, scores)
    assert float(ranked.average_precision()) == pytest.approx(expected)


@given(st.integers(2, 60), st.integers(1, 40), st.integers(0, 10_000))
def test_curves_agree_with_scikit_learn(images: int, levels: int, seed: int) -> None:
    scores, positives = some(images, levels, seed)
    curves = RankedScores(scores, positives).curves()
    wrong, found, _ = roc_curve(positives, scores, drop_intermediate=False)
    assert np.allclose(curves.false_positive_rate, wrong)
    assert np.allclose(curves.true_positive_rate, found)
    precision, recall, _ = precision_recall_curve(positives, scores)
    assert np.allclose(curves.precision, precision[::-1])
    assert np.allclose(curves.true_positive_rate, recall[::-1])


@given(st.integers(2, 30), st.integers(0, 10_000))
def test_an_image_of_weight_n_counts_n_times(images: int, seed: int) -> None:
    scores, positives = some(images, 6, seed)
    weights = np.random.default_rng(seed).integers(0, 4, (3, images))
    weights[:, :2] += 1
    ranked = RankedScores(scores, positives)
    areas = ranked.roc_auc(weights.astype(np.float64))
    precisions = ranked.average_precision(weights.astype(np.float64))
    for row, area, precision in zip(weights, areas, precisions, strict=True):
        repeated = RankedScores(np.repeat(scores, row), np.repeat(positives, row))
        assert area == pytest.approx(float(repeated.roc_auc()))
        assert precision == pytest.approx(float(repeated.average_precision()))


def test_without_both_kinds_there_is_no_area() -> None:
    scores = np.array([0.1, 0.2])
    assert np.isnan(RankedScores(scores, np.array([True, True])).roc_auc())
    assert np.isnan(RankedScores(scores, np.array([False, False])).roc_auc())
    assert np.isnan(RankedScores(scores, np.array([False, False])).average_precision())


def test_one_vs_rest_agrees_with_scikit_learn() -> None:
    rng = np.random.default_rng(0)
    labels = np.append(rng.integers(0, 4, 50), [0, 1, 2, 3])
    scores = rng.dirichlet(np.ones(4), len(labels))
    areas, precisions = one_vs_rest(scores, labels[:, None] == np.arange(4))
    expected = roc_auc_score(labels, scores, multi_class="ovr", average="macro")
    assert areas.mean() == pytest.approx(expected)
    assert precisions.mean() == pytest.approx(
        average_precision_score(labels[:, None] == np.arange(4), scores)
    )


def test_a_class_without_images_is_left_undefined() -> None:
    areas, precisions = one_vs_rest(np.eye(3), np.eye(3, dtype=bool) & [True, True, False])
    assert areas[:2].tolist() == precisions[:2].tolist() == [1.0, 1.0]
    assert np.isnan([areas[2], precisions[2]]).all()
