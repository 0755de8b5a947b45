"""A server in a process of its own, that is watched by its log."""

from __future__ import annotations

import contextlib
import http.client
import json
import os
import re
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import grpc
import pytest

from fleetnet.serving import messages
from serving import brpc_client

LONG = 60.0


class Server:
    """A running server; every request has a connection of its own, so any worker may get it."""

    def __init__(self, process: subprocess.Popen[Any], log: Path, address: str = "") -> None:
        self.process = process
        self._log = log
        address = address or self.wait_for("ready")["address"]
        host, _, port = address.removeprefix("http://").rpartition(":")
        self.place = (host, int(port))

    def lines(self) -> list[dict[str, Any]]:
        """What is logged up to now; other lines than JSON are no events."""
        text = self._log.read_text("utf-8")
        whole = text[: text.rfind("\n") + 1].splitlines()
        return [json.loads(line) for line in whole if line.startswith("{")]

    def wait_for(self, event: str, times: int = 1) -> dict[str, Any]:
        """Return the line of an event once it is there so many times."""
        while True:
            found = [line for line in self.lines() if line["event"] == event]
            if len(found) >= times:
                return found[times - 1]
            if self.process.poll() is not None:
                pytest.fail(self._log.read_text("utf-8"))
            time.sleep(0.05)

    def ask(self, method: str, path: str, body: bytes = b"", **headers: str) -> tuple[int, bytes]:
        connection = http.client.HTTPConnection(*self.place, timeout=LONG)
        with contextlib.closing(connection):
            connection.request(method, path, body, headers)
            response = connection.getresponse()
            return response.status, response.read()

    def ask_again(self, body: bytes, **headers: str) -> int:
        """Classify, again where a worker was lost meanwhile, as clients do."""
        while True:
            with contextlib.suppress(OSError, http.client.HTTPException):
                return self.ask("POST", "/classify", body, **headers)[0]

    def infer_by_grpc(
        self, model: str, picture: bytes, **metadata: str
    ) -> messages.ModelInferResponse:
        tensor = messages.ModelInferRequest.InferInputTensor(
            name="image", datatype="BYTES", shape=[1]
        )
        tensor.contents.bytes_contents.append(picture)
        request = messages.ModelInferRequest(model_name=model, inputs=[tensor])
        address = self._address("grpc")
        # Channels share a connection unless they are told not to.
        own = [("grpc.use_local_subchannel_pool", 1)]
        with grpc.insecure_channel(address, own) as channel:
            infer: grpc.UnaryUnaryMultiCallable[
                messages.ModelInferRequest, messages.ModelInferResponse
            ] = channel.unary_unary(
                "/inference.GRPCInferenceService/ModelInfer",
                messages.ModelInferRequest.SerializeToString,
                messages.ModelInferResponse.FromString,
            )
            return infer(request, timeout=LONG, metadata=tuple(metadata.items()))

    def infer_by_brpc(self, model: str, picture: bytes, **options: Any) -> brpc_client.Answer:
        host, _, port = self._address("brpc").rpartition(":")
        raw = [brpc_client.element(picture)]
        message = brpc_client.inference(model, raw=raw)
        with brpc_client.Client((host, int(port))) as client:
            reply = client.call("ModelInfer", message, **options)
        assert not reply.code, reply
        return brpc_client.answer_of(reply.message)

    def _address(self, protocol: str) -> str:
        lines = [line for line in self.lines() if line["event"] == "ready"]
        address: str = next(line["address"] for line in lines if line["protocol"] == protocol)
        return address.partition("://")[2]

    def counted(self, name: str) -> float:
        """Return the sum of a metric over its labels."""
        status, text = self.ask("GET", "/metrics")
        assert status == 200
        found = re.findall(rf"^{name}(?:{{.*}})? (\S+)$", text.decode(), re.MULTILINE)
        return sum(map(float, found))

    def workers(self) -> list[int]:
        """Numbers of the processes that were started, in their order."""
        return [line["worker_process"] for line in self.lines() if "worker_process" in line]


@contextlib.contextmanager
def running(folder: Path, *arguments: str, **variables: str) -> Iterator[Callable[[], Server]]:
    """Start a server that logs into a folder, and end it, whatever happens."""
    log = folder / "log"
    command = [
        sys.executable,
        "-m",
        "fleetnet",
        "serve",
        *arguments,
        "--port",
        "0",
        "--grpc-port",
        "0",
    ]
    with log.open("ab") as stream:
        process = subprocess.Popen(
            [*command, "--log", "json"],
            stderr=stream,
            env={**os.environ, **variables},
        )
    try:
        yield lambda: Server(process, log)
    finally:
        process.kill()
        process.wait()
