"""A server in a process of its own with all its protocols, and who asks it by each of them."""

from __future__ import annotations

import contextlib
import http.client
import json
import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple, Protocol

import grpc
import pytest

from fleetnet.serving.messages import InferParameter, ModelInferRequest, ModelInferResponse
from serving import brpc_client
from serving.messages_of import request_of

LONG = 60.0
PROTOCOLS = ("rest", "grpc", "brpc")
Place = tuple[str, int]


class Process:
    """A server, whose log is a file, so that nobody has to read along.

    Attributes:
        places: host and port of each protocol.
    """

    def __init__(self, popen: subprocess.Popen[bytes], log: Path) -> None:
        self.popen = popen
        self.log = log
        self.places: dict[str, Place] = {}

    def wait_until_ready(self) -> None:
        end = time.monotonic() + LONG
        while len(self.places) < len(PROTOCOLS):
            assert time.monotonic() < end, self.log.read_text("utf-8")
            assert self.popen.poll() is None, self.log.read_text("utf-8")
            for line in self.log.read_text("utf-8").splitlines():
                if '"event": "ready"' in line and line.endswith("}"):
                    told = json.loads(line)
                    host, _, port = told["address"].partition("://")[2].rpartition(":")
                    self.places[told["protocol"]] = host, int(port)
            time.sleep(0.01)

    @property
    def resident(self) -> int:
        """Bytes of memory; Linux says it."""
        text = Path(f"/proc/{self.popen.pid}/status").read_text("ascii")
        line = next(line for line in text.splitlines() if line.startswith("VmRSS:"))
        return int(line.split()[1]) * 1024

    def kill(self) -> None:
        self.popen.kill()
        self.popen.wait(LONG)


def started(folder: Path, *arguments: str, ports: tuple[int, int, int] = (0, 0, 0)) -> Process:
    """Start a server; it is to be killed whatever happens."""
    words = [sys.executable, "-m", "fleetnet", "serve", *arguments, "--log", "json"]
    for flag, port in zip(("--port", "--grpc-port", "--brpc-port"), ports, strict=True):
        words += [flag, str(port)]
    log = folder / f"server{time.monotonic_ns()}.log"
    with log.open("wb") as file:
        popen = subprocess.Popen(
            [*words, "--threads", "1"], stdout=file, stderr=file, env={**os.environ}
        )
    return Process(popen, log)


@contextlib.contextmanager
def running(folder: Path, *arguments: str) -> Iterator[Process]:
    """Serve until the end of the block."""
    process = started(folder, *arguments)
    try:
        process.wait_until_ready()
        yield process
        assert process.popen.poll() is None, process.log.read_text("utf-8")[-5000:]
    finally:
        process.kill()


def free_ports() -> tuple[int, int, int]:
    with contextlib.ExitStack() as stack:
        held = [stack.enter_context(socket.socket()) for _ in PROTOCOLS]
        for one in held:
            one.bind(("127.0.0.1", 0))
        first, second, third = (one.getsockname()[1] for one in held)
    return first, second, third


class Answer(NamedTuple):
    """What answered, and the name of the best class."""

    bundle: str
    version: str
    label: str


class GaveNoneError(Exception):
    """There was no answer, for a reason that the server gave."""


class Asker(Protocol):
    """A client that keeps its connection."""

    def ask(self, picture: bytes, timeout_ms: int | None = None) -> Answer: ...

    def close(self) -> None: ...


class Rest:
    def __init__(self, place: Place) -> None:
        self._connection = http.client.HTTPConnection(*place, timeout=LONG)

    def ask(self, picture: bytes, timeout_ms: int | None = None) -> Answer:
        headers = {} if timeout_ms is None else {"X-Request-Timeout-Ms": str(timeout_ms)}
        try:
            self._connection.request("POST", "/classify?top_k=1", picture, headers)
            with self._connection.getresponse() as response:
                told: Any = json.loads(response.read())
        except http.client.HTTPException as error:
            raise ConnectionError(repr(error)) from None
        if response.status != 200:
            raise GaveNoneError(told["code"])
        return Answer(told["bundle"], told["version"], told["predictions"][0]["top"][0]["class"])

    def close(self) -> None:
        self._connection.close()


def _message(picture: bytes, timeout_ms: int | None = None) -> bytes:
    message: ModelInferRequest = request_of([picture], "probabilities", model="")
    message.outputs[0].parameters["classification"].CopyFrom(InferParameter(int64_param=1))
    if timeout_ms is not None:
        message.parameters["timeout"].int64_param = max(timeout_ms * 1000, 1)
    return message.SerializeToString()


def _answer_in(data: bytes) -> Answer:
    found = ModelInferResponse.FromString(data)
    label = found.raw_output_contents[0][4:].decode().rpartition(":")[2]
    return Answer(found.parameters["bundle"].string_param, found.model_version, label)


class Grpc:
    def __init__(self, place: Place) -> None:
        # Otherwise all channels of a process share one connection.
        alone = [("grpc.use_local_subchannel_pool", 1)]
        self._channel = grpc.insecure_channel(f"{place[0]}:{place[1]}", alone)
        self._infer: Any = self._channel.unary_unary("/inference.GRPCInferenceService/ModelInfer")

    def ask(self, picture: bytes, timeout_ms: int | None = None) -> Answer:
        try:
            return _answer_in(self._infer(_message(picture, timeout_ms), timeout=LONG))
        except grpc.RpcError as error:
            code: Any = error
            if code.code() == grpc.StatusCode.UNAVAILABLE:
                raise ConnectionError(code.details()) from None
            raise GaveNoneError(f"{code.code()} {code.details()}") from None

    def close(self) -> None:
        self._channel.close()


class Brpc:
    def __init__(self, place: Place) -> None:
        self._place = place
        self._client: brpc_client.Client | None = None

    def ask(self, picture: bytes, timeout_ms: int | None = None) -> Answer:
        if self._client is None:
            self._client = brpc_client.Client(self._place)
        try:
            reply = self._client.call("ModelInfer", _message(picture, timeout_ms))
        except EOFError:
            raise ConnectionError from None
        if reply.code:
            raise GaveNoneError(f"{reply.code} {reply.text}")
        return _answer_in(reply.message)

    def close(self) -> None:
        if self._client is not None:
            self._client.__exit__()
        self._client = None


KINDS: dict[str, type[Rest | Grpc | Brpc]] = {"rest": Rest, "grpc": Grpc, "brpc": Brpc}


def post(place: Place, path: str, body: object = None) -> Any:
    """Ask over HTTP, and require that it was done."""
    connection = http.client.HTTPConnection(*place, timeout=LONG)
    with contextlib.closing(connection):
        connection.request("POST", path, b"" if body is None else json.dumps(body))
        response = connection.getresponse()
        told = response.read()
    assert response.status == 200, told
    return json.loads(told)


linux = pytest.mark.skipif(sys.platform != "linux", reason="Linux says what memory it takes")
