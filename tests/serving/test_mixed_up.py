"""What is sent to the wrong port, is cut off, or is taken back at once, over every protocol."""

from __future__ import annotations

import contextlib
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import grpc
import pytest

from serving.askers import KINDS, LONG, PROTOCOLS, Process, running
from serving.brpc_client import element, inference
from serving.brpc_client import request as frame_of
from serving.messages_of import request_of

pytestmark = pytest.mark.slow
PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
SETTINGS = b"\0\0\0\x04\0\0\0\0\0"


def frame(kind: int, flags: int, stream: int, payload: bytes) -> bytes:
    """Return a frame of HTTP/2."""
    return (
        len(payload).to_bytes(3, "big") + bytes([kind, flags]) + stream.to_bytes(4, "big") + payload
    )


def sent(picture: bytes) -> dict[str, bytes]:
    """Return what somebody may send to any port."""
    return {
        "nothing": b"",
        "a request of HTTP": b"POST /classify HTTP/1.1\r\nHost: localhost\r\nContent-Length: "
        + f"{len(picture)}\r\n\r\n".encode()
        + picture,
        "the beginning of HTTP/2": PREFACE + SETTINGS,
        "HTTP/2 without its preface": SETTINGS * 100,
        "headers that are none": PREFACE + SETTINGS + frame(1, 4, 1, b"\xff" * 100),
        "headers without an end": PREFACE
        + SETTINGS
        + frame(1, 0, 1, b"")
        + frame(9, 0, 1, b"") * 5000,
        "a frame that is too large": PREFACE
        + SETTINGS
        + b"\xff\xff\xff\0\0\0\0\0\1"
        + bytes(70_000),
        "pings": PREFACE + SETTINGS + frame(6, 0, 0, bytes(8)) * 5000,
        "settings": PREFACE + SETTINGS * 5000,
        "a frame of bRPC": frame_of("ModelInfer", inference("", raw=[element(picture)])),
        "a greeting of TLS": bytes.fromhex("16030100f1010000ed0303") + bytes(250),
        "noise": bytes(number * number % 251 for number in range(100_000)),
        "zeros": bytes(100_000),
    }


@pytest.fixture(scope="module")
def server(network: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Process]:
    with running(tmp_path_factory.mktemp("server"), f"net={network}") as started:
        yield started
        assert "traceback" not in started.log.read_text("utf-8")


def require_answers(server: Process, picture: bytes) -> None:
    """Require an answer, on a new connection, over every protocol."""
    for protocol in PROTOCOLS:
        asker = KINDS[protocol](server.places[protocol])
        with contextlib.closing(asker):
            assert asker.ask(picture).label


@pytest.mark.parametrize("protocol", PROTOCOLS)
@pytest.mark.parametrize("name", sent(b""))
def test_what_is_sent_to_the_wrong_port_harms_nobody(
    server: Process, picture: bytes, protocol: str, name: str
) -> None:
    data = sent(picture)[name]
    for cut in (len(data), len(data) // 2, 3):
        place = server.places[protocol]
        with contextlib.suppress(OSError), socket.create_connection(place, LONG) as connection:
            connection.sendall(data[:cut])
            connection.shutdown(socket.SHUT_WR)
            while connection.recv(65536):
                pass
    require_answers(server, picture)


def test_calls_that_are_taken_back_at_once_harm_nobody(server: Process, picture: bytes) -> None:
    """As fast as a client can: each is a stream of HTTP/2 that is begun and reset."""
    host, port = server.places["grpc"]
    message = request_of([picture], model="").SerializeToString()
    with grpc.insecure_channel(f"{host}:{port}") as channel:
        infer: Any = channel.unary_unary("/inference.GRPCInferenceService/ModelInfer")
        for _ in range(20):
            calls = [infer.future(message, timeout=LONG) for _ in range(50)]
            for call in calls:
                call.cancel()
    require_answers(server, picture)


def test_many_connections_that_only_stand_harm_nobody(server: Process, picture: bytes) -> None:
    with contextlib.ExitStack() as stack:
        for protocol in PROTOCOLS:
            for _ in range(100):
                place = server.places[protocol]
                stack.enter_context(contextlib.closing(socket.create_connection(place, LONG)))
        require_answers(server, picture)
