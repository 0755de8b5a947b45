"""The service behind every protocol: requests in, answers out. It knows no transport.

A transport translates what it receives to a :class:`Request`, awaits :meth:`Service.infer` and
translates the :class:`Result`, or the error by its :func:`fleetnet.serving.errors.cause_of`. To
cancel a request, it cancels the task that awaits. All methods belong to one event loop.
"""

from __future__ import annotations

import asyncio
import contextlib
import functools
import logging
import time
from collections.abc import Callable, Coroutine, Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Literal

import numpy as np

from fleetnet.errors import FleetnetError, ImageError, one_line
from fleetnet.inference.engines import available_threads
from fleetnet.serving.batching import Batcher, Outcome, Queueing, longest
from fleetnet.serving.budget import Budget
from fleetnet.serving.drift import Watch, Watching
from fleetnet.serving.errors import (
    DeadlineError,
    InternalError,
    NotFoundError,
    OverloadedError,
    RequestError,
    ServingError,
    TooLargeError,
    UnavailableError,
    cause_of,
)
from fleetnet.serving.explaining import Explanation, explain
from fleetnet.serving.loaded import EMBEDDING, LOGITS, LoadedModel, Open, Opening
from fleetnet.serving.metrics import Metrics, same_classes
from fleetnet.serving.models import Models, Version
from fleetnet.serving.occlusion import MAX_GRID
from fleetnet.serving.repository import Repository, check_name
from fleetnet.serving.requests import Answer, Picture, Request, Result, require_answers
from fleetnet.serving.traces import Traces

log = logging.getLogger("fleetnet.serving")

State = Literal["READY", "LOADING", "UNLOADING", "UNAVAILABLE"]


@dataclass(frozen=True)
class Status:
    """A version in the index: what is loaded, and what could be.

    Attributes:
        state: as the Open Inference Protocol names them.
        reason: why it is not ready; empty if it is, or was never asked for.
    """

    model: str
    version: str
    state: State
    reason: str = ""


@dataclass(frozen=True)
class OpenedVersions:
    """Versions of a model that are open and warm, and do not answer yet."""

    model: str
    opened: dict[str, tuple[LoadedModel, Queueing]] = field(default_factory=dict)


@dataclass(frozen=True)
class Options:
    """How a service behaves.

    Attributes:
        opening: how bundles are opened.
        queueing: of every model; ``max_batch`` and ``streams`` are those of the engine.
        max_images: in a request.
        max_buffered: bytes of all requests that are being received or answered.
        max_explanations: heat maps that are computed at the same time; 0 for none at all.
        timeout: seconds that a request without a deadline of its own may take.
        threads: that decode, and that compute; None for the available processors.
        watching: which models' requests are compared with what they were evaluated on.
    """

    opening: Opening = field(default_factory=Opening)
    queueing: Queueing = field(default_factory=Queueing)
    max_images: int = 64
    max_buffered: int = 512 * 2**20
    max_explanations: int = 1
    timeout: float = 30.0
    threads: int | None = None
    watching: Watching = field(default_factory=Watching)


@dataclass(slots=True)
class _Seen:
    """What a request turned out to be about; an empty name until its model is found."""

    model: str = ""


