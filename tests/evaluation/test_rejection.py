"""Coverage and risk at each threshold."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.metrics import roc_auc_score

from evaluation.made_up import single
from fleetnet.errors import DataError
from fleetnet.evaluation.rejection import CoverageRisk, auroc, cross_fit, curve_of
from fleetnet.evaluation.rejection_plot import draw_coverage_risk

SCORES = np.array([5, 4, 4, 3, 1], np.float32)
RIGHT = np.array([True, True, False, True, False])


def test_images_of_equal_score_go_together() -> None:
    curve = CoverageRisk.of(SCORES, RIGHT)
    assert curve.accepted.tolist() == [1, 3, 4, 5]
    assert curve.errors.tolist() == [0, 1, 1, 2]
    # One image of risk 0, two of 1/3, one of 1/4, one of 2/5.
    assert curve.area == pytest.approx((0 + 2 / 3 + 1 / 4 + 2 / 5) / 5)


def test_thresholds_lie_halfway_between_scores() -> None:
    curve = CoverageRisk.of(SCORES, RIGHT)
    assert curve.at_coverage(0.8)[:4] == (2.0, 5, 4, 1)
    assert curve.at_coverage(0.4)[:4] == (3.5, 5, 3, 1)
    assert curve.at_coverage(1.0)[:4] == (0.0, 5, 5, 2)
    assert curve.at_risk(0.3)[:4] == (2.0, 5, 4, 1)
    assert curve.at_risk(0.0)[:4] == (4.5, 5, 1, 0)
    assert curve.at(3.0)[:4] == (3.0, 5, 4, 1)
    assert curve.at(9.0).accepted == 0
    low, high = curve.at_risk(0.3).interval
    assert 0 < low < 0.25 < high < 1


def test_a_risk_out_of_reach_is_refused() -> None:
    with pytest.raises(DataError, match=r"no threshold .* 0\.500 are wrong"):
        CoverageRisk.of(np.array([1.0, 1.0]), np.array([True, False])).at_risk(0.1)


def test_logits_that_are_no_numbers_are_refused() -> None:
    with pytest.raises(DataError, match="not all numbers"):
        CoverageRisk.of(np.array([1.0, np.nan]), np.array([True, False]))


@given(
    st.lists(st.tuples(st.integers(-3, 3), st.booleans()), min_size=1, max_size=30),
    st.floats(0, 1),
)
def test_a_threshold_does_what_its_point_says(rows: list[tuple[int, bool]], share: float) -> None:
    scores = np.array([score for score, _ in rows], np.float32)
    right = np.array([good for _, good in rows])
    point = CoverageRisk.of(scores, right).at_coverage(share)
    taken = scores >= point.threshold
    assert (taken.sum(), (taken & ~right).sum()) == (point.accepted, point.errors)
    assert point.coverage >= share - 1e-9
    assert not np.isin(point.threshold, scores)


def test_cross_fitting_measures_on_other_images() -> None:
    rng = np.random.default_rng(0)
    scores = rng.normal(size=2000)
    right = rng.random(2000) < 1 / (1 + np.exp(-2 - scores))
    found = cross_fit(scores, right, lambda curve: curve.at_coverage(0.8))
    assert found is not None
    assert found.coverage == pytest.approx(0.8, abs=0.04)
    assert found.risk == pytest.approx((~right)[scores > np.quantile(scores, 0.2)].mean(), abs=0.03)
    assert cross_fit(scores[:1], right[:1], lambda curve: curve.at_coverage(0.8)) is None


def test_auroc_is_scikit_learns() -> None:
    rng = np.random.default_rng(1)
    inside, outside = rng.integers(0, 9, 40), rng.integers(-3, 6, 30)
    truth = np.arange(70) < 40
    expected = roc_auc_score(truth, np.concatenate([inside, outside]))
    assert auroc(inside.astype(float), outside.astype(float)) == pytest.approx(expected)


def test_the_picture_is_one(tmp_path: Path) -> None:
    evaluation, _ = single(60, ("a", "b"))
    curve = curve_of(evaluation, "energy")
    file = tmp_path / "curve.png"
    draw_coverage_risk({"energy": curve}, curve.at_coverage(0.9), "$60 images", file)
    assert file.read_bytes().startswith(b"\x89PNG")
