from __future__ import annotations

from collections import Counter

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fleetnet.measuring import (
    elapsed,
    order_of_round,
    ratios,
    seconds_of,
    spread,
    time_in_rounds,
    time_runs,
    turns,
)
from made_up_clock import World


def test_a_run_is_timed_by_the_clock_that_is_given() -> None:
    world = World()
    assert seconds_of(world.work("a", 2.5), world.clock) == 2.5
    assert time_runs(world.work("a", 0.5), 3, warm_up=2, clock=world.clock) == [0.5] * 3
    assert world.log == ["a"] * 6


def test_a_result_comes_with_its_time_by_both_clocks() -> None:
    result, time = elapsed(lambda: 7)
    assert result == 7
    assert time.seconds >= 0 <= time.processor_seconds


def test_rounds_are_interleaved_after_a_warm_up() -> None:
    world = World()
    work = {name: world.work(name, seconds) for name, seconds in (("a", 1), ("b", 2), ("c", 4))}
    times = time_in_rounds(work, 20, warm_up=2, clock=world.clock)
    assert list(times) == ["a", "b", "c"]
    assert times == {"a": [1] * 20, "b": [2] * 20, "c": [4] * 20}
    assert world.log[:6] == ["a", "a", "b", "b", "c", "c"]
    rounds = [world.log[start : start + 3] for start in range(6, len(world.log), 3)]
    assert all(sorted(one) == ["a", "b", "c"] for one in rounds)
    assert len({tuple(one) for one in rounds}) > 1


def test_a_run_before_each_is_not_timed() -> None:
    world = World()
    times = time_in_rounds(
        {"a": world.work("a", 1), "b": world.work("b", 1)},
        3,
        warm_up=0,
        before_each=1,
        clock=world.clock,
    )
    assert times == {"a": [1] * 3, "b": [1] * 3}
    assert world.log[::2] == world.log[1::2] == list(turns(["a", "b"], 3))


@given(st.lists(st.integers(), unique=True, max_size=30), st.integers(0, 1000))
def test_an_order_is_a_permutation_and_repeatable(keys: list[int], number: int) -> None:
    assert sorted(order_of_round(keys, number)) == sorted(keys)
    assert order_of_round(keys, number) == order_of_round(keys, number)


def test_every_piece_of_work_comes_first_about_as_often() -> None:
    keys = list(range(6))
    firsts = Counter(order_of_round(keys, number)[0] for number in range(600))
    assert min(firsts.values()) > 60


@given(st.lists(st.floats(1e-6, 1e6), min_size=1))
def test_spread_is_in_order(values: list[float]) -> None:
    one = spread(values)
    assert one.least <= one.low <= one.median <= one.high <= one.most
    assert one.median == pytest.approx(float(np.median(values)))
    assert one.low == pytest.approx(float(np.quantile(values, 0.25)))
    assert one.high == pytest.approx(float(np.quantile(values, 0.75)))


def test_ratios_are_computed_within_a_round() -> None:
    # Both are disturbed in the second round; their ratio is not.
    assert ratios([2.0, 20.0, 2.0], [1.0, 10.0, 1.0]) == [2, 2, 2]
    with pytest.raises(ValueError, match="shorter"):
        ratios([1.0, 2.0], [1.0])
