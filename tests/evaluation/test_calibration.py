import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.optimize import minimize_scalar
from sklearn.metrics import brier_score_loss, log_loss

from fleetnet.errors import DataError
from fleetnet.evaluation import calibration
from fleetnet.evaluation.calibration import reliability
from fleetnet.evaluation.losses import losses
from fleetnet.evaluation.temperature import COLDEST, HOTTEST, cross_fit, fit_temperature


def answers(
    images: int, classes: int, seed: int, sharpness: float = 1.0
) -> tuple[np.ndarray, np.ndarray]:
    """Labels drawn from the softmax of logits, which are then ``sharpness`` times too sure."""
    rng = np.random.default_rng(seed)
    logits = rng.normal(size=(images, classes)) * 2
    gumbel = rng.gumbel(size=logits.shape)
    return (logits * sharpness).astype(np.float32), (logits + gumbel).argmax(axis=1)


def test_known_bins() -> None:
    confidence = np.array([0.95, 0.95, 0.55, 1.0, 0.0])
    bins = reliability(confidence, np.array([True, False, True, True, False]), bins=10)
    assert bins.counts.tolist() == [1, 0, 0, 0, 0, 1, 0, 0, 0, 3]
    assert bins.accuracy[9] == pytest.approx(2 / 3)
    assert bins.confidence[5] == 0.55
    assert np.isnan(bins.accuracy[1])
    assert bins.ece == pytest.approx((0 + 0.45 + (2.9 - 2)) / 5)
    assert bins.to_json()[1] == {
        "low": 0.1, "high": 0.2, "count": 0, "confidence": None, "accuracy": None,
    }  # fmt: skip


