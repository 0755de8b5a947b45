"""A bRPC server in a thread of this process."""

from __future__ import annotations

import asyncio
import contextlib
import threading
from collections.abc import Coroutine, Iterator
from typing import Any

from fleetnet.serving.auth import Tokens
from fleetnet.serving.brpc.transport import BrpcTransport
from fleetnet.serving.config import Settings
from fleetnet.serving.lifecycle import repository_of
from fleetnet.serving.requests import Request, Result
from fleetnet.serving.service import Service
from serving import brpc_client

LONG = 60.0


class Gated(Service):
    """Lets requests whose id begins with ``slow`` wait for a gate, where a model would compute.

    Attributes:
        waiting: ids of those that wait.
        cancelled: ids of those that were cancelled while they did.
    """

    def __init__(self, *arguments: Any) -> None:
        super().__init__(*arguments)
        self.gate = asyncio.Event()
        self.waiting: list[str] = []
        self.cancelled: list[str] = []

    async def infer(self, request: Request) -> Result:
        if request.id.startswith("slow"):
            self.waiting.append(request.id)
            try:
                await self.gate.wait()
            except asyncio.CancelledError:
                self.cancelled.append(request.id)
                raise
            finally:
                self.waiting.remove(request.id)
        return await super().infer(request)


class Server:
    """A running server."""

    def __init__(
        self, service: Gated, transport: BrpcTransport, loop: asyncio.AbstractEventLoop
    ) -> None:
        self.service = service
        self.transport = transport
        self._loop = loop
        host, _, port = transport.address.partition("://")[2].rpartition(":")
        self.place = (host, int(port))

    def client(self) -> brpc_client.Client:
        return brpc_client.Client(self.place)

    def run(self, work: Coroutine[Any, Any, Any]) -> Any:
        return asyncio.run_coroutine_threadsafe(work, self._loop).result(LONG)

    def until(self, what: Any) -> None:
        """Wait until something is true on the server's loop."""

        async def waited() -> None:
            async with asyncio.timeout(LONG):
                while not what():
                    await asyncio.sleep(0.005)

        self.run(waited())

    def open_gate(self) -> None:
        self._loop.call_soon_threadsafe(self.service.gate.set)


@contextlib.contextmanager
def serving(*, start: bool = True, **values: object) -> Iterator[Server]:
    """Serve models, until the end of the block."""
    given = {"engine": {"threads": 1}, "brpc": {"port": 0}, **values}
    settings = Settings.load_all(None, {}, given)
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever, daemon=True)
    thread.start()

    async def started() -> Server:
        service = Gated(repository_of(settings), settings.routes(), settings.options())
        transport = BrpcTransport(service, Tokens(settings.tokens), settings)
        await transport.start()
        if start:
            await service.start(settings.load)
        return Server(service, transport, loop)

    async def stopped(server: Server) -> None:
        await server.transport.stop(0)
        await server.service.close()

    server = asyncio.run_coroutine_threadsafe(started(), loop).result(LONG)
    try:
        yield server
    finally:
        server.run(stopped(server))
        loop.call_soon_threadsafe(loop.stop)
        thread.join(LONG)
        loop.close()
