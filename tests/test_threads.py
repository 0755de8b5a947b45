from __future__ import annotations

import itertools
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fleetnet.threads import in_order, map_in_threads


@given(st.integers(0, 12), st.integers(0, 4), st.integers(0, 14), st.integers(0, 14), st.booleans())
@settings(max_examples=200)
def test_results_and_errors_come_in_order(
    count: int, ahead: int, taken: int, broken: int, where: bool
) -> None:
    """An error, of the items or of starting one, comes in its place; nothing is left running."""
    running: set[int] = set()

    def items() -> Iterator[int]:
        for number in range(count):
            if where and number == broken:
                raise ZeroDivisionError
            yield number

    def start(number: int) -> Callable[[], int]:
        if number == broken:
            raise ZeroDivisionError
        running.add(number)
        assert len(running) <= ahead + 1

        def wait() -> int:
            running.discard(number)
            return number

        return wait

    iteration = in_order(items(), start, ahead)
    answers = min(count, broken)
    assert [next(iteration) for _ in range(min(taken, answers))] == [*range(answers)][:taken]
    if taken > answers and broken < count:
        with pytest.raises(ZeroDivisionError):
            next(iteration)
    elif taken > answers:
        assert next(iteration, None) is None
    del iteration
    assert not running


def test_stop_iteration_of_the_work_is_an_error_not_the_end() -> None:
    with pytest.raises(RuntimeError, match="StopIteration"):
        list(in_order([iter(())], lambda empty: next(empty), 1))


@given(st.lists(st.floats(0, 0.002), max_size=12), st.integers(1, 4), st.none() | st.integers(0, 6))
@settings(max_examples=40, deadline=None)
def test_threads_give_what_map_gives(delays: list[float], workers: int, ahead: int | None) -> None:
    def slowly(numbered: tuple[int, float]) -> int:
        time.sleep(numbered[1])
        return numbered[0]

    found = list(map_in_threads(slowly, enumerate(delays), workers, ahead))
    assert found == list(range(len(delays)))


def test_no_more_items_are_taken_than_the_limit() -> None:
    taken = 0

    def endless() -> Iterator[int]:
        nonlocal taken
        for taken in itertools.count(1):  # noqa: UP028
            yield taken

    stream = map_in_threads(lambda number: number, endless(), 2, ahead=3, name="taken")
    for count in range(1, 50):
        assert next(stream) == count
        assert taken <= count + 3
    stream.close()
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("taken")]


@pytest.mark.parametrize("how", ["an error", "the caller"])
def test_work_that_waits_is_not_done_after_an_early_end(
    how: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    begun: list[int] = []
    second, ended = threading.Event(), threading.Event()

    class Pool(ThreadPoolExecutor):
        def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:
            super().shutdown(wait=False, cancel_futures=cancel_futures)
            ended.set()
            super().shutdown(wait=wait)

    def work(number: int) -> int:
        begun.append(number)
        if number == 1:
            second.set()
            ended.wait()
        if number == 0 and how == "an error":
            raise ZeroDivisionError
        return number

    monkeypatch.setattr("fleetnet.threads.ThreadPoolExecutor", Pool)
    stream = map_in_threads(work, range(100), 1, ahead=20)
    if how == "an error":
        with pytest.raises(ZeroDivisionError):
            next(stream)
    else:
        assert next(stream) == 0
        second.wait()
        stream.close()
    assert begun in ([0], [0, 1])
