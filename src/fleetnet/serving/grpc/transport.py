"""gRPC on a port: the server with our limits, started and stopped by the lifecycle."""

from __future__ import annotations

import asyncio
import ssl

import grpc
from google.protobuf.descriptor_pool import DescriptorPool
from grpc_health.v1 import health, health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection, reflection_pb2, reflection_pb2_grpc

from fleetnet.errors import FleetnetError, one_line
from fleetnet.serving import messages
from fleetnet.serving.auth import Tokens
from fleetnet.serving.config import Settings, TlsSettings
from fleetnet.serving.grpc.calls import Calls
from fleetnet.serving.methods import SERVICE
from fleetnet.serving.service import Service

LAST_SECONDS = 1.0
"""What those who watch the health of the service have to go away, when all else is answered."""


class GrpcTransport:
    """The gRPC server.

    Attributes:
        address: such as ``grpc://127.0.0.1:8001``, once it is started; ``grpcs`` with TLS.

    Args:
        shared: whether other processes of this server may listen on the same port.
    """

    name = "grpc"

    def __init__(
        self, service: Service, tokens: Tokens, settings: Settings, *, shared: bool = False
    ) -> None:
        self.address = ""
        self._service = service
        self._settings = settings
        self._calls = Calls(service, tokens, settings.limits)
        self._health = health.aio.HealthServicer()
        self._telling: set[asyncio.Task[None]] = set()
        self._shared = shared
        self._server: grpc.aio.Server | None = None

    async def start(self) -> None:
        """Listen; calls are answered from now on.

        Raises:
            FleetnetError: the address is taken or is none, or a certificate cannot be read.
        """
        settings = self._settings
        credentials = _credentials(settings.tls)
        server = grpc.aio.server(
            options=_options(settings, shared=self._shared),
            maximum_concurrent_rpcs=settings.grpc.calls,
        )
        handlers = grpc.method_handlers_generic_handler(SERVICE.full_name, self._calls.handlers)
        server.add_generic_rpc_handlers((handlers,))
        health_pb2_grpc.add_HealthServicer_to_server(self._health, server)
        names = [SERVICE.full_name, health.SERVICE_NAME, reflection.SERVICE_NAME]
        reflecting = reflection.aio.ReflectionServicer(names, _described())
        reflection_pb2_grpc.add_ServerReflectionServicer_to_server(reflecting, server)
        await self._tell_health()
        self._service.on_ready.append(self._on_ready)
        host = f"[{settings.host}]" if ":" in settings.host else settings.host
        port = _listen(server, host, port_of(settings), credentials)
        await server.start()
        self._server = server
        self.address = f"{'grpc' if credentials is None else 'grpcs'}://{host}:{port}"

    async def stop(self, limit: float) -> None:
        """Take no new requests on streams, and wait for the calls that are being answered."""
        if self._server is None:
            return
        await self._calls.stop(limit)
        await self._server.stop(min(limit, LAST_SECONDS))
        await asyncio.gather(*self._telling)

    def _on_ready(self) -> None:
        task = asyncio.get_running_loop().create_task(self._tell_health())
        self._telling.add(task)
        task.add_done_callback(self._telling.discard)

    async def _tell_health(self) -> None:
        kinds = health_pb2.HealthCheckResponse
        status = kinds.SERVING if self._service.ready else kinds.NOT_SERVING
        for name in ("", SERVICE.full_name):
            await self._health.set(name, status)


def port_of(settings: Settings) -> int:
    """Return the port that the settings ask for; 0 for any."""
    if settings.grpc.port is not None:
        return settings.grpc.port
    return 0 if settings.port in (0, 65535) else settings.port + 1


def _options(settings: Settings, *, shared: bool) -> list[tuple[str, int]]:
    limits = settings.limits
    return [
        ("grpc.so_reuseport", int(shared)),
        ("grpc.max_receive_message_length", limits.body),
        ("grpc.max_send_message_length", -1),
        ("grpc.max_metadata_size", limits.header),
        ("grpc.absolute_max_metadata_size", limits.header),
        ("grpc.max_allowed_incoming_connections", limits.connections),
        ("grpc.max_concurrent_streams", settings.grpc.streams),
        ("grpc.server_handshake_timeout_ms", round(limits.header_seconds * 1000)),
        ("grpc.max_connection_idle_ms", round(limits.idle_seconds * 1000)),
        ("grpc.http2.min_ping_interval_without_data_ms", round(settings.grpc.ping_seconds * 1000)),
        ("grpc.keepalive_permit_without_calls", 1),
    ]


def _credentials(tls: TlsSettings) -> grpc.ServerCredentials | None:
    """Return what TLS needs; None without it."""
    if tls.certificate is None:
        return None
    try:
        # Reads the files as HTTP does, and says what is wrong with them; gRPC does not.
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(tls.certificate, tls.key)
        if tls.client_ca:
            context.load_verify_locations(tls.client_ca)
        certificate = tls.certificate.read_bytes()
        key = tls.key.read_bytes() if tls.key else certificate
        authority = tls.client_ca.read_bytes() if tls.client_ca else None
    except (OSError, ssl.SSLError) as error:
        raise FleetnetError(f"the TLS files cannot be used: {one_line(error)}") from None
    return grpc.ssl_server_credentials(
        [(key, certificate)], authority, require_client_auth=authority is not None
    )


def _listen(
    server: grpc.aio.Server, host: str, port: int, credentials: grpc.ServerCredentials | None
) -> int:
    """Listen, and return the port."""
    address = f"{host}:{port}"
    try:
        if credentials is None:
            return server.add_insecure_port(address)
        return server.add_secure_port(address, credentials)
    except RuntimeError:
        raise FleetnetError(
            f"cannot listen on {address} for gRPC: choose another with grpc_port=",
            arguments=["grpc_port"],
        ) from None


def _described() -> DescriptorPool:
    """Return descriptions of all that the server answers, for its reflection."""
    pool = DescriptorPool()
    for described in (messages.DESCRIPTOR, health_pb2.DESCRIPTOR, reflection_pb2.DESCRIPTOR):
        pool.AddSerializedFile(described.serialized_pb)
    return pool
