import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import beta, binom

from fleetnet.inference.binomial import (
    at_least,
    binomial_tail,
    enough_to_show,
    explained_by_chance,
)

TRIALS = st.integers(1, 400)


@given(TRIALS, st.integers(-2, 410), st.floats(0, 1))
def test_the_tail_is_scipys(trials: int, least: int, probability: float) -> None:
    expected = binom.sf(least - 1, trials, probability)
    assert binomial_tail(trials, least, probability) == pytest.approx(expected, abs=1e-9)


@given(TRIALS, st.data())
def test_the_bound_is_that_of_clopper_and_pearson(trials: int, data: st.DataObject) -> None:
    failures = data.draw(st.integers(0, trials - 1))
    expected = beta.ppf(0.05, trials - failures, failures + 1)
    assert at_least(trials, failures) == pytest.approx(expected, abs=1e-5)


def test_without_right_answers_the_bound_is_zero() -> None:
    assert at_least(30, 30) == 0.0


def test_299_images_without_a_failure_show_99_percent() -> None:
    assert enough_to_show(0.99) == 299
    assert at_least(299, 0) >= 0.99 > at_least(298, 0)
    assert enough_to_show(1.0) == 1


def test_a_few_failures_more_than_expected_are_chance() -> None:
    assert explained_by_chance(256, 3, 0.01)
    assert explained_by_chance(256, 7, 0.01)
    assert not explained_by_chance(256, 9, 0.01)
    assert explained_by_chance(10, 0, 0.0)
    assert not explained_by_chance(10, 1, 0.0)
