"""The batcher: batches fill by themselves, and nothing that nobody waits for is computed."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator, Mapping

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fleetnet.errors import ImageError
from fleetnet.images import Pixels
from fleetnet.serving.batching import MAX_SIZES, Batcher, Lane, Queueing
from fleetnet.serving.errors import (
    DeadlineError,
    InternalError,
    OverloadedError,
    TooLargeError,
    UnavailableError,
)
from fleetnet.serving.requests import Picture, Row

LONG = 30.0


class Echo:
    """Answers each image with its own number; may be held."""

    def __init__(self, fail: Callable[[int], Exception | None] = lambda _: None) -> None:
        self.prepared: list[int] = []
        self.batches: list[list[int]] = []
        self.open = threading.Event()
        self.open.set()
        self.begun = threading.Semaphore(0)
        self.decoding = threading.Event()
        self.decoding.set()
        self._fail = fail
        self._lock = threading.Lock()

    def prepare(self, picture: Picture) -> Pixels:
        assert isinstance(picture, bytes)
        number = int(picture)
        assert self.decoding.wait(LONG)
        with self._lock:
            self.prepared.append(number)
        if number < 0:
            raise ImageError(f"no image {number}")
        return np.full((1, 1, 3), number, np.uint8)

    def compute(self, pixels: Pixels) -> Mapping[str, Row]:
        numbers = [int(image[0, 0, 0]) for image in pixels]
        with self._lock:
            self.batches.append(numbers)
        self.begun.release()
        assert self.open.wait(LONG)
        for number in numbers:
            if error := self._fail(number):
                raise error
        return {"logits": np.array([[number] for number in numbers], np.float32)}

    @property
    def computed(self) -> list[int]:
        return [number for batch in self.batches for number in batch]


class Clock:
    """A clock that only moves when it is told to."""

    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def batcher() -> Iterator[Batcher]:
    made = Batcher(2, 2)
    yield made
    made.close()


def pictures(*numbers: int) -> list[Picture]:
    return [str(number).encode() for number in numbers]


def numbers_of(lane: Lane, *numbers: int) -> list[int | None]:
    outcomes = lane.submit(pictures(*numbers)).result(LONG)
    return [int(outcome.rows["logits"][0]) if outcome.rows else None for outcome in outcomes]


def until(true: Callable[[], bool]) -> None:
    end = time.monotonic() + LONG
    while not true():
        assert time.monotonic() < end
        time.sleep(0.001)


@settings(max_examples=30)
@given(
    requests=st.lists(
        st.lists(st.integers(-3, 120), min_size=1, max_size=6), min_size=1, max_size=12
    ),
    max_batch=st.integers(1, 9),
    streams=st.integers(1, 3),
    delay=st.sampled_from([0.0, 0.001]),
)
def test_every_request_gets_its_own_answers_in_its_order(
    requests: list[list[int]], max_batch: int, streams: int, delay: float
) -> None:
    batcher, echo = Batcher(2, 2), Echo()
    queueing = Queueing(max_batch, delay, streams)
    lane = batcher.open(echo, queueing)
    futures = [lane.submit(pictures(*numbers)) for numbers in requests]
    for numbers, future in zip(requests, futures, strict=True):
        outcomes = future.result(LONG)
        for number, outcome in zip(numbers, outcomes, strict=True):
            if number < 0:
                assert str(outcome.error) == f"no image {number}"
            else:
                assert outcome.rows["logits"] == number
    assert {len(batch) for batch in echo.batches} <= set(queueing.sizes)
    lane.close()
    lane.drained.result(LONG)
    assert (lane.images, lane.bytes) == (0, 0)
    batcher.close()


@given(st.integers(1, 4096))
def test_few_sizes_are_compiled_and_any_number_is_made_of_them(max_batch: int) -> None:
    queueing = Queueing(max_batch)
    assert len(queueing.sizes) <= MAX_SIZES
    assert queueing.sizes[0] == 1
    assert queueing.sizes[-1] == max_batch
    assert all(queueing.fitting(ready) <= ready for ready in range(1, max_batch + 1))


def test_a_single_image_waits_for_nobody(batcher: Batcher) -> None:
    # The delay is longer than the test may take: it would fail if it were waited for.
    lane = batcher.open(Echo(), Queueing(max_batch=8, max_delay=3600))
    assert numbers_of(lane, 7) == [7]


def test_a_batch_waits_for_what_is_being_decoded(batcher: Batcher) -> None:
    echo = Echo()
    lane = batcher.open(echo, Queueing(max_batch=4, max_delay=3600, streams=2))
    assert numbers_of(lane, 1, 2, 3, 4) == [1, 2, 3, 4]
    assert [sorted(batch) for batch in echo.batches] == [[1, 2, 3, 4]]


def test_one_that_cannot_be_read_keeps_no_batch_waiting(batcher: Batcher) -> None:
    lane = batcher.open(Echo(), Queueing(max_batch=4, max_delay=3600))
    assert numbers_of(lane, 1, -1) == [1, None]


def test_requests_that_come_one_by_one_are_batched_while_the_stream_is_busy(
    batcher: Batcher,
) -> None:
    echo = Echo()
    echo.open.clear()
    lane = batcher.open(echo, Queueing(max_batch=4, streams=1))
    futures = [lane.submit(pictures(0))]
    assert echo.begun.acquire(timeout=LONG)
    futures += [lane.submit(pictures(number)) for number in range(1, 5)]
    until(lambda: len(echo.prepared) == 5)
    echo.open.set()
    for future in futures:
        future.result(LONG)
    assert [len(batch) for batch in echo.batches] == [1, 4]


def test_a_full_queue_sheds_by_count_and_recovers(batcher: Batcher) -> None:
    echo = Echo()
    echo.open.clear()
    lane = batcher.open(echo, Queueing(max_images=3), "model")
    futures = [lane.submit(pictures(number)) for number in range(3)]
    with pytest.raises(OverloadedError, match="the queue of the model 'model' is full") as shed:
        lane.submit(pictures(9))
    assert shed.value.retry_after > 0
    echo.open.set()
    for future in futures:
        future.result(LONG)
    until(lambda: lane.images == 0)
    assert numbers_of(lane, 9) == [9]
    assert echo.computed.count(9) == 1


def test_a_full_queue_sheds_by_bytes(batcher: Batcher) -> None:
    echo = Echo()
    echo.decoding.clear()
    lane = batcher.open(echo, Queueing(max_bytes=5))
    first = lane.submit(pictures(100))
    with pytest.raises(OverloadedError):
        lane.submit(pictures(101))
    with pytest.raises(TooLargeError, match="more than the queue holds"):
        lane.submit(pictures(100, 101))
    echo.decoding.set()
    first.result(LONG)


def test_what_was_cancelled_is_never_computed_and_leaves_room_at_once(batcher: Batcher) -> None:
    echo = Echo()
    echo.open.clear()
    lane = batcher.open(echo, Queueing(max_images=4))
    running = lane.submit(pictures(1))
    assert echo.begun.acquire(timeout=LONG)
    waiting = [lane.submit(pictures(number)) for number in (2, 3, 4)]
    for future in waiting:
        assert future.cancel()
    assert lane.images == 1
    after = lane.submit(pictures(5, 6, 7))
    echo.open.set()
    running.result(LONG)
    after.result(LONG)
    assert sorted(echo.computed) == [1, 5, 6, 7]
    assert lane.bytes == 0


def test_cancelling_for_ever_does_not_fill_the_memory(batcher: Batcher) -> None:
    echo = Echo()
    echo.open.clear()
    lane = batcher.open(echo, Queueing(max_images=4))
    lane.submit(pictures(1))
    for _ in range(1000):
        lane.submit(pictures(2)).cancel()
    assert len(lane._waiting) <= 9
    echo.open.set()


def test_what_expired_is_neither_decoded_nor_computed() -> None:
    clock, echo = Clock(), Echo()
    batcher = Batcher(1, 1, clock)
    lane = batcher.open(echo, Queueing())
    echo.open.clear()
    running = lane.submit(pictures(1), deadline=clock.now + 10)
    assert echo.begun.acquire(timeout=LONG)
    decoded = lane.submit(pictures(2), deadline=clock.now + 1)
    until(lambda: echo.prepared == [1, 2])
    until(lambda: len(lane._ready) == 1)
    expired = [lane.submit(pictures(number), deadline=clock.now + 1) for number in (3, 4, 5)]
    clock.now += 2
    last = lane.submit(pictures(6), deadline=clock.now + 10)
    echo.open.set()
    running.result(LONG)
    last.result(LONG)
    for future in (decoded, *expired):
        with pytest.raises(DeadlineError):
            future.result(LONG)
    assert sorted(echo.computed) == [1, 6]
    # One of them may have been decoded before it expired, ahead of the stream.
    assert {4, 5}.isdisjoint(echo.prepared)
    batcher.close()


def test_a_network_that_fails_fails_its_batch_and_no_other(batcher: Batcher) -> None:
    lane = batcher.open(Echo(lambda number: ValueError("bad") if number == 3 else None), Queueing())
    with pytest.raises(InternalError, match="the log says why") as failed:
        lane.submit(pictures(1, 3)).result(LONG)
    assert str(failed.value.__cause__) == "bad"
    assert numbers_of(lane, 4) == [4]


def test_a_closed_lane_finishes_what_it_has(batcher: Batcher) -> None:
    echo = Echo()
    echo.open.clear()
    lane = batcher.open(echo, Queueing())
    futures = [lane.submit(pictures(number)) for number in range(8)]
    lane.close()
    with pytest.raises(UnavailableError):
        lane.submit(pictures(9))
    assert not lane.drained.done()
    echo.open.set()
    assert [int(future.result(LONG)[0].rows["logits"][0]) for future in futures] == [*range(8)]
    lane.drained.result(LONG)


def test_models_take_turns_however_long_the_queue_of_one_is() -> None:
    batcher = Batcher(1, 1)
    busy, quiet = Echo(), Echo()
    quiet.batches = busy.batches  # one record, in the order in which they were computed
    busy.open.clear()
    first = batcher.open(busy, Queueing(), "busy")
    second = batcher.open(quiet, Queueing(), "quiet")
    futures = [first.submit(pictures(number)) for number in range(100)]
    assert busy.begun.acquire(timeout=LONG)
    answer = second.submit(pictures(200))
    while not second._ready:  # it is decoded on another thread, which may be slow
        time.sleep(0.001)
    busy.open.set()
    answer.result(LONG)
    # Not behind the hundred that were there before.
    assert busy.computed.index(200) < 50
    for future in futures:
        future.result(LONG)
    batcher.close()


def test_closing_fails_what_waits_and_ends_the_threads() -> None:
    batcher, echo = Batcher(1, 1), Echo()
    echo.open.clear()
    lane = batcher.open(echo, Queueing())
    running = lane.submit(pictures(1))
    assert echo.begun.acquire(timeout=LONG)
    waiting = [lane.submit(pictures(number)) for number in range(2, 6)]
    closing = threading.Thread(target=batcher.close)
    closing.start()
    for future in waiting:
        with pytest.raises(UnavailableError):
            future.result(LONG)
    echo.open.set()
    running.result(LONG)
    closing.join(LONG)
    assert not any(thread.is_alive() for thread in batcher._threads)