class Service:
    """Models behind one batcher.

    Args:
        repository: what can be loaded.
        models: routing and aliases.
        options: limits and how bundles are opened.
        open_model: opens a bundle; a test's may open something else.
        traces: makes spans of requests; None for none.

    Attributes:
        metrics: of this service.
        budget: from which every protocol takes the bytes that it receives.
        on_ready: called when :attr:`ready` changes.
    """

    def __init__(
        self,
        repository: Repository,
        models: Models | None = None,
        options: Options | None = None,
        open_model: Open = LoadedModel.open,
        traces: Traces | None = None,
    ) -> None:
        self.metrics = Metrics()
        self.options = options or Options()
        self.budget = Budget(self.options.max_buffered)
        self.models = models or Models()
        self.on_ready: list[Callable[[], None]] = []
        self._repository = repository
        self._open = open_model
        self._traces = traces
        threads = self.options.threads or available_threads()
        self._batcher = Batcher(threads, threads, on_batch=self.metrics.computed)
        self._changing: dict[str, asyncio.Lock] = {}
        self._states: dict[tuple[str, str], Status] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self._running = 0
        self._explaining = 0
        self._started = False
        self._draining = False
        self.metrics.ready.set_function(lambda: float(self.ready))

    @property
    def ready(self) -> bool:
        """Whether requests are answered: everything is loaded and warm, and nothing drains."""
        return self._started and not self._draining

    @property
    def draining(self) -> bool:
        """Whether the service takes no more requests."""
        return self._draining

    async def start(self, names: Sequence[str] | None = None) -> None:
        """Load models and warm them up, and be ready then.

        Args:
            names: of the models; None for all that the repository has.

        Raises:
            FleetnetError: one cannot be loaded.
        """
        for name in self._repository.names() if names is None else names:
            await self._load(name)
        self._started = True
        self.tell_ready()

    def tell_ready(self) -> None:
        """Call what waits for a change of :attr:`ready`."""
        for told in self.on_ready:
            told()

    async def infer(self, request: Request) -> Result:
        """Answer a request; cancelling this takes its images out of the queue.

        Raises:
            RequestError: it asks for what cannot be given, or is to be answered as a whole and
                has an image that cannot be read.
            NotFoundError: the model or version is not loaded.
            TooLargeError: too many images.
            OverloadedError: the queue is full.
            UnavailableError: the service starts or drains.
            DeadlineError: the deadline passed.
            InternalError: something else went wrong, which is in the log.
        """
        with self._traced(request) as answered:
            result = await self._counted(request)
            answered(result)
        return result

    def _traced(
        self, request: Request, name: str = "infer"
    ) -> contextlib.AbstractContextManager[Callable[[Result | Explanation], None]]:
        """Make a span of a request, if somebody wants one; what is yielded takes its answer."""
        if self._traces is None:
            return contextlib.nullcontext(lambda _: None)
        return self._traces.of(request, name)

    async def _counted(self, request: Request) -> Result:
        """Answer a request, and count what became of it."""
        with self._accounted(request) as seen:
            self._check(request)
            version, shadow = self.models.route(request.model, request.version)
            seen.model = version.model
            result = await self._infer(version, request)
            self.metrics.looked_at(result)
            if request.whole:
                require_answers(result)
        if all(answer.error is not None for answer in result.answers):
            self.metrics.failed(result.model, request.protocol, "invalid")
            return result
        self.metrics.answered(result, request.protocol)
        if shadow is not None:
            self._spawn(self._shadow(shadow, request, result))
        return result

    async def explain(self, request: Request, index: int | None = None) -> Explanation:
        """Find where in an image a class is seen; cancelling this ends the work on it.

        That takes the network as many images as fifty requests, so only a few are explained at the
        same time; their images wait in the model's queue, a row at a time, as all others do.

        Args:
            request: of one image.
            index: of the class; None for the most probable one.

        Raises:
            ImageError: the image cannot be read.
            ServingError: as :meth:`infer`; NotFoundError too where no heat maps are given.
        """
        with self._traced(request, "explain") as answered:
            explanation = await self._counted_explanation(request, index)
            answered(explanation)
        return explanation

    async def _counted_explanation(self, request: Request, index: int | None) -> Explanation:
        with self._accounted(request) as seen:
            self._check(request)
            if len(request.images) != 1:
                raise RequestError("one image is explained at a time")
            with self._explains():
                explanation = await self._explain(request, index, seen)
        self.metrics.explained(explanation.model, explanation.version)
        return explanation

    async def _explain(self, request: Request, index: int | None, seen: _Seen) -> Explanation:
        deadline = self._deadline(request)
        while True:
            version = self.models.find(request.model, request.version)
            seen.model = version.model
            grid = min(MAX_GRID, self.options.max_images, version.lane.queueing.max_images)
            ask = functools.partial(self._outcomes, version, deadline=deadline)
            try:
                return await explain(version, request.images[0], index, grid, ask)
            except UnavailableError:
                # The version was swapped in between: the new one explains the image from the start.
                if not self.ready or self.models.find(request.model, request.version) is version:
                    raise

    @contextlib.contextmanager
    def _explains(self) -> Iterator[None]:
        limit = self.options.max_explanations
        if limit == 0:
            raise NotFoundError("this server computes no heat maps")
        if self._explaining >= limit:
            raise OverloadedError("enough images are being explained: try again later")
        self._explaining += 1
        try:
            yield
        finally:
            self._explaining -= 1

    @contextlib.contextmanager
    def _accounted(self, request: Request) -> Iterator[_Seen]:
        """Count a request while it is answered, and by its cause if it is not."""
        seen = _Seen()
        self._running += 1
        try:
            yield seen
        except asyncio.CancelledError:
            self.metrics.failed(seen.model, request.protocol, "cancelled")
            raise
        except (ServingError, ImageError) as error:
            self.metrics.failed(seen.model, request.protocol, cause_of(error))
            if isinstance(error, ServingError) and error.__cause__ is not None:
                log.exception(
                    "request failed", extra={"request_id": request.id}, exc_info=error.__cause__
                )
            raise
        except Exception as error:
            self.metrics.failed(seen.model, request.protocol, "internal")
            log.exception("request failed", extra={"request_id": request.id})
            raise InternalError("something went wrong here: the log says what") from error
        finally:
            self._running -= 1

    def _check(self, request: Request) -> None:
        if self._draining or not self._started:
            why = "is being stopped" if self._draining else "is still loading its models"
            raise UnavailableError(f"the service {why}")
        if not request.images:
            raise RequestError("there is no image in the request")
        if len(request.images) > self.options.max_images:
            raise TooLargeError(
                f"{len(request.images)} images are more than {self.options.max_images} in a "
                "request: send several requests",
                given=len(request.images),
                limit=self.options.max_images,
            )
        if request.top_k < 0:
            raise RequestError(f"top_k is {request.top_k}; it must be at least 0")

    async def _infer(self, version: Version, request: Request) -> Result:
        if request.embeddings and not version.loaded.embeddings:
            raise RequestError(
                f"the bundle of the model '{version.model}' gives no embeddings",
                model=version.model,
            )
        if request.scores and version.loaded.classifier.rejection is None:
            raise RequestError(
                f"the bundle of the model '{version.model}' rejects nothing: it has no threshold",
                model=version.model,
            )
        # Nothing is awaited between the choice of the version and the queue.
        done = await self._outcomes(version, request.images, self._deadline(request))
        loaded = version.loaded
        answers = tuple(_answer(loaded, outcome, request) for outcome in done)
        if loaded.watch is not None:
            _watch(loaded, loaded.watch, answers)
        return Result(
            id=request.id,
            model=version.model,
            version=version.version,
            bundle=loaded.hash,
            classes=loaded.classes,
            answers=answers,
            timing=longest(outcome.timing for outcome in done),
        )

    def _deadline(self, request: Request) -> float:
        limit = time.monotonic() + self.options.timeout
        return limit if request.deadline is None else min(request.deadline, limit)

    async def _outcomes(
        self, version: Version, images: Sequence[Picture], deadline: float
    ) -> list[Outcome]:
        outcomes = asyncio.wrap_future(version.lane.submit(images, deadline))
        try:
            async with asyncio.timeout(max(deadline - time.monotonic(), 0)):
                return await outcomes
        except TimeoutError:
            raise DeadlineError("the deadline passed before there was an answer") from None

    async def _shadow(self, shadow: Version, request: Request, result: Result) -> None:
        """Compute the same images by another version, and count how often it says the same."""
        try:
            # A shadow must not fill a queue that others wait in.
            if shadow.lane.images > shadow.lane.queueing.max_images // 2:
                raise UnavailableError("the shadow is busy")
            other = await self._infer(
                shadow, replace(request, deadline=None, top_k=0, embeddings=False)
            )
        except (ServingError, asyncio.CancelledError):
            self.metrics.shadow_lost(shadow.model, shadow.version)
            return
        readable = sum(answer.error is None for answer in result.answers)
        same = same_classes(result.answers, other.answers)
        self.metrics.compared(
            shadow.model, result.version, shadow.version, same=same, other=readable - same
        )

    async def load(self, name: str, version: str | None = None, *, default: bool = False) -> None:
        """Load a version or all versions of a model; what is loaded already is loaded anew.

        The new ones are warm before they take the place of the old ones, which answer what they
        have.

        Args:
            name: of the model.
            version: None for all that the repository has.
            default: whether the version is to answer from now on where none is asked for.

        Raises:
            RequestError: the name or version can be none.
            NotFoundError: the repository has no such model or version.
            FleetnetError: it cannot be loaded; what was loaded before stays.
        """
        await self._load(name, version)
        if default and version is not None:
            self.models.default(name, version)

    async def _load(self, name: str, version: str | None = None) -> None:
        async with self._changing.setdefault(check_name("name of a model", name), asyncio.Lock()):
            self.put(await self.prepare(name, version))

    async def prepare(self, name: str, version: str | None = None) -> OpenedVersions:
        """Open and warm up what :meth:`put` lets answer then.

        Raises:
            FleetnetError: as :meth:`load`; nothing is held then.
        """
        if version is None:
            paths = await asyncio.to_thread(self._repository.versions, name)
        else:
            paths = {version: await asyncio.to_thread(self._repository.path, name, version)}
        prepared = OpenedVersions(name)
        for each, path in paths.items():
            self._say(name, each, "LOADING")
            try:
                prepared.opened[each] = await asyncio.to_thread(self._opened, name, each, path)
            except BaseException as error:
                known = isinstance(error, FleetnetError)
                why = one_line(error).replace(str(path), path.name) if known else "internal error"
                self.discard(prepared)
                self._say(name, each, "UNAVAILABLE", why)
                raise
        return prepared

    def put(self, prepared: OpenedVersions) -> None:
        """Let versions answer, each in the place of the one that it replaces."""
        name = prepared.model
        for version, (loaded, queueing) in prepared.opened.items():
            lane = self._batcher.open(loaded, queueing, f"{name}/{version}")
            former = self.models.put(Version(name, version, loaded, lane))
            self.metrics.loaded(lane, name, version, loaded.hash)
            self.metrics.watch(name, version, loaded.watch)
            self._states.pop((name, version), None)
            log.info(
                "model loaded", extra={"model": name, "version": version, "bundle": loaded.hash}
            )
            if former is not None:
                self._spawn(self._retire(former, replaced=True))

    def discard(self, prepared: OpenedVersions, reason: str = "") -> None:
        """Release versions that are not to answer after all; the index gives the reason, if any."""
        for version, (loaded, _) in prepared.opened.items():
            loaded.close()
            self._states.pop((prepared.model, version), None)
            if reason:
                self._say(prepared.model, version, "UNAVAILABLE", reason)

    def _opened(self, name: str, version: str, path: Path) -> tuple[LoadedModel, Queueing]:
        loaded = self._open(path, self.options.opening)
        try:
            queueing = replace(
                self.options.queueing,
                max_batch=loaded.classifier.batch_size,
                streams=loaded.streams,
            )
            loaded.watch = self.options.watching.watch(name, version, loaded.classes, loaded.hash)
            loaded.warm_up(queueing)
            self._repository.require_place(path)
        except BaseException:
            loaded.close()
            raise
        return loaded, queueing

    async def unload(self, name: str, version: str | None = None) -> None:
        """Take a version, or all versions, of a model out of service; return when all is answered.

        Raises:
            NotFoundError: it is not loaded.
        """
        if not self.models.versions(check_name("name of a model", name)):
            raise NotFoundError(f"no model '{name}' is loaded", model=name)
        async with self._changing.setdefault(name, asyncio.Lock()):
            if version is not None:
                self.models.find(name, version)
            taken = self.models.take(name, version)
            await asyncio.gather(*(self._retire(one, replaced=False) for one in taken))

    async def _retire(self, version: Version, *, replaced: bool) -> None:
        name, number = version.model, version.version
        if not replaced:
            self._say(name, number, "UNLOADING")
        version.lane.close()
        await asyncio.wrap_future(version.lane.drained)
        version.loaded.close()
        same = replaced and any(one.loaded.hash == version.loaded.hash for one in self.models)
        if not same:
            self.metrics.unloaded(name, number, version.loaded.hash, replaced=replaced)
        if not replaced:
            self._states.pop((name, number), None)
        log.info("model unloaded", extra={"model": name, "version": number})

    def index(self) -> list[Status]:
        """Return what is loaded and what could be, by name and version."""
        found = {
            (one.model, one.version): Status(one.model, one.version, "READY") for one in self.models
        }
        for name in self._repository.names():
            for version in self._repository.versions(name):
                found.setdefault((name, version), Status(name, version, "UNAVAILABLE"))
        found.update(self._states)
        return [found[key] for key in sorted(found)]

    async def figures(self) -> bytes:
        """Return the metrics in Prometheus's text format."""
        return self.metrics.text()

    async def drain(self, limit: float) -> bool:
        """Take no more requests, and wait for those that were taken.

        Args:
            limit: seconds to wait, at most.

        Returns:
            Whether all were answered in time.
        """
        self._draining = True
        self.tell_ready()
        end = time.monotonic() + limit
        while (self._running or self._tasks) and time.monotonic() < end:
            await asyncio.sleep(0.01)
        return not self._running

    async def close(self) -> None:
        """End the threads and release all models; what is not answered by now fails."""
        self._draining = True
        for task in list(self._tasks):
            task.cancel()
        await asyncio.to_thread(self._batcher.close)
        if self._traces is not None:
            await asyncio.to_thread(self._traces.close)
        for version in list(self.models):
            version.loaded.close()

    def _say(self, name: str, version: str, state: State, reason: str = "") -> None:
        self._states[name, version] = Status(name, version, state, reason)

    def _spawn(self, work: Coroutine[None, None, None]) -> None:
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)


def _watch(loaded: LoadedModel, watch: Watch, answers: Sequence[Answer]) -> None:
    """Count the answers, because somebody wants to know how they are distributed."""
    for answer in answers:
        if answer.top:
            watch.answered(answer.top[0].index, answer.top[0].probability)
        elif answer.logits is not None:
            best = int(np.argmax(answer.logits))
            watch.answered(best, float(loaded.classifier.probabilities(answer.logits)[best]))


def _answer(loaded: LoadedModel, outcome: Outcome, request: Request) -> Answer:
    if outcome.error is not None:
        return Answer(error=outcome.error)
    logits = outcome.rows[LOGITS]
    classifier = loaded.classifier
    rejected, score = classifier.judge(logits)
    return Answer(
        top=classifier.top(logits, request.top_k) if request.top_k else (),
        logits=logits,
        probabilities=classifier.probabilities(logits) if request.probabilities else None,
        embedding=outcome.rows[EMBEDDING] if request.embeddings else None,
        rejected=rejected,
        score=score,
    )
