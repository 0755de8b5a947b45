"""bRPC on a port: connections with our limits, started and stopped by the lifecycle."""

from __future__ import annotations

import asyncio
import ssl
import time

from fleetnet.errors import FleetnetError, one_line
from fleetnet.serving.auth import Tokens
from fleetnet.serving.brpc.calls import Calls
from fleetnet.serving.brpc.connection import Connection
from fleetnet.serving.config import Settings, TlsSettings
from fleetnet.serving.rest.server import bind
from fleetnet.serving.service import Service


class BrpcTransport:
    """The bRPC server.

    Attributes:
        address: such as ``baidu_std://127.0.0.1:8002``, once it is started; with TLS,
            ``baidu_stds``.
    """

    name = "brpc"

    def __init__(self, service: Service, tokens: Tokens, settings: Settings) -> None:
        self.address = ""
        self._service = service
        self._settings = settings
        self._calls = Calls(service, tokens, settings.limits)
        self._connections: set[Connection] = set()
        self._server: asyncio.Server | None = None
        self._sweeping: asyncio.Task[None] | None = None
        self._empty = asyncio.Event()

    async def start(self) -> None:
        """Listen; calls are answered from now on.

        Raises:
            FleetnetError: the address is taken or is none, or a certificate cannot be read.
        """
        settings = self._settings
        context = _context(settings.tls)
        listening = bind(settings.host, port_of(settings), shared=settings.workers > 1)
        self._server = await asyncio.get_running_loop().create_server(
            self._connection,
            sock=listening,
            ssl=context,
            ssl_handshake_timeout=settings.limits.header_seconds if context else None,
        )
        self._sweeping = asyncio.create_task(self._sweep())
        host, port = listening.getsockname()[:2]
        scheme = "baidu_std" if context is None else "baidu_stds"
        self.address = f"{scheme}://{f'[{host}]' if ':' in host else host}:{port}"

    async def stop(self, limit: float) -> None:
        """Take no new calls, and wait for those that are being answered."""
        if self._server is None or self._sweeping is None:
            return
        self._server.close()
        for connection in list(self._connections):
            connection.finish()
        if self._connections:
            self._empty.clear()
            try:
                await asyncio.wait_for(self._empty.wait(), limit)
            except TimeoutError:
                for connection in list(self._connections):
                    connection.abort()
        self._sweeping.cancel()

    def _connection(self) -> Connection:
        return Connection(
            self._calls, self._settings.limits, self._service.budget, self._opened, self._closed
        )

    def _opened(self, connection: Connection) -> bool:
        """Count a connection, for which the longest idle one has to go if there are too many."""
        limits = self._settings.limits
        if len(self._connections) >= limits.connections:
            now = time.monotonic()
            idlest = max(self._connections, key=lambda one: one.idle(now))
            if idlest.idle(now) <= limits.idle_seconds:
                return False
            self._connections.discard(idlest)
            idlest.abort()
        self._connections.add(connection)
        return True

    def _closed(self, connection: Connection) -> None:
        self._connections.discard(connection)
        if not self._connections:
            self._empty.set()

    async def _sweep(self) -> None:
        """Close, now and then, what is too slow: one timer for all connections."""
        while True:
            await asyncio.sleep(min(1.0, self._settings.limits.body_seconds / 4))
            now = time.monotonic()
            for connection in [one for one in self._connections if one.is_too_slow(now)]:
                self._calls.count("too-slow")
                connection.abort()


def port_of(settings: Settings) -> int:
    """Return the port that the settings ask for; 0 for any."""
    if settings.brpc.port is not None:
        return settings.brpc.port
    return 0 if settings.port == 0 or settings.port + 2 > 65535 else settings.port + 2


def _context(tls: TlsSettings) -> ssl.SSLContext | None:
    """Return what TLS needs; None without it."""
    if tls.certificate is None:
        return None
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    try:
        context.load_cert_chain(tls.certificate, tls.key)
        if tls.client_ca:
            context.load_verify_locations(tls.client_ca)
            context.verify_mode = ssl.CERT_REQUIRED
    except (OSError, ssl.SSLError) as error:
        raise FleetnetError(f"the TLS files cannot be used: {one_line(error)}") from None
    return context
