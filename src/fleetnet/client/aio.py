"""The client of asyncio."""

from __future__ import annotations

import asyncio
import contextlib
from collections import deque
from collections.abc import AsyncIterable, AsyncIterator, Callable, Iterable, Mapping
from typing import TYPE_CHECKING, Self, SupportsIndex, TypeVar

from fleetnet.client import calls
from fleetnet.client.address import Address, Path
from fleetnet.client.deadline import Deadline
from fleetnet.client.images import Given, expanded, given, taken_of
from fleetnet.client.network import PIECE
from fleetnet.client.results import (
    Classification,
    Inference,
    ModelEntry,
    ModelMetadata,
    Prediction,
)
from fleetnet.client.session import Options
from fleetnet.client.shared import Base, checked

if TYPE_CHECKING:
    from fleetnet.client.tensors import Tensor
    from fleetnet.inference.inputs import ImageLike

Value = TypeVar("Value")


class _Reader(asyncio.StreamReader):
    """Knows whether there is something to read, and keeps it when the connection breaks."""

    unread = 0

    def feed_data(self, data: Iterable[SupportsIndex]) -> None:
        super().feed_data(data)
        self.unread += len(bytes(data))

    def set_exception(self, exc: Exception) -> None:
        if self.unread:  # why a server would take no more of a body
            self.feed_eof()
        else:
            super().set_exception(exc)

    async def read(self, n: int = -1) -> bytes:
        data = await super().read(n)
        self.unread -= len(data)
        return data


