"""The client that blocks, which any number of threads may share."""

from __future__ import annotations

import contextlib
import socket
import threading
import time
from collections.abc import Callable, Coroutine, Iterable, Iterator, Mapping
from typing import TYPE_CHECKING, Any, Self, TypeVar

from fleetnet.client import calls
from fleetnet.client.address import Address, Path
from fleetnet.client.deadline import Deadline
from fleetnet.client.images import Given, all_given, expanded, taken_of
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
from fleetnet.client.sockets import readable
from fleetnet.threads import map_in_threads

if TYPE_CHECKING:
    from fleetnet.client.tensors import Tensor
    from fleetnet.inference.inputs import ImageLike

Value = TypeVar("Value")


def run(work: Coroutine[Any, Any, Value]) -> Value:
    """Run a coroutine that never waits for another, because its connections block."""
    try:
        work.send(None)
    except StopIteration as end:
        value: Value = end.value
        return value
    finally:
        work.close()
    raise AssertionError("a connection that blocks has waited")


class BlockingStream:
    """A connection that blocks its thread."""

    def __init__(self, connection: socket.socket) -> None:
        self._connection = connection

    async def send(self, data: bytes, deadline: Deadline) -> bool:
        """Send the bytes, and tell whether all were: not if there is an answer before their end."""
        # What can be read by TLS may be no answer but a message of its own.
        plain = not hasattr(self._connection, "cipher")
        with memoryview(data) as view:
            for place in range(0, len(view), PIECE):
                if place and plain and readable(self._connection):
                    return False
                with _until(deadline, self._connection):
                    self._connection.sendall(view[place : place + PIECE])
        return True

    async def receive(self, deadline: Deadline) -> bytes:
        """Return the next bytes, none at the end."""
        with _until(deadline, self._connection):
            return self._connection.recv(PIECE)

    def usable(self) -> bool:
        """Tell whether it is open: of an idle one, anything to read is its end."""
        return not readable(self._connection)

    def close(self) -> None:
        """Close it."""
        self._connection.close()


@contextlib.contextmanager
def _until(deadline: Deadline, connection: socket.socket) -> Iterator[None]:
    connection.settimeout(deadline.left())
    try:
        yield
    except TimeoutError as error:
        if error.errno is None:  # it is ours, and not the system's
            raise deadline.passed() from None
        raise


class BlockingNetwork:
    """Connections that block."""

    def __init__(self, connections: int) -> None:
        self._places = threading.Semaphore(connections)

    async def connect(self, address: Address, deadline: Deadline) -> BlockingStream:
        """Open a connection to the first address of the host that takes it."""
        failed: OSError | None = None
        found = socket.getaddrinfo(address.host, address.port, type=socket.SOCK_STREAM)
        for family, kind, protocol, _, place in found:
            connection = socket.socket(family, kind, protocol)
            try:
                with _until(deadline, connection):
                    connection.connect(place)
                connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                if address.tls is not None:
                    with _until(deadline, connection):  # what is left now
                        connection = address.tls.wrap_socket(
                            connection, server_hostname=address.host
                        )
            except OSError as error:
                connection.close()
                failed = error
            except BaseException:
                connection.close()
                raise
            else:
                return BlockingStream(connection)
        raise failed or OSError("it has no address")

    async def enter(self, deadline: Deadline) -> None:
        """Wait until there may be one connection more."""
        if not self._places.acquire(timeout=deadline.left()):
            raise deadline.passed()

    def leave(self) -> None:
        """Let another have the place."""
        self._places.release()

    async def sleep(self, seconds: float) -> None:
        """Wait."""
        time.sleep(seconds)

    async def aside(self, work: Callable[[], Value]) -> Value:
        """Do it here and now."""
        return work()


class Client(Base):
    """A server of bundles, asked over REST.

    Connections are kept and used again; any number of threads may share a client. ``with`` closes
    it, which only closes connections: it may be used again.

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
            BlockingNetwork(connections),
            url,
            token=token,
            api_key=api_key,
            model=model,
            options=Options(timeout, retries, connections, max_response),
            ca=ca,
            cert=cert,
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the connections that are idle."""
        self._session.close()

    def classify(
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
        return run(calls.classify(self._session, taken_of(images), asked))

    def classify_many(
        self,
        images: Path | Iterable[ImageLike],
        *,
        concurrency: int = 8,
        top_k: int = 5,
        probabilities: bool = False,
        embeddings: bool = False,
        model: str | None = None,
        version: str | None = None,
        timeout: float | None = None,
    ) -> Iterator[Prediction]:
        """Classify any number of images, a request each, and yield predictions in order.

        At most twice ``concurrency`` images are taken ahead, so that memory does not grow.

        Args:
            images: a folder, a glob, or an iterable of images, which may be endless.
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

        def one(image: Given) -> Prediction:
            asked = self._asked(
                model,
                version,
                timeout,
                top_k=top_k,
                probabilities=probabilities,
                embeddings=embeddings,
            )
            return run(calls.predict(self._session, image, asked))

        return map_in_threads(
            one, all_given(expanded(images)), checked(concurrency), name="fleetnet-client"
        )

    def infer(
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
        return run(calls.infer(self._session, inputs, outputs, asked))

    def models(self, *, timeout: float | None = None) -> list[ModelEntry]:
        """Return which versions of models are loaded, or could be.

        Raises:
            ClientError: as in :meth:`classify`.
        """
        return run(calls.models(self._session, self._deadline(timeout)))

    def metadata(
        self, model: str | None = None, version: str | None = None, *, timeout: float | None = None
    ) -> ModelMetadata:
        """Return what a model takes and gives.

        Raises:
            ClientError: as in :meth:`classify`.
        """
        asked = self._asked(model, version, timeout)
        return run(calls.metadata(self._session, asked.model, asked.version, asked.deadline))

    def live(self, *, timeout: float | None = None) -> bool:
        """Tell whether the server answers at all.

        Raises:
            ClientError: what answers is none.
        """
        return run(calls.health(self._session, "/v2/health/live", self._deadline(timeout)))

    def ready(
        self, model: str | None = None, version: str | None = None, *, timeout: float | None = None
    ) -> bool:
        """Tell whether the server, or a model that is named here, can be asked.

        Raises:
            ClientError: what answers is none.
        """
        path = calls.ready_path(model, version)
        return run(calls.health(self._session, path, self._deadline(timeout)))

    def load(
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
        run(calls.load(self._session, asked, default=default))

    def unload(
        self, model: str | None = None, version: str | None = None, *, timeout: float | None = None
    ) -> None:
        """Unload all versions of a model, or one.

        Raises:
            ClientError: as in :meth:`classify`.
        """
        run(calls.unload(self._session, self._asked(model, version, timeout)))
