"""HTTP on a port: uvicorn with our limits, started and stopped by the lifecycle."""

from __future__ import annotations

import asyncio
import contextlib
import math
import socket
import ssl
from collections.abc import Generator

import uvicorn

from fleetnet.errors import FleetnetError, one_line
from fleetnet.serving.auth import Tokens
from fleetnet.serving.config import Settings
from fleetnet.serving.rest.app import App
from fleetnet.serving.rest.connection import limited
from fleetnet.serving.rest.hosts import Hosts
from fleetnet.serving.service import Service


class _Server(uvicorn.Server):
    """Leaves signals to the lifecycle, which has other transports to stop too."""

    @contextlib.contextmanager
    def capture_signals(self) -> Generator[None, None, None]:
        yield


class RestTransport:
    """The HTTP server.

    Attributes:
        address: such as ``http://127.0.0.1:8000``, once it is started.
    """

    name = "rest"

    def __init__(self, service: Service, tokens: Tokens, settings: Settings) -> None:
        self.address = ""
        self._settings = settings
        self._app = App(service, tokens, settings.limits, Hosts.of(settings, tokens))
        self._task: asyncio.Task[None] | None = None
        self._server: _Server | None = None

    async def start(self) -> None:
        """Listen; requests are answered from now on.

        Raises:
            FleetnetError: the address is taken or is none, or a certificate cannot be read.
        """
        settings, tls = self._settings, self._settings.tls
        listening = bind(settings.host, settings.port, shared=settings.workers > 1)
        config = uvicorn.Config(
            self._app.asgi,
            http=limited(settings.limits, self._app.count),
            loop="asyncio",
            lifespan="off",
            ws="none",
            log_config=None,
            access_log=False,
            server_header=False,
            proxy_headers=False,
            timeout_keep_alive=math.ceil(settings.limits.idle_seconds),
            timeout_graceful_shutdown=math.ceil(settings.drain) + 1,
            ssl_certfile=tls.certificate,
            ssl_keyfile=tls.key,
            ssl_ca_certs=str(tls.client_ca) if tls.client_ca else None,
            ssl_cert_reqs=ssl.CERT_REQUIRED if tls.client_ca else ssl.CERT_NONE,
        )
        try:
            config.load()
        except (OSError, ssl.SSLError) as error:
            listening.close()
            raise FleetnetError(f"the TLS files cannot be used: {one_line(error)}") from None
        self._server = _Server(config)
        host, port = listening.getsockname()[:2]
        scheme = "http" if tls.certificate is None else "https"
        self.address = f"{scheme}://{f'[{host}]' if ':' in host else host}:{port}"
        self._task = asyncio.create_task(self._server.serve([listening]))
        while not self._server.started and not self._task.done():
            await asyncio.sleep(0.005)
        if self._task.done():
            await self._task

    async def stop(self, limit: float) -> None:
        """Take no new connections, and wait for the responses that are being sent."""
        if self._server is None or self._task is None:
            return
        self._server.config.timeout_graceful_shutdown = max(1, math.ceil(limit))
        self._server.should_exit = True
        await self._task


def bind(host: str, port: int, *, shared: bool = False, lingering: bool = True) -> socket.socket:
    """Return a socket that is bound to an address of this machine.

    Args:
        host: name or number of the address.
        port: 0 for any that is free.
        shared: whether other processes may bind the same, if they share it too; new connections are
            spread over those that listen.
        lingering: whether connections of a former server may still be there; other processes that
            let them linger may bind the same as long as nobody listens.

    Raises:
        FleetnetError: the address is taken, is not of this machine, or may not be used.
    """
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(
            host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
        # Only of sockets that name TCP does asyncio turn off Nagle's delay, of 40 ms an answer.
        made = socket.socket(family, kind, protocol or socket.IPPROTO_TCP)
    except OSError as error:
        raise FleetnetError(f"{host} is no address to listen on: {one_line(error)}") from None
    made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, int(lingering))
    if shared:
        made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
    try:
        made.bind(address)
    except OSError as error:
        made.close()
        reason = error.strerror or one_line(error)
        raise FleetnetError(f"cannot listen on {host}:{port}: {reason}; choose another") from None
    return made
