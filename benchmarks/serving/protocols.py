"""How an image is sent, and how an answer is told from a refusal, in each protocol."""

from __future__ import annotations

import asyncio
import base64
import json
import struct
from typing import Protocol
from urllib.parse import SplitResult

from fleetnet.serving.brpc.meta import RpcMeta
from fleetnet.serving.messages import ModelInferRequest

BOUNDARY = "9f1c0d2e7a"


class Connection(Protocol):
    """One connection to a server, on which one request at a time is asked.

    Attributes:
        body: of the last answer.
    """

    body: bytes

    def __init__(self, address: SplitResult) -> None: ...

    @staticmethod
    def request(address: SplitResult, image: bytes) -> bytes:
        """Return what is sent for an encoded image."""
        ...

    async def open(self) -> None:
        """Connect."""
        ...

    async def ask(self, request: bytes) -> str:
        """Return ``answered``, ``shed``, or what else happened."""
        ...

    async def close(self) -> None:
        """End the connection."""
        ...


class Stream(asyncio.Protocol):
    """Bytes in, answers out: what HTTP and bRPC have in common."""

    def __init__(self, address: SplitResult) -> None:
        self.address = address
        self.body = b""
        self._got = bytearray()
        self._answer: asyncio.Future[str] | None = None
        self._transport: asyncio.Transport | None = None

    async def open(self) -> None:
        """Connect."""
        loop = asyncio.get_running_loop()
        await loop.create_connection(lambda: self, self.address.hostname, self.address.port)

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Keep what to write to."""
        assert isinstance(transport, asyncio.Transport)  # noqa: S101 - it is a stream
        self._transport = transport

    async def ask(self, request: bytes) -> str:
        """Return what came of a request."""
        if self._transport is None or self._transport.is_closing():
            try:
                await self.open()
            except OSError:
                return "refused"
        assert self._transport is not None  # noqa: S101 - it was just opened
        self._got.clear()
        self._answer = asyncio.get_running_loop().create_future()
        self._transport.write(request)
        return await self._answer

    def data_received(self, data: bytes) -> None:
        """Read on, to the end of an answer."""
        self._got += data
        outcome = self.whole(self._got)
        if outcome and self._answer is not None and not self._answer.done():
            self._answer.set_result(outcome)

    def whole(self, got: bytearray) -> str:
        """Return the outcome once all of an answer is there."""
        raise NotImplementedError

    def connection_lost(self, _: Exception | None) -> None:
        """End what is waited for."""
        if self._answer is not None and not self._answer.done():
            self._answer.set_result("cut")

    async def close(self) -> None:
        """End the connection."""
        if self._transport is not None:
            self._transport.abort()


class Http(Stream):
    """An image as the body of a POST."""

    @staticmethod
    def request(address: SplitResult, image: bytes) -> bytes:
        """Return what is sent for an encoded image."""
        return _post(address, "image/jpeg", image)

    def whole(self, got: bytearray) -> str:
        """Return the outcome once all of an answer is there."""
        end = got.find(b"\r\n\r\n")
        if end < 0:
            return ""
        head = bytes(got[:end]).lower()
        at = head.find(b"content-length:")
        if at < 0:
            return "without a length"
        length = int(head[at + 15 :].split(b"\r", 1)[0])
        if len(got) < end + 4 + length:
            return ""
        self.body = bytes(got[end + 4 :])
        if b"\r\nconnection: close" in head and self._transport is not None:
            self._transport.close()  # and the next request opens another
        status = head[9:12].decode()
        if status == "200":
            return "answered"
        return "shed" if status in ("429", "503") else status


class Form(Http):
    """An image in a form, as browsers send one."""

    @staticmethod
    def request(address: SplitResult, image: bytes) -> bytes:
        """Return what is sent for an encoded image."""
        head = (
            f"--{BOUNDARY}\r\nContent-Disposition: form-data; "
            'name="image"; filename="image.jpg"\r\nContent-Type: image/jpeg\r\n\r\n'
        )
        body = head.encode() + image + f"\r\n--{BOUNDARY}--\r\n".encode()
        return _post(address, f"multipart/form-data; boundary={BOUNDARY}", body)


class Base64(Http):
    """An image in the JSON of the Open Inference Protocol."""

    @staticmethod
    def request(address: SplitResult, image: bytes) -> bytes:
        """Return what is sent for an encoded image."""
        tensor = {
            "name": "image",
            "shape": [1],
            "datatype": "BYTES",
            "parameters": {"content_type": "base64"},
            "data": [base64.b64encode(image).decode()],
        }
        return _post(address, "application/json", json.dumps({"inputs": [tensor]}).encode())


def _post(address: SplitResult, kind: str, body: bytes) -> bytes:
    head = (
        f"POST {address.path or '/'} HTTP/1.1\r\nHost: {address.netloc}\r\n"
        f"Content-Type: {kind}\r\nContent-Length: {len(body)}\r\n\r\n"
    )
    return head.encode() + body


def infer_message(model: str, image: bytes) -> bytes:
    """Return ``ModelInferRequest`` for one encoded image."""
    request = ModelInferRequest(model_name=model)
    request.inputs.add(name="image", datatype="BYTES", shape=[1])
    wanted = request.outputs.add(name="probabilities")
    wanted.parameters["classification"].int64_param = 5
    request.raw_input_contents.append(struct.pack("<I", len(image)) + image)
    return request.SerializeToString()


class Grpc:
    """``ModelInfer`` of the Open Inference Protocol."""

    def __init__(self, address: SplitResult) -> None:
        import grpc.aio

        # A channel of its own for each, or all would share one connection.
        self._channel = grpc.aio.insecure_channel(
            address.netloc, [("grpc.use_local_subchannel_pool", 1)]
        )
        self._infer = self._channel.unary_unary("/inference.GRPCInferenceService/ModelInfer")
        self._error = grpc.aio.AioRpcError
        self._shed = (grpc.StatusCode.RESOURCE_EXHAUSTED, grpc.StatusCode.UNAVAILABLE)
        self.body = b""

    @staticmethod
    def request(address: SplitResult, image: bytes) -> bytes:
        """Return what is sent for an encoded image."""
        return infer_message(address.path.strip("/"), image)

    async def open(self) -> None:
        """Connect."""
        await self._channel.channel_ready()

    async def ask(self, request: bytes) -> str:
        """Return what came of a request."""
        try:
            self.body = await self._infer(request)
        except self._error as error:
            return "shed" if error.code() in self._shed else error.code().name
        return "answered"

    async def close(self) -> None:
        """End the connection."""
        await self._channel.close()


class Brpc(Stream):
    """The same message in a frame of baidu_std."""

    @staticmethod
    def request(address: SplitResult, image: bytes) -> bytes:
        """Return what is sent for an encoded image."""
        message = infer_message(address.path.strip("/"), image)
        method = {"service_name": "inference.GRPCInferenceService", "method_name": "ModelInfer"}
        meta = RpcMeta(request=method, correlation_id=1).SerializeToString()
        return b"PRPC" + struct.pack(">II", len(meta) + len(message), len(meta)) + meta + message

    def whole(self, got: bytearray) -> str:
        """Return the outcome once all of an answer is there."""
        if len(got) < 12:
            return ""
        size, meta_size = struct.unpack_from(">II", got, 4)
        if len(got) < 12 + size:
            return ""
        code = RpcMeta.FromString(bytes(got[12 : 12 + meta_size])).response.error_code
        self.body = bytes(got[12 + meta_size :])
        if code == 0:
            return "answered"
        return "shed" if code in (2003, 2004) else str(code)


PROTOCOLS: dict[str, type[Connection]] = {
    "http": Http,
    "form": Form,
    "base64": Base64,
    "grpc": Grpc,
    "brpc": Brpc,
}
"""By the scheme of an address."""
