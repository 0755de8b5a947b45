from collections import Counter

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from fleetnet.benchmark.measure import (
    Limits,
    runs_of_spell,
    time_in_turns,
    warm_up,
)
from made_up_clock import World


def test_known_times_come_out() -> None:
    world = World()
    work = {"slow": world.work("slow", 0.5), "fast": world.work("fast", 0.001)}
    timings = time_in_turns(work, Limits(10, rounds=4, most_rounds=4), clock=world.clock)
    assert list(timings) == ["slow", "fast"]
    assert timings["slow"].p50 == pytest.approx(0.5)
    assert timings["fast"].p95 == pytest.approx(0.001)
    assert timings["slow"].runs == timings["slow"].rounds == 4
    assert timings["fast"].runs == 4 * 20


def test_each_spell_begins_with_a_run_that_does_not_count() -> None:
    world = World()
    # Every second run is slow: with one timed run a spell, that is always the first of a spell.
    work = {"a": world.work("a", lambda count: 9.0 if count % 2 else 1.0)}
    timings = time_in_turns(work, Limits(1, rounds=3, most_rounds=3), clock=world.clock)
    assert (timings["a"].best, timings["a"].p95) == (1.0, 1.0)


def test_rounds_are_interleaved() -> None:
    world = World()
    names = [f"work {number}" for number in range(7)]
    work = {name: world.work(name, 1.0) for name in names}
    time_in_turns(work, Limits(1, rounds=5, most_rounds=5), clock=world.clock)
    rounds = [world.log[start : start + 14] for start in range(0, len(world.log), 14)]
    assert len(rounds) == 5
    for row in rounds:
        assert Counter(row) == dict.fromkeys(names, 2)
        assert row[::2] == row[1::2]  # a spell is not broken
    assert len({tuple(row) for row in rounds}) == 5


def test_the_budget_ends_it_after_the_least_rounds() -> None:
    world = World()
    noisy = world.work("a", lambda count: 1.0 + 0.3 * (count % 5))
    timing = time_in_turns({"a": noisy}, Limits(40, rounds=3), clock=world.clock)["a"]
    assert 40 <= world.now < 44
    assert timing.rounds > 3
    world = World()
    slow = time_in_turns({"a": world.work("a", 60.0)}, Limits(1, rounds=3), clock=world.clock)
    assert slow["a"].rounds == 3


def test_cells_that_are_settled_leave_their_time_to_the_rest() -> None:
    world = World()
    work = {
        "steady": world.work("steady", 1.0),
        "noisy": world.work("noisy", lambda count: 1.0 + 0.4 * (count % 7)),
    }
    timings = time_in_turns(work, Limits(200, rounds=5), clock=world.clock)
    assert timings["steady"].rounds == 5
    assert timings["noisy"].rounds > 40


def test_it_ends_early_when_all_is_settled() -> None:
    world = World()
    seen: list[tuple[float, float]] = []
    time_in_turns(
        {"a": world.work("a", 1.0)},
        Limits(1000, rounds=5),
        clock=world.clock,
        watch=lambda done, total: seen.append((done, total)),
    )
    assert world.now == 10.0
    assert seen[-1] == (1000, 1000)
    assert [done for done, _ in seen] == sorted(done for done, _ in seen)


def test_nothing_to_time() -> None:
    assert time_in_turns({}, Limits(1)) == {}


@given(st.floats(0, 100), st.floats(1e-4, 1), st.integers(1, 50))
@example(2.2e-311, 1.0, 1)
@example(0.0, 1.0, 7)
def test_a_spell_has_at_least_a_run(seconds: float, spell: float, most: int) -> None:
    limits = Limits(1, spell=spell, most_runs=most)
    runs = runs_of_spell(seconds, limits)
    assert 1 <= runs <= most
    if seconds >= spell:
        assert runs == 1


def test_warming_up_runs_until_it_is_warm() -> None:
    world = World()
    warm_up(world.work("a", 0.04), Limits(1, warm_up=0.1), world.clock)
    assert len(world.log) == 4  # the first, and three for a tenth of a second
    world = World()
    warm_up(world.work("a", 0.0), Limits(1, most_runs=7), world.clock)
    assert len(world.log) == 8
