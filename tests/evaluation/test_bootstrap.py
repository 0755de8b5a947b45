import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.metrics import balanced_accuracy_score, f1_score

from fleetnet.evaluation import bootstrap
from fleetnet.evaluation.bootstrap import class_means, intervals, mean_of, resampled, wilson


def test_the_interval_of_a_share_is_the_binomial_one() -> None:
    right = np.arange(400) < 300
    found = intervals({"top1": mean_of(right)}, 400, 4000, seed=1)["top1"]
    # The bootstrap of a share is a binomial distribution, whose quantiles are known.
    expected = np.quantile(np.random.default_rng(0).binomial(400, 0.75, 100_000), [0.025, 0.975])
    assert found.low == pytest.approx(expected[0] / 400, abs=0.005)
    assert found.high == pytest.approx(expected[1] / 400, abs=0.005)


def test_the_same_seed_gives_the_same_interval() -> None:
    values = np.random.default_rng(0).random(50)
    one, two, other = (intervals({"x": mean_of(values)}, 50, 100, seed) for seed in (5, 5, 6))
    assert one == two != other


def test_every_resample_has_as_many_images_and_parts_change_nothing(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    whole = np.concatenate(list(resampled(7, 11, seed=2)))
    assert whole.shape == (11, 7)
    assert (whole.sum(axis=1) == 7).all()
    monkeypatch.setattr(bootstrap, "CHUNK_VALUES", 21)
    parts = list(resampled(7, 11, seed=2))
    assert [len(part) for part in parts] == [3, 3, 3, 2]
    assert np.array_equal(np.concatenate(parts), whole)


@given(st.integers(1, 30), st.integers(2, 6), st.integers(0, 10_000))
def test_class_means_under_weights_are_those_of_repeated_images(
    images: int, classes: int, seed: int
) -> None:
    rng = np.random.default_rng(seed)
    labels, predicted = rng.integers(0, classes, (2, images))
    weights = rng.integers(0, 3, (4, images))
    weights[:, 0] += 1
    statistics = class_means(labels, predicted, classes)
    balanced, macro_f1 = (statistic(weights.astype(np.float64)) for statistic in statistics)
    for row, accuracy, f1 in zip(weights, balanced, macro_f1, strict=True):
        true, called = np.repeat(labels, row), np.repeat(predicted, row)
        present = np.unique(true)
        recalls = [np.mean(called[true == label] == label) for label in present]
        assert accuracy == pytest.approx(np.mean(recalls))
        expected = f1_score(true, called, labels=present, average="macro", zero_division=0)
        assert f1 == pytest.approx(expected)


def test_balanced_accuracy_agrees_with_scikit_learn() -> None:
    rng = np.random.default_rng(0)
    labels, predicted = rng.integers(0, 3, (2, 60))
    balanced, _ = class_means(labels, predicted, 3)
    expected = balanced_accuracy_score(labels, predicted)
    assert balanced(np.ones((1, 60)))[0] == pytest.approx(expected)


def test_no_resamples_and_undefined_figures_give_no_interval() -> None:
    undefined = {"x": lambda weights: np.full(len(weights), np.nan)}
    assert intervals(undefined, 3, 10) == {}
    assert intervals({"x": mean_of(np.ones(3))}, 3, 0) == {}


def test_the_score_interval_of_a_few_images_is_not_a_point() -> None:
    assert wilson(3, 3).low == pytest.approx(0.4385, abs=1e-4)
    assert wilson(3, 3).high == 1.0
    assert wilson(0, 10) == pytest.approx((0, 0.2775), abs=1e-4)
    # Newcombe 1998, table I: 81 of 263.
    assert wilson(81, 263) == pytest.approx((0.2553, 0.3662), abs=1e-4)