class AsyncStream:
    """A connection of an event loop."""

    def __init__(self, reader: _Reader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer
        self._loop = asyncio.get_running_loop()

    async def send(self, data: bytes, deadline: Deadline) -> bool:
        """Send the bytes, and tell whether all were: not if there is an answer before their end."""
        async with _until(deadline):
            for place in range(0, len(data), PIECE):
                if place:
                    await asyncio.sleep(0)  # the loop looks what there is to read,
                    await asyncio.sleep(0)  # and reads it
                if self._reader.unread:
                    return False
                self._writer.write(data[place : place + PIECE])
                await self._writer.drain()
        return True

    async def receive(self, deadline: Deadline) -> bytes:
        """Return the next bytes, none at the end."""
        async with _until(deadline):
            return await self._reader.read(PIECE)

    def usable(self) -> bool:
        """Tell whether it is open, of this loop, and has nothing to read."""
        ended = self._reader.at_eof() or self._writer.is_closing()
        ours = self._loop is asyncio.get_running_loop()
        return ours and not ended and not self._reader.unread

    def close(self) -> None:
        """Close it."""
        with contextlib.suppress(RuntimeError):  # its loop has ended, and it with that
            self._writer.transport.abort()


@contextlib.asynccontextmanager
async def _until(deadline: Deadline) -> AsyncIterator[None]:
    try:
        async with asyncio.timeout(deadline.left()):
            yield
    except TimeoutError as error:
        if error.errno is None:  # it is ours, and not the system's
            raise deadline.passed() from None
        raise


class AsyncNetwork:
    """Connections of the loop that runs."""

    def __init__(self, connections: int) -> None:
        self._connections = connections
        self._loop: asyncio.AbstractEventLoop | None = None
        self._places = asyncio.Semaphore(connections)

    async def connect(self, address: Address, deadline: Deadline) -> AsyncStream:
        """Open a connection."""
        loop = asyncio.get_running_loop()
        reader = _Reader(loop=loop)
        protocol = asyncio.StreamReaderProtocol(reader, loop=loop)
        async with _until(deadline):
            transport, _ = await loop.create_connection(
                lambda: protocol, address.host, address.port, ssl=address.tls
            )
        return AsyncStream(reader, asyncio.StreamWriter(transport, protocol, reader, loop))

    async def enter(self, deadline: Deadline) -> None:
        """Wait until there may be one connection more."""
        loop = asyncio.get_running_loop()
        if self._loop is not loop:
            self._loop, self._places = loop, asyncio.Semaphore(self._connections)
        async with _until(deadline):
            await self._places.acquire()

    def leave(self) -> None:
        """Let another have the place."""
        self._places.release()

    async def sleep(self, seconds: float) -> None:
        """Wait."""
        await asyncio.sleep(seconds)

    async def aside(self, work: Callable[[], Value]) -> Value:
        """Do it in a thread, so that the loop goes on."""
        return await asyncio.to_thread(work)


class AsyncClient(Base):
    """A server of bundles, asked over REST from one event loop at a time.

    Everything is as in :class:`fleetnet.client.Client`. A task that is cancelled closes its
    connection, and the server does not compute what it has not begun.

    Args:
        url: such as ``http://127.0.0.1:8000``.
        token: sent as ``Authorization: Bearer``.
        api_key: sent as ``X-API-Key``.
        model: which to ask; may be left out of a server of only one.
        timeout: seconds for a request with all of its attempts. The server is told, and computes
            nothing after that. None for no limit.
        retries: attempts more after one that the server shed (status 429 or 503), with growing
            pauses, at least as long as it says in ``Retry-After``; none that would end after the
            deadline. Nothing else is tried again, except what was sent on an idle connection that
            the server had closed meanwhile: once, on a new one.
        connections: how many may be open at a time.
        max_response: bytes of a response.
        ca: certificates in PEM that the server's is checked with, instead of the system's.
        cert: our own certificate with its key in PEM, or the two files, for mutual TLS.

    Raises:
        ClientError: an argument is none.
    """

    def __init__(
        self,
        url: str,
        *,
        token: str | None = None,
        api_key: str | None = None,
        model: str = "",
        timeout: float | None = 30.0,
        retries: int = 3,
        connections: int = 64,
        max_response: int = 64 * 2**20,
        ca: Path | None = None,
        cert: Path | tuple[Path, Path] | None = None,
    ) -> None:
        super().__init__(
            AsyncNetwork(connections),
            url,
            token=token,
            api_key=api_key,
            model=model,
            options=Options(timeout, retries, connections, max_response),
            ca=ca,
            cert=cert,
        )

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    async def close(self) -> None:
        """Close the connections that are idle."""
        self._session.close()

    async def classify(
        self,
        images: ImageLike | Iterable[ImageLike],
        *,
        top_k: int = 5,
        probabilities: bool = False,
        embeddings: bool = False,
        model: str | None = None,
        version: str | None = None,
        timeout: float | None = None,
        request_id: str | None = None,
        traceparent: str | None = None,
    ) -> Classification:
        """Classify one image, or several in one request.

        Args:
            images: in any of the forms that :meth:`fleetnet.Classifier.predict` takes. Files go
                as they are, pixels without compression.
            top_k: how many classes to name for an image.
            probabilities: whether to give those of all classes.
            embeddings: whether to give the network's embedding, which not every bundle can.
            model: other than the client's.
            version: other than the default.
            timeout: other than the client's.
            request_id: that the server's log gets; the server makes one if there is none.
            traceparent: of W3C's trace context.

        Returns:
            A prediction for each image; one that cannot be read has an error.

        Raises:
            OverloadedError: the server shed the request, at the last attempt too.
            DeadlineError: the time is over.
            AccessError: the token is missing, unknown, or may not do this.
            MissingError: there is no such model or version.
            RefusedError: the server refused the request for another reason.
            UnreachableError: there is no connection, or it was cut.
            ResponseError: what came back is no answer.
            FleetnetError: something is no image at all.
        """
        asked = self._asked(
            model,
            version,
            timeout,
            top_k=top_k,
            probabilities=probabilities,
            embeddings=embeddings,
            request_id=request_id,
            traceparent=traceparent,
        )
        return await calls.classify(self._session, taken_of(images), asked)

    async def classify_many(
        self,
        images: Path | Iterable[ImageLike] | AsyncIterable[ImageLike],
        *,
        concurrency: int = 8,
        top_k: int = 5,
        probabilities: bool = False,
        embeddings: bool = False,
        model: str | None = None,
        version: str | None = None,
        timeout: float | None = None,
    ) -> AsyncIterator[Prediction]:
        """Classify any number of images, a request each, and yield predictions in order.

        At most ``concurrency`` images are taken ahead, so that memory does not grow.

        Args:
            images: a folder, a glob, or an iterable of images, which may be endless, and
                may be of asyncio's kind.
            concurrency: how many requests are under way at a time.
            top_k: as in :meth:`classify`.
            probabilities: the same.
            embeddings: the same.
            model: the same.
            version: the same.
            timeout: for each image, from when it is sent.

        Raises:
            ClientError: as in :meth:`classify`, after the predictions of the earlier images.
            FleetnetError: something is no image at all.
        """

        async def one(image: Given) -> Prediction:
            asked = self._asked(
                model,
                version,
                timeout,
                top_k=top_k,
                probabilities=probabilities,
                embeddings=embeddings,
            )
            return await calls.predict(self._session, image, asked)

        checked(concurrency)
        tasks: deque[asyncio.Task[Prediction]] = deque()
        failure: Exception | None = None
        coming = _numbered(images)
        try:
            while failure is None:
                try:
                    image = await anext(coming)
                except StopAsyncIteration:
                    break
                except Exception as error:
                    failure = error
                    break
                tasks.append(asyncio.create_task(one(image)))
                if len(tasks) == concurrency:
                    yield await tasks.popleft()
            while tasks:
                yield await tasks.popleft()
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
        if failure is not None:
            raise failure

    async def infer(
        self,
        inputs: Mapping[str, Tensor],
        *,
        outputs: Iterable[str] | None = None,
        model: str | None = None,
        version: str | None = None,
        timeout: float | None = None,
        request_id: str | None = None,
        traceparent: str | None = None,
    ) -> Inference:
        """Ask a model by the Open Inference Protocol, with binary tensors.

        Args:
            inputs: arrays, or lists of ``bytes``, by name: ``{"image": [content]}``.
            outputs: names of those to return; None for what the server gives unasked.
            model: as in :meth:`classify`, but there has to be one.
            version: the same.
            timeout: the same.
            request_id: the same.
            traceparent: the same.

        Raises:
            ClientError: as in :meth:`classify`. One image that cannot be read refuses the request.
        """
        asked = self._asked(model, version, timeout, request_id=request_id, traceparent=traceparent)
        return await calls.infer(self._session, inputs, outputs, asked)

    async def models(self, *, timeout: float | None = None) -> list[ModelEntry]:
        """Return which versions of models are loaded, or could be.

        Raises:
            ClientError: as in :meth:`classify`.
        """
        return await calls.models(self._session, self._deadline(timeout))

    async def metadata(
        self, model: str | None = None, version: str | None = None, *, timeout: float | None = None
    ) -> ModelMetadata:
        """Return what a model takes and gives.

        Raises:
            ClientError: as in :meth:`classify`.
        """
        asked = self._asked(model, version, timeout)
        return await calls.metadata(self._session, asked.model, asked.version, asked.deadline)

    async def live(self, *, timeout: float | None = None) -> bool:
        """Tell whether the server answers at all.

        Raises:
            ClientError: what answers is none.
        """
        return await calls.health(self._session, "/v2/health/live", self._deadline(timeout))

    async def ready(
        self, model: str | None = None, version: str | None = None, *, timeout: float | None = None
    ) -> bool:
        """Tell whether the server, or a model that is named here, can be asked.

        Raises:
            ClientError: what answers is none.
        """
        path = calls.ready_path(model, version)
        return await calls.health(self._session, path, self._deadline(timeout))

    async def load(
        self,
        model: str | None = None,
        version: str | None = None,
        *,
        default: bool = False,
        timeout: float | None = None,
    ) -> None:
        """Load all versions of a model, or one; what is loaded already is loaded anew.

        Args:
            model: as in :meth:`classify`, but there has to be one.
            version: None for all.
            default: whether this version becomes the default.
            timeout: as in :meth:`classify`.

        Raises:
            ClientError: as in :meth:`classify`.
        """
        asked = self._asked(model, version, timeout)
        await calls.load(self._session, asked, default=default)

    async def unload(
        self, model: str | None = None, version: str | None = None, *, timeout: float | None = None
    ) -> None:
        """Unload all versions of a model, or one.

        Raises:
            ClientError: as in :meth:`classify`.
        """
        await calls.unload(self._session, self._asked(model, version, timeout))


async def _numbered(
    images: Path | Iterable[ImageLike] | AsyncIterable[ImageLike],
) -> AsyncIterator[Given]:
    number = 0
    if isinstance(images, AsyncIterable):
        async for image in images:
            yield given(image, number)
            number += 1
    else:
        for number, image in enumerate(expanded(images)):
            yield given(image, number)
