"""A gRPC server in this process, on a loop of its own, and a client by grpcio's own channel."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

import grpc
import pytest
from anyio.from_thread import BlockingPortal, start_blocking_portal

from fleetnet.images import Pixels
from fleetnet.serving import messages
from fleetnet.serving.auth import Tokens
from fleetnet.serving.config import Settings
from fleetnet.serving.grpc.transport import GrpcTransport
from fleetnet.serving.lifecycle import repository_of
from fleetnet.serving.methods import SERVICE
from fleetnet.serving.requests import Row
from fleetnet.serving.service import Service
from serving.messages_of import request_of

LONG = 60.0


class Client:
    """A channel to a server, whose service is in reach."""

    def __init__(self, portal: BlockingPortal, service: Service, transport: GrpcTransport) -> None:
        self.portal = portal
        self.service = service
        self.transport = transport
        self.target = transport.address.partition("://")[2]
        self.channel = grpc.insecure_channel(self.target)

    def call(self, method: str, request: Any = None, **values: Any) -> Any:
        """Call a method; what is no call's argument becomes a field of its message."""
        return self.future(method, request, **values).result()

    def future(
        self,
        method: str,
        request: Any = None,
        timeout: float = LONG,
        metadata: Iterable[tuple[str, str]] = (),
        compression: grpc.Compression | None = None,
        **values: Any,
    ) -> Any:
        described = SERVICE.methods_by_name[method]
        kind = getattr(messages, described.output_type.name)
        if request is None:
            request = getattr(messages, described.input_type.name)(**values)
        data = request if isinstance(request, bytes) else request.SerializeToString()
        ready: Any = self.channel.unary_unary(path(method), response_deserializer=kind.FromString)
        return ready.future(
            data, timeout=timeout, metadata=tuple(metadata), compression=compression
        )

    def infer(self, *images: bytes, **values: Any) -> Any:
        return self.call("ModelInfer", request_of(images), **values)

    def stream(self, requests: Iterable[Any], **values: Any) -> Any:
        started: Any = self.channel.stream_stream(
            path("ModelStreamInfer"),
            request_serializer=lambda request: request.SerializeToString(),
            response_deserializer=messages.ModelStreamInferResponse.FromString,
        )
        return started(iter(requests), timeout=LONG, **values)


def unary(channel: grpc.Channel, name: str) -> Any:
    """Return a method that takes and gives bytes."""
    return channel.unary_unary(path(name))


def sending(channel: grpc.Channel, name: str) -> Any:
    """Return a method whose one message may be late, or not come at all."""
    return channel.stream_unary(path(name))


def path(name: str) -> str:
    return f"/{SERVICE.full_name}/{name}"


@contextlib.contextmanager
def grpc_serving(**values: object) -> Iterator[Client]:
    given = {"engine": {"threads": 1}, "port": 0, **values}
    settings = Settings.load_all(None, {}, given)
    with start_blocking_portal() as portal:

        async def started() -> Client:
            service = Service(repository_of(settings), settings.routes(), settings.options())
            transport = GrpcTransport(service, Tokens(settings.tokens), settings)
            await transport.start()
            if values.get("load", True) is not None:
                await service.start(settings.load)
            return Client(portal, service, transport)

        client = portal.call(started)
        try:
            yield client
        finally:
            client.channel.close()
            portal.call(client.transport.stop, 1.0)
            portal.call(client.service.close)


class Held:
    """Computing that waits until it may go on."""

    def __init__(self, client: Client, monkeypatch: pytest.MonkeyPatch) -> None:
        self.begun, self.computed = threading.Event(), list[int]()
        self._may = threading.Event()
        self.version = client.service.models.find("net")
        compute: Callable[[Pixels], Mapping[str, Row]] = self.version.loaded.compute

        def holding(pixels: Pixels) -> Mapping[str, Row]:
            self.begun.set()
            assert self._may.wait(LONG)
            self.computed.append(len(pixels))
            return compute(pixels)

        monkeypatch.setattr(self.version.loaded, "compute", holding)

    def images(self, number: int) -> None:
        """Wait until so many images are in the house."""
        while self.version.lane.images != number:
            threading.Event().wait(0.002)

    def release(self) -> None:
        self._may.set()
