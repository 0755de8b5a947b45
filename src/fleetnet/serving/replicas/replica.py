"""A replica: the REST application in a process that Ray Serve starts, watches and ends."""

from __future__ import annotations

import contextlib
import logging
import os
from typing import Any

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from fleetnet.serving.auth import Tokens
from fleetnet.serving.errors import UnavailableError
from fleetnet.serving.logs import set_up_logs
from fleetnet.serving.replicas.sent import Beginning
from fleetnet.serving.replicas.service import ReplicaService
from fleetnet.serving.rest.app import ID_HEADER, App
from fleetnet.serving.rest.hosts import Hosts
from fleetnet.serving.traces import traces_of

log = logging.getLogger("fleetnet.serving")


class Replica:
    """What requests come to as soon as it has begun, all of it on one event loop."""

    async def begin(self, beginning: Beginning, sums: Any) -> None:
        """Load the models and warm them up.

        Args:
            beginning: what was sent.
            sums: the handle of what adds up the metrics.

        Raises:
            FleetnetError: a model cannot be loaded.
        """
        set_up_logs(beginning.settings.log)
        tokens = Tokens.of(beginning.tokens)
        with beginning.unpacked() as settings:
            traces = traces_of(settings.telemetry, os.environ)
            self._service = ReplicaService(settings, sums, traces)
            try:
                await self._service.start()
            except BaseException:
                await self._service.close()
                raise
        app = App(self._service, tokens, settings.limits, Hosts.of(settings, tokens))
        self._asgi = _without_id(app.asgi)
        self._service.count()
        log.info("a replica is ready", extra={"worker_process": os.getpid()})

    def __serve_build_asgi_app__(self) -> ASGIApp:
        """Return the application, as :func:`ray.serve.ingress` asks for it."""
        return self._asgi

    async def check_health(self) -> None:
        """Tell Ray Serve whether this replica answers.

        Raises:
            UnavailableError: it does not.
        """
        if not self._service.ready:
            raise UnavailableError("the service is not ready")

    async def end(self) -> None:
        """Release everything; what was taken is answered by now."""
        with contextlib.suppress(AttributeError):  # it was never begun
            await self._service.close()


def deployable() -> type[Replica]:
    """Return the class as Ray Serve wants it, whose objects are made and ended by coroutines."""
    return type("Replica", (Replica,), {"__init__": Replica.begin, "__del__": Replica.end})


def _without_id(app: ASGIApp) -> ASGIApp:
    """Leave the header with the request's id to Ray Serve, which adds it to every response."""
    name = ID_HEADER.encode()

    async def wrapped(scope: Scope, receive: Receive, send: Send) -> None:
        async def sent(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = [header for header in message["headers"] if header[0] != name]
                message = {**message, "headers": headers}
            await send(message)

        await app(scope, receive, sent)

    return wrapped
