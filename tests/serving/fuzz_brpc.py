"""Bytes of a connection, changed until something new happens: ``make fuzz-brpc``.

Only what the protocol foresees may come of them: an answer, or the end of the connection.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import sys
import tempfile
from pathlib import Path
from typing import Any

import atheris

from serving.brpc_client import GZIP, ZLIB, entries, field_of, inference, packed, request

with atheris.instrument_imports(include=["fleetnet.serving"]):
    from fleetnet.serving.auth import Tokens
    from fleetnet.serving.brpc.calls import Calls
    from fleetnet.serving.brpc.connection import Connection
    from fleetnet.serving.brpc.frames import Frames, Rest
    from fleetnet.serving.brpc.meta import RpcMeta
    from fleetnet.serving.config import LimitSettings
    from fleetnet.serving.repository import Repository
    from fleetnet.serving.service import Options, Service

LIMITS = LimitSettings(body=100_000, header=1000)
RUNNER = asyncio.Runner()
ODD = {1001, 1002, 1003, 1004, 1008, 2004}


class Pipe(asyncio.Transport):
    """Keeps what is written."""

    def __init__(self) -> None:
        super().__init__()
        self.written = b""
        self.closed = False

    def write(self, data: Any) -> None:
        self.written += data

    def abort(self) -> None:
        self.closed = True

    close = abort

    def is_closing(self) -> bool:
        return self.closed

    def pause_reading(self) -> None:
        pass

    resume_reading = pause_reading

    def set_write_buffer_limits(self, high: int | None = None, low: int | None = None) -> None:
        pass


async def received(data: bytes, pieces: int, service: Service) -> Pipe:
    """Let a connection receive bytes in pieces, and return what it wrote when all is done."""
    calls = Calls(service, Tokens(None), LIMITS)
    connection = Connection(calls, LIMITS, service.budget, lambda _: True, lambda _: None)
    pipe = Pipe()
    connection.connection_made(pipe)
    left = memoryview(data)
    while left and not pipe.closed:
        room = connection.get_buffer(-1)
        size = min(len(room), len(left), max(1, len(data) // pieces))
        room[:size] = left[:size]
        left = left[size:]
        connection.buffer_updated(size)
    while connection._tasks:
        await asyncio.wait(connection._tasks)
    connection.connection_lost(None)
    return pipe


def one(data: bytes) -> None:
    """Try one input: into how many pieces the bytes are cut, what they are, and the bytes."""
    pieces, kind, rest = data[:1], data[1:2], data[2:]
    if kind and kind[0] % 2:  # a frame that is one, around any meta
        size = kind[0] // 2
        rest = packed(rest[:size], rest[size:])
    service = Service(Repository({}, None), options=Options(threads=1))
    try:
        pipe = RUNNER.run(received(rest, 1 + sum(pieces), service))
        assert service.budget.held == 0
        check(pipe.written)
    finally:
        RUNNER.run(service.close())


def check(written: bytes) -> None:
    """Require that what a connection wrote is whole frames, with errors that have a number."""
    answers = Frames(LIMITS.body)
    for place in range(0, len(written), 1000):
        piece = written[place : place + 1000]
        answers.room()[: len(piece)] = piece
        for event in answers.received(len(piece)):
            if not isinstance(event, Rest):
                meta = RpcMeta.FromString(event.data)
                assert meta.response.error_code in {0, *ODD}, meta
    assert answers.begun is None


def write_seeds(folder: Path) -> None:
    """Write inputs to begin with: frames as clients send them."""
    element = b"\x03\0\0\0abc"
    frames = [
        request("ServerLive"),
        request("ServerLive", b"", compression=GZIP, checksum=True, request_id="id"),
        request("ModelInfer", inference("net", raw=[element]), compression=ZLIB, timeout_ms=0),
        request("ModelInfer", inference("net"), attachment=element, with_attachment=True),
        request("RepositoryIndex", b"{}", content=1, user={"attachment_outputs": "true"}),
        request("ModelReady", b'name: "net"', content=3, service="GRPCInferenceService"),
        request("ModelInfer", extra=field_of(6, b"") + field_of(8, b"") + entries(9, {"a": "b"})),
    ]
    for number, frame in enumerate(frames):
        (folder / f"whole{number}").write_bytes(b"\x03\0" + frame + frames[0])
        (folder / f"meta{number}").write_bytes(b"\x01\x7f" + frame[12:])


if __name__ == "__main__":
    logging.disable(logging.CRITICAL)
    with contextlib.ExitStack() as stack:
        corpus = stack.enter_context(tempfile.TemporaryDirectory())
        write_seeds(Path(corpus))
        atheris.Setup([*sys.argv, corpus], one)
        atheris.Fuzz()
