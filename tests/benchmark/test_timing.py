import itertools
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fleetnet.benchmark.timing import summarise, uncertainty

times = st.lists(st.floats(1e-6, 1e3), min_size=1, max_size=20)


def test_percentiles_of_known_times() -> None:
    timing = summarise([[1.0, 2.0], [3.0, 4.0, 5.0]])
    assert (timing.runs, timing.rounds) == (5, 2)
    assert (timing.best, timing.p25, timing.p50, timing.p75) == (1.0, 2.0, 3.0, 4.0)
    assert timing.p95 == pytest.approx(4.8)


@given(st.lists(times, min_size=1, max_size=10))
def test_percentiles_are_in_order_and_in_range(rounds: list[list[float]]) -> None:
    timing = summarise(rounds)
    flat = [value for row in rounds for value in row]
    figures = (timing.best, timing.p25, timing.p50, timing.p75, timing.p95, max(flat))
    assert timing.best == min(flat)
    assert all(a <= b or a == pytest.approx(b) for a, b in itertools.pairwise(figures))
    assert timing.uncertainty >= 0


@given(st.lists(times, min_size=2, max_size=10), st.floats(1e-3, 1e3))
def test_uncertainty_does_not_depend_on_the_unit(rounds: list[list[float]], unit: float) -> None:
    scaled = [[value * unit for value in row] for row in rounds]
    assert uncertainty(scaled) == pytest.approx(uncertainty(rounds), rel=1e-6, abs=1e-9)


def test_uncertainty_covers_the_truth_about_as_often_as_it_says() -> None:
    rng = np.random.default_rng(0)
    covered = 0
    for _ in range(400):
        rounds = [[value] for value in rng.normal(1.0, 0.05, 40)]
        timing = summarise(rounds)
        covered += abs(timing.p50 - 1.0) <= timing.uncertainty * timing.p50
    assert 0.88 <= covered / 400 <= 0.99


def test_a_disturbed_round_does_not_widen_it() -> None:
    quiet = [[1.0 + 0.001 * (n % 3)] for n in range(20)]
    assert uncertainty([*quiet, [50.0]]) < 0.002


def test_of_one_round_nothing_is_known() -> None:
    assert math.isinf(summarise([[1.0, 2.0]]).uncertainty)
    assert math.isinf(uncertainty([[0.0], [0.0]]))
