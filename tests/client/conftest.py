"""Both clients, a server in a thread of this process, and one that does what it is told."""

from __future__ import annotations

import asyncio
import contextlib
import re
import socket
import threading
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from fleetnet.client import AsyncClient, Client
from fleetnet.conformance.files import ConformanceSet, find_set
from fleetnet.serving.auth import Tokens
from fleetnet.serving.config import Settings
from fleetnet.serving.lifecycle import repository_of
from fleetnet.serving.rest.server import RestTransport
from fleetnet.serving.service import Service

LONG = 60.0
Connect = Callable[..., Any]


@pytest.fixture(scope="session")
def conformance() -> ConformanceSet:
    return ConformanceSet.load()


@pytest.fixture(scope="session")
def network() -> Path:
    return find_set() / "network.onnx"


@pytest.fixture(scope="session")
def picture(conformance: ConformanceSet) -> Path:
    return conformance.path / "pictures" / "jpeg-baseline.jpg"


@pytest.fixture(scope="session")
def server(network: Path) -> Iterator[str]:
    """The address of a server of the model ``net``, for tests that change nothing."""
    with served(models={"net": network}) as address:
        yield address


@contextlib.contextmanager
def served(**values: object) -> Iterator[str]:
    """Run a server in a thread of its own."""
    settings = Settings.load_all(None, {}, {"engine": {"threads": 1}, "port": 0, **values})
    started = threading.Event()
    told: dict[str, Any] = {}

    async def serve() -> None:
        told["loop"], told["end"] = asyncio.get_running_loop(), asyncio.Event()
        service = Service(repository_of(settings), settings.routes(), settings.options())
        try:
            transport = RestTransport(service, Tokens(settings.tokens), settings)
            await service.start(settings.load)
            await transport.start()
            told["address"] = transport.address
            started.set()
            await told["end"].wait()
            await transport.stop(1)
        finally:
            await service.close()
            started.set()

    thread = threading.Thread(target=lambda: asyncio.run(serve()))
    thread.start()
    try:
        assert started.wait(LONG)
        yield told["address"]
    finally:
        with contextlib.suppress(RuntimeError):  # it has ended by itself
            told["loop"].call_soon_threadsafe(told["end"].set)
        thread.join(LONG)


class Awaited:
    """An asynchronous client behind the methods of the other, so that one test tries both."""

    def __init__(self, *arguments: Any, **options: Any) -> None:
        self._client = AsyncClient(*arguments, **options)
        self._loop = asyncio.new_event_loop()

    def __getattr__(self, name: str) -> Callable[..., Any]:
        return lambda *arguments, **options: self._loop.run_until_complete(
            getattr(self._client, name)(*arguments, **options)
        )

    def classify_many(self, *arguments: Any, **options: Any) -> Iterator[Any]:
        stream = self._client.classify_many(*arguments, **options)
        try:
            while True:
                try:
                    yield self._loop.run_until_complete(_next(stream))
                except StopAsyncIteration:
                    return
        finally:
            self._loop.run_until_complete(stream.aclose())  # type: ignore[attr-defined]

    def end(self) -> None:
        self._loop.run_until_complete(self._client.close())
        self._loop.run_until_complete(asyncio.sleep(0))
        self._loop.close()


async def _next(stream: AsyncIterator[Any]) -> Any:
    return await anext(stream)


@pytest.fixture(params=["blocking", "asyncio"])
def connect(request: pytest.FixtureRequest) -> Iterator[Connect]:
    """Return a function that makes a client of one of the kinds."""
    with contextlib.ExitStack() as stack:

        def made(url: str, **options: Any) -> Any:
            if request.param == "blocking":
                return stack.enter_context(Client(url, **options))
            client = Awaited(url, **options)
            stack.callback(client.end)
            return client

        yield made


class Scripted:
    """A server that answers each request by the next of its replies.

    A reply is what is sent as it is, or a list of pieces that are sent apart. After one that is
    :data:`Scripted.CUT`, or the last, the connection is closed; a reply may say so itself, by a
    ``Connection: close`` in it.

    Attributes:
        requests: the requests that came, each its head and its body.
        connections: how many there were.
    """

    CUT = b""

    def __init__(self, *replies: bytes) -> None:
        self._replies = list(replies)
        self.requests: list[tuple[str, bytes]] = []
        self.connections = 0
        self._listening = socket.create_server(("127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{self._listening.getsockname()[1]}"
        self._talking: socket.socket | None = None
        self._thread = threading.Thread(target=self._serve, daemon=True)
        self._thread.start()

    def _serve(self) -> None:
        while self._replies:
            try:
                connection, _ = self._listening.accept()
            except OSError:  # the test has ended
                return
            self.connections += 1
            connection.settimeout(LONG)
            self._talking = connection
            with connection, contextlib.suppress(OSError):
                self._talk(connection)

    def _talk(self, connection: socket.socket) -> None:
        while self._replies:
            got = b""
            while b"\r\n\r\n" not in got:
                data = connection.recv(65536)
                if not data:
                    return
                got += data
            head, _, body = got.partition(b"\r\n\r\n")
            length = re.search(rb"content-length: (\d+)", head.lower())
            while length is not None and len(body) < int(length[1]):
                body += connection.recv(65536)
            self.requests.append((head.decode(), body))
            reply = self._replies.pop(0)
            if reply == self.CUT:
                return
            connection.sendall(reply)
            if b"close" in reply[:300] or b"ength" not in reply:
                return

    def close(self) -> None:
        self._replies = []
        for one in (self._listening, self._talking):
            with contextlib.suppress(OSError):
                if one is not None:
                    one.shutdown(socket.SHUT_RDWR)
        self._listening.close()
        self._thread.join(LONG)


@pytest.fixture
def scripted() -> Iterator[Callable[..., Scripted]]:
    with contextlib.ExitStack() as stack:

        def made(*replies: bytes) -> Scripted:
            server = Scripted(*replies)
            stack.callback(server.close)
            return server

        yield made


def reply(body: bytes, status: int = 200, *headers: str, length: int | None = None) -> bytes:
    """Return an HTTP response."""
    length = len(body) if length is None else length
    lines = [f"HTTP/1.1 {status} Said", f"Content-Length: {length}", *headers]
    return "\r\n".join([*lines, "", ""]).encode() + body