@given(st.integers(1, 80), st.integers(2, 20), st.integers(0, 10_000))
def test_ece_agrees_with_the_papers_sum(images: int, count: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    confidence, right = rng.random(images), rng.random(images) < 0.6
    total = 0.0
    for b in range(count):
        inside = (confidence > b / count) & (confidence <= (b + 1) / count)
        if inside.any():
            gap = abs(right[inside].mean() - confidence[inside].mean())
            total += inside.mean() * gap
    assert reliability(confidence, right, count).ece == pytest.approx(total)


@given(st.integers(1, 40), st.integers(2, 8), st.integers(0, 10_000))
def test_losses_agree_with_scikit_learn(images: int, classes: int, seed: int) -> None:
    logits, labels = answers(images, classes, seed)
    lost = losses(logits, labels)
    powers = np.exp(logits.astype(np.float64))
    probabilities = powers / powers.sum(axis=1, keepdims=True)
    expected = log_loss(labels, probabilities, labels=range(classes))
    assert lost.nll.mean() == pytest.approx(expected, rel=1e-6)
    truth = np.eye(classes)[labels]
    assert lost.brier.mean() == pytest.approx(((probabilities - truth) ** 2).sum(axis=1).mean())
    assert np.allclose(lost.confidence, probabilities.max(axis=1))
    assert np.array_equal(lost.right, probabilities.argmax(axis=1) == labels)


def test_losses_of_multi_label_data_agree_with_scikit_learn() -> None:
    rng = np.random.default_rng(0)
    logits, labels = rng.normal(size=(30, 4)) * 3, rng.random((30, 4)) < 0.5
    lost = losses(logits, labels)
    probabilities = 1 / (1 + np.exp(-logits))
    assert lost.nll.mean() == pytest.approx(log_loss(labels.ravel(), probabilities.ravel()))
    expected = brier_score_loss(labels.ravel(), probabilities.ravel())
    assert lost.brier.mean() == pytest.approx(expected)
    assert lost.confidence.shape == lost.right.shape == (120,)


def test_huge_logits_overflow_nothing() -> None:
    logits = np.array([[1e30, -1e30], [-1e30, 1e30]])
    assert losses(logits, np.array([0, 0])).nll.tolist() == [0.0, 2e30]
    assert losses(logits, np.array([[True, False], [True, False]])).nll.tolist() == [0.0, 1e30]


def nll_at(logits: np.ndarray, labels: np.ndarray, temperature: float) -> float:
    return float(losses(logits, labels, temperature).nll.mean())


@given(st.integers(8, 60), st.integers(2, 8), st.floats(0.2, 5), st.integers(0, 10_000))
def test_the_temperature_is_the_one_that_scipy_finds(
    images: int, classes: int, sharpness: float, seed: int
) -> None:
    logits, labels = answers(images, classes, seed, sharpness)
    found = fit_temperature(logits, labels)
    if (logits.argmax(axis=1) == labels).all():
        assert found == 1.0
        return
    best = minimize_scalar(
        lambda t: nll_at(logits, labels, np.exp(t)),
        bounds=(np.log(COLDEST), np.log(HOTTEST)),
        method="bounded",
        options={"xatol": 1e-10},
    )
    assert nll_at(logits, labels, found) <= best.fun + 1e-9
    if 0.02 < np.exp(best.x) < 50:
        assert found == pytest.approx(np.exp(best.x), rel=1e-3)


@given(st.integers(10, 60), st.floats(0.2, 5), st.integers(0, 10_000))
def test_the_temperature_of_sigmoids_is_the_one_that_scipy_finds(
    images: int, sharpness: float, seed: int
) -> None:
    rng = np.random.default_rng(seed)
    logits = rng.normal(size=(images, 3)) * 2
    labels = rng.random((images, 3)) < 1 / (1 + np.exp(-logits))
    logits *= sharpness
    if ((logits >= 0) == labels).all():
        return
    found = fit_temperature(logits, labels)
    best = minimize_scalar(
        lambda t: nll_at(logits, labels, np.exp(t)),
        bounds=(np.log(COLDEST), np.log(HOTTEST)),
        method="bounded",
        options={"xatol": 1e-10},
    )
    assert nll_at(logits, labels, found) <= best.fun + 1e-9


def test_logits_three_times_too_sure_get_temperature_three() -> None:
    logits, labels = answers(4000, 5, seed=0, sharpness=3.0)
    assert fit_temperature(logits, labels) == pytest.approx(3.0, rel=0.1)
    fit = cross_fit(logits, labels)
    assert fit is not None
    assert fit.temperature == pytest.approx(3.0, rel=0.1)
    assert fit.images == 4000
    assert fit.ece_after < 0.03 < 0.2 < fit.ece_before
    assert fit.nll_after < fit.nll_before


def test_answers_that_are_calibrated_keep_nearly_their_temperature() -> None:
    logits, labels = answers(4000, 5, seed=1)
    assert fit_temperature(logits, labels) == pytest.approx(1.0, rel=0.1)


def test_where_nothing_is_wrong_the_temperature_stays_one() -> None:
    assert fit_temperature(np.eye(3), np.arange(3)) == 1.0
    assert fit_temperature(np.array([[2.0, -2.0]]), np.array([[True, False]])) == 1.0


def test_where_all_is_wrong_the_temperature_is_the_hottest() -> None:
    assert fit_temperature(np.eye(3), np.array([1, 2, 0])) == pytest.approx(HOTTEST, rel=1e-6)


def test_cross_fitting_does_not_flatter() -> None:
    """Fitted to noise, a temperature helps the images it was fitted to, but not others."""
    logits, labels = answers(40, 3, seed=4, sharpness=0.7)
    fit = cross_fit(logits, labels)
    assert fit is not None
    assert fit.nll_after > nll_at(logits, labels, fit.temperature)


def test_logits_that_cannot_be_fitted_are_refused() -> None:
    with pytest.raises(DataError, match="no images"):
        fit_temperature(np.empty((0, 2)), np.empty(0, int))
    broken = np.array([[np.nan, 1.0], [1, 2], [1, 2], [2, 1]])
    with pytest.raises(DataError, match="not all finite"):
        fit_temperature(broken, np.array([0, 1, 0, 1]))
    assert cross_fit(broken, np.array([0, 1, 0, 1])) is None
    assert cross_fit(np.eye(3), np.arange(3)) is None


def test_large_data_is_fitted_in_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    logits, labels = answers(100, 4, seed=2, sharpness=2)
    whole = fit_temperature(logits, labels)
    monkeypatch.setattr("fleetnet.evaluation.metrics.CHUNK_VALUES", 40)
    assert fit_temperature(logits, labels) == pytest.approx(whole)
    assert len(losses(logits, labels).nll) == 100
    assert calibration.BINS == 15
