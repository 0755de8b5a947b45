"""One set of threads that decodes and computes the images of every model, in batches.

A batch is computed as soon as a stream is free. It never waits for requests that may come, only,
and no longer than its lane allows, for images that are being decoded already. So a single request
is computed at once, and under load batches fill up by themselves while the streams are busy.

Models take turns by the time that they have used, so a busy one does not starve the others.
"""

from __future__ import annotations

import contextlib
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Future, InvalidStateError
from dataclasses import dataclass, field
from typing import Protocol

import numpy as np

from fleetnet.amounts import count
from fleetnet.errors import ImageError
from fleetnet.images import Pixels
from fleetnet.serving.errors import (
    DeadlineError,
    InternalError,
    OverloadedError,
    TooLargeError,
    UnavailableError,
)
from fleetnet.serving.requests import Picture, Row, Timing

MAX_SIZES = 4
"""How many batch sizes are used: OpenVINO keeps as many compiled."""


class Work(Protocol):
    """What a lane does; called from any number of threads at once."""

    def prepare(self, picture: Picture) -> Pixels:
        """Return ``uint8[crop, crop, 3]``.

        Raises:
            ImageError: the picture cannot be read; other errors fail its whole request.
        """
        ...

    def compute(self, pixels: Pixels) -> Mapping[str, Row]:
        """Return outputs by name, ``float32[N, …]`` of ``uint8[N, crop, crop, 3]``."""
        ...


@dataclass(frozen=True)
class Queueing:
    """How a model's images queue.

    Attributes:
        max_batch: images computed together, at most.
        max_delay: seconds that a batch waits for images that are being decoded, at most.
        streams: batches computed at the same time, at most.
        max_images: that may be in the house, waiting or in work.
        max_bytes: of pictures that wait to be decoded.
    """

    max_batch: int = 1
    max_delay: float = 0.002
    streams: int = 1
    max_images: int = 256
    max_bytes: int = 256 * 2**20

    @property
    def sizes(self) -> tuple[int, ...]:
        """The sizes of batches that are computed, one first: few, for each has to be compiled."""
        sizes, size = {1, self.max_batch}, self.max_batch // 2
        while size > 1 and len(sizes) < MAX_SIZES:
            sizes.add(size)
            size //= 2
        return tuple(sorted(sizes))

    def fitting(self, ready: int) -> int:
        """Return the largest size that so many images fill; a batch is never padded."""
        return max(size for size in self.sizes if size <= ready)


@dataclass(slots=True)
class Outcome:
    """What became of one image: a row of each output, or why it cannot be read."""

    rows: Mapping[str, Row] = field(default_factory=dict)
    error: ImageError | None = None
    timing: Timing = field(default_factory=Timing)


class _Job:
    """The images of one request."""

    __slots__ = ("deadline", "future", "lane", "left", "outcomes", "places")

    def __init__(self, lane: Lane, images: Sequence[Picture], deadline: float | None) -> None:
        self.lane = lane
        self.deadline = deadline
        self.left = len(images)
        self.outcomes: list[Outcome] = [Outcome() for _ in images]
        self.future: Future[list[Outcome]] = Future()
        now = lane.clock()
        self.places = [_Place(self, index, image, now) for index, image in enumerate(images)]


class _Place:
    """One image in the queues; it lets go of the picture once it is decoded or not wanted."""

    __slots__ = ("decode", "index", "job", "picture", "pixels", "queued", "since", "size")

    def __init__(self, job: _Job, index: int, picture: Picture, now: float) -> None:
        self.job = job
        self.index = index
        self.picture: Picture | None = picture
        self.size = size_of(picture)
        self.pixels: Pixels | None = None
        self.since = now
        self.queued = 0.0
        self.decode = 0.0

    def waited_until(self, now: float) -> None:
        """Count the time since it was last worked on as waiting."""
        self.queued += now - self.since


def _mean(mean: float, value: float) -> float:
    """Return a running mean with one value more; the first value is the mean."""
    return value if mean == 0.0 else 0.8 * mean + 0.2 * value


def size_of(picture: Picture) -> int:
    """Return how many bytes a picture keeps while it waits."""
    return picture.nbytes if isinstance(picture, np.ndarray) else len(picture)


class _Turns:
    """How much of the threads' time a lane has used, by which lanes take turns."""

    __slots__ = ("mean", "running", "spent")

    def __init__(self) -> None:
        self.spent = 0.0
        self.running = 0
        self.mean = 0.0

    @property
    def due(self) -> float:
        """The lane with the least is next: what was used, with what is likely used just now."""
        return self.spent + self.running * self.mean

    def begin(self) -> None:
        self.running += 1

    def end(self, seconds: float) -> None:
        self.running -= 1
        self.spent += seconds
        self.mean = _mean(self.mean, seconds)


class Lane:
    """A model's queue; made by :meth:`Batcher.open`.

    Attributes:
        images: in the house, waiting or in work.
        bytes: of pictures that wait to be decoded.
        drained: done when the lane is closed and its last image is answered.
    """

    def __init__(self, batcher: Batcher, work: Work, queueing: Queueing, name: str) -> None:
        self.name = name
        self.work = work
        self.queueing = queueing
        self.clock = batcher.clock
        self.images = 0
        self.bytes = 0
        self.drained: Future[None] = Future()
        self._batcher = batcher
        self._closed = False
        self._waiting: deque[_Place] = deque()
        self._ready: deque[_Place] = deque()
        self._decoding = _Turns()
        self._computing = _Turns()
        self._per_image = 0.0

    def submit(
        self, images: Sequence[Picture], deadline: float | None = None
    ) -> Future[list[Outcome]]:
        """Queue the images of a request.

        Cancelling the future takes them out: what has not begun is not done.

        Args:
            images: at least one.
            deadline: by the batcher's clock; what has not begun by then is not done.

        Returns:
            A future of one outcome for each image, which raises DeadlineError if the deadline
            passed first, and InternalError if the network could not be computed.

        Raises:
            TooLargeError: more than the queue could ever hold.
            OverloadedError: more than it can hold now.
            UnavailableError: the lane is closed.
        """
        return self._batcher._submit(self, images, deadline)

    def close(self) -> None:
        """Take no more requests; those that were taken are finished."""
        self._batcher._close_lane(self)

    @property
    def retry_after(self) -> float:
        """In how many seconds what is in the house is likely to be done."""
        return max(self.images * self._per_image / self.queueing.streams, 0.01)

    @property
    def ahead(self) -> int:
        """How many images are decoded ahead: a batch for each stream, and one more."""
        return self.queueing.max_batch * (self.queueing.streams + 1)


class Batcher:
    """The threads of all lanes.

    Args:
        decoders: threads that decode.
        streams: threads that compute; a lane's own streams limit how many of them it uses.
        clock: monotonic, in seconds.
        on_batch: called from the threads with each batch's lane, size and seconds.
    """

    def __init__(
        self,
        decoders: int,
        streams: int,
        clock: Callable[[], float] = time.monotonic,
        on_batch: Callable[[Lane, int, float], None] = lambda _lane, _size, _seconds: None,
    ) -> None:
        self.clock = clock
        self._on_batch = on_batch
        self._lock = threading.RLock()
        self._to_decode = threading.Condition(self._lock)
        self._to_compute = threading.Condition(self._lock)
        self._lanes: list[Lane] = []
        self._stopped = False
        self._threads = [
            threading.Thread(target=run, name=f"fleetnet-{kind}-{number}", daemon=True)
            for kind, number_of, run in (
                ("decode", decoders, self._decode),
                ("compute", streams, self._compute),
            )
            for number in range(number_of)
        ]
        for thread in self._threads:
            thread.start()

    def open(self, work: Work, queueing: Queueing, name: str = "") -> Lane:
        """Return a new lane, which takes requests at once."""
        lane = Lane(self, work, queueing, name)
        with self._lock:
            self._lanes.append(lane)
        return lane

    def close(self) -> None:
        """Finish what is in work, fail what waits, and end the threads; may be called again."""
        with self._lock:
            self._stopped = True
            waiting = [
                place.job for lane in self._lanes for place in (*lane._waiting, *lane._ready)
            ]
            self._to_decode.notify_all()
            self._to_compute.notify_all()
        for job in waiting:
            _fail(job, UnavailableError("the service is stopped"))
        for thread in self._threads:
            if thread is not threading.current_thread():
                thread.join()

    def _submit(
        self, lane: Lane, images: Sequence[Picture], deadline: float | None
    ) -> Future[list[Outcome]]:
        size = sum(map(size_of, images))
        limits = lane.queueing
        if len(images) > limits.max_images or size > limits.max_bytes:
            raise TooLargeError(
                f"{count(len(images), 'image')} of {size:,} bytes are more than the queue holds: "
                f"{limits.max_images} images, {limits.max_bytes:,} bytes; send fewer at a time"
            )
        with self._lock:
            if lane._closed or self._stopped:
                raise UnavailableError(f"the model '{lane.name}' is being taken out of service")
            full = lane.images + len(images) > limits.max_images
            if full or lane.bytes + size > limits.max_bytes:
                raise OverloadedError(
                    f"the queue of the model '{lane.name}' is full: try again later",
                    retry_after=lane.retry_after,
                )
            if lane.images == 0:
                self._wake(lane)
            job = _Job(lane, images, deadline)
            lane.images += len(images)
            lane.bytes += size
            _compact(lane._waiting, limits.max_images)
            lane._waiting.extend(job.places)
            self._to_decode.notify(len(images))
        # Last, because it is called at once where the future is done already.
        job.future.add_done_callback(lambda _: self._forget(job))
        return job.future

    def _wake(self, lane: Lane) -> None:
        """Let a lane that was idle begin level with the others: idling earns no turns."""
        for turns in ("_decoding", "_computing"):
            others: list[_Turns] = [
                getattr(other, turns) for other in self._lanes if other.images and other is not lane
            ]
            if others:
                own: _Turns = getattr(lane, turns)
                own.spent = max(own.spent, min(other.spent for other in others))

    def _close_lane(self, lane: Lane) -> None:
        with self._lock:
            lane._closed = True
            self._retire(lane)

    def _retire(self, lane: Lane) -> None:
        if lane._closed and lane.images == 0 and lane in self._lanes:
            self._lanes.remove(lane)
            lane.drained.set_result(None)

    def _forget(self, job: _Job) -> None:
        """Take a request that is done, cancelled or expired out of the counts."""
        with self._lock:
            lane = job.lane
            for place in job.places:
                if place.picture is not None:
                    lane.bytes -= place.size
                    place.picture = None
                place.pixels = None
            lane.images -= len(job.places)
            self._retire(lane)

    def _decode(self) -> None:
        while (taken := self._next_to_decode()) is not None:
            place, picture = taken
            lane = place.job.lane
            begun = self.clock()
            place.waited_until(begun)
            failure: Exception | None = None
            pixels: Pixels | None = None
            try:
                pixels = lane.work.prepare(picture)
            except Exception as error:
                failure = error
            del picture, taken
            now = self.clock()
            place.decode, place.since = now - begun, now
            with self._lock:
                lane._decoding.end(place.decode)
                if place.picture is not None:
                    lane.bytes -= place.size
                    place.picture = None
                if failure is None:
                    place.pixels = pixels
                    lane._ready.append(place)
                # A batch may have waited for this one alone, whether or not it can be read.
                self._to_compute.notify()
            if isinstance(failure, ImageError):
                self._finish(place, Outcome(error=failure, timing=_timing(place)))
            elif failure is not None:
                _fail(place.job, _internal(failure))

    def _next_to_decode(self) -> tuple[_Place, Picture] | None:
        with self._lock:
            while not self._stopped:
                lanes = [
                    lane
                    for lane in self._lanes
                    if lane._waiting and len(lane._ready) + lane._decoding.running < lane.ahead
                ]
                if not lanes:
                    self._to_decode.wait()
                    continue
                lane = min(lanes, key=lambda lane: lane._decoding.due)
                place = lane._waiting.popleft()
                if self._wanted(place) and place.picture is not None:
                    lane._decoding.begin()
                    return place, place.picture
            return None

    def _compute(self) -> None:
        while (taken := self._next_batch()) is not None:
            lane, batch, pixels = taken
            begun = self.clock()
            failure: Exception | None = None
            outputs: Mapping[str, Row] = {}
            try:
                outputs = lane.work.compute(
                    pixels[0][None] if len(batch) == 1 else np.stack(pixels)
                )
            except Exception as error:
                failure = error
            del pixels, taken
            seconds = self.clock() - begun
            with self._lock:
                lane._computing.end(seconds)
                lane._per_image = _mean(lane._per_image, seconds / len(batch))
                self._to_compute.notify()
            # Before anybody has an answer, so that who has one and asks for figures finds it there.
            self._on_batch(lane, len(batch), seconds)
            for row, place in enumerate(batch):
                if failure is not None:
                    _fail(place.job, _internal(failure))
                    continue
                rows = {name: values[row] for name, values in outputs.items()}
                self._finish(place, Outcome(rows, timing=_timing(place, seconds, len(batch))))

    def _next_batch(self) -> tuple[Lane, list[_Place], list[Pixels]] | None:
        with self._lock:
            while not self._stopped:
                now = self.clock()
                waits = {lane: self._wait(lane, now) for lane in tuple(self._lanes)}
                due = [lane for lane, wait in waits.items() if wait is not None and wait <= 0]
                if not due:
                    soonest = min(
                        (wait for wait in waits.values() if wait is not None), default=None
                    )
                    self._to_compute.wait(soonest)
                    continue
                lane = min(due, key=lambda lane: lane._computing.due)
                batch = self._take(lane, now)
                if any(lane._ready for lane in self._lanes):
                    self._to_compute.notify()  # another thread waits for these, or takes them
                if batch:
                    pixels = [place.pixels for place in batch if place.pixels is not None]
                    return lane, batch, pixels
            return None

    def _wait(self, lane: Lane, now: float) -> float | None:
        """Return how long a lane's next batch should wait; None if it has none to compute."""
        while lane._ready and not self._wanted(lane._ready[0]):
            lane._ready.popleft()
            self._to_decode.notify()
        queueing = lane.queueing
        if not lane._ready or lane._computing.running >= queueing.streams:
            return None
        coming = lane._decoding.running or lane._waiting
        if len(lane._ready) >= queueing.max_batch or not coming:
            return 0.0
        return lane._ready[0].since + queueing.max_delay - now

    def _take(self, lane: Lane, now: float) -> list[_Place]:
        wanted: list[_Place] = []
        while lane._ready and len(wanted) < lane.queueing.max_batch:
            place = lane._ready.popleft()
            if self._wanted(place):
                wanted.append(place)
        if not wanted:
            return []
        size = lane.queueing.fitting(len(wanted))
        lane._ready.extendleft(reversed(wanted[size:]))
        for place in wanted[:size]:
            place.waited_until(now)
        lane._computing.begin()
        self._to_decode.notify(size)
        return wanted[:size]

    def _wanted(self, place: _Place) -> bool:
        """Tell whether an image is still worth working on; an expired request ends here."""
        job = place.job
        if job.future.done():
            return False
        if job.deadline is not None and self.clock() >= job.deadline:
            _fail(job, DeadlineError("the deadline passed before this request was computed"))
            return False
        return True

    def _finish(self, place: _Place, outcome: Outcome) -> None:
        job = place.job
        with self._lock:
            job.outcomes[place.index] = outcome
            job.left -= 1
            last = job.left == 0
        if last:
            with _unless_done():
                job.future.set_result(job.outcomes)


def _compact(waiting: deque[_Place], limit: int) -> None:
    """Drop what was cancelled where it would pile up, because nothing is taken."""
    if len(waiting) > 2 * limit:
        kept = [place for place in waiting if not place.job.future.done()]
        waiting.clear()
        waiting.extend(kept)


def _fail(job: _Job, error: Exception) -> None:
    with _unless_done():
        job.future.set_exception(error)


@contextlib.contextmanager
def _unless_done() -> Iterator[None]:
    """A request may be cancelled at any moment, and then nobody waits for it."""
    with contextlib.suppress(InvalidStateError):
        yield


def _internal(error: Exception) -> InternalError:
    failure = InternalError("the network could not be computed: the log says why")
    failure.__cause__ = error
    return failure


def _timing(place: _Place, compute: float = 0.0, batch: int = 0) -> Timing:
    return Timing(place.queued, place.decode, compute, batch)


def longest(timings: Iterable[Timing]) -> Timing:
    """Return the longest of each kind of time."""
    every = list(timings)
    return Timing(
        max((timing.queue for timing in every), default=0.0),
        max((timing.decode for timing in every), default=0.0),
        max((timing.compute for timing in every), default=0.0),
        max((timing.batch for timing in every), default=0),
    )
