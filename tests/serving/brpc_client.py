"""A client of ``baidu_std``, written from the description of the protocol and nothing of ours."""

from __future__ import annotations

import gzip
import socket
import ssl
import struct
import zlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

SERVICE = "inference.GRPCInferenceService"
LONG = 60.0
SNAPPY, GZIP, ZLIB, LZ4 = 1, 2, 3, 4


def varint(number: int) -> bytes:
    number &= 2**64 - 1
    out = bytearray()
    while number > 127:
        out.append(number & 127 | 128)
        number >>= 7
    return bytes([*out, number])


def field_of(number: int, value: int | str | bytes) -> bytes:
    """Return a field of a message: a number, or what has a length."""
    if isinstance(value, int):
        return varint(number << 3) + varint(value)
    data = value.encode() if isinstance(value, str) else value
    return varint(number << 3 | 2) + varint(len(data)) + data


def fields_in(data: bytes) -> dict[int, list[Any]]:
    """Return the values of a message's fields by their numbers."""
    found: dict[int, list[Any]] = {}
    place = 0

    def number() -> int:
        nonlocal place
        value = shift = 0
        while True:
            byte = data[place]
            place += 1
            value |= (byte & 127) << shift
            shift += 7
            if byte < 128:
                return value

    while place < len(data):
        tag = number()
        value: Any
        if tag & 7 == 0:
            value = number()
        else:
            size = {1: 8, 5: 4}.get(tag & 7) or number()
            value = data[place : place + size]
            place += size
        found.setdefault(tag >> 3, []).append(value)
    return found


def entries(number: int, values: Mapping[str, str]) -> bytes:
    return b"".join(field_of(number, field_of(1, k) + field_of(2, v)) for k, v in values.items())


_POLYNOMIAL = 0x82F63B78


def _row(byte: int) -> int:
    for _ in range(8):
        byte = byte >> 1 ^ (_POLYNOMIAL if byte & 1 else 0)
    return byte


_ROWS = [_row(byte) for byte in range(256)]


def masked_crc(*pieces: bytes) -> bytes:
    """Return a CRC-32C, turned right by 15 bits and added to: so a CRC of CRCs says something."""
    crc = 0xFFFFFFFF
    for piece in pieces:
        for byte in piece:
            crc = crc >> 8 ^ _ROWS[(crc ^ byte) & 0xFF]
    crc ^= 0xFFFFFFFF
    return struct.pack("!I", ((crc >> 15 | crc << 17) + 0xA282EAD8) & 0xFFFFFFFF)


@dataclass
class Reply:
    """An answer, as it came."""

    correlation: int
    code: int
    text: str
    message: bytes
    attachment: bytes
    compression: int = 0
    content: int = 0
    checksum: int = 0
    checksum_right: bool = False
    user: dict[str, str] = field(default_factory=dict)


def packed(meta: bytes, rest: bytes = b"") -> bytes:
    return b"PRPC" + struct.pack("!II", len(meta) + len(rest), len(meta)) + meta + rest


def request(
    method: str,
    message: bytes = b"",
    *,
    correlation: int = 1,
    service: str = SERVICE,
    attachment: bytes = b"",
    compression: int = 0,
    content: int | None = None,
    checksum: bool = False,
    with_attachment: bool = False,
    secret: str | None = None,
    timeout_ms: int | None = None,
    request_id: str | None = None,
    user: Mapping[str, str] | None = None,
    extra: bytes = b"",
) -> bytes:
    """Return the frame of a request; ``extra`` are more fields of its meta."""
    asked = field_of(1, service) + field_of(2, method)
    if request_id is not None:
        asked += field_of(7, request_id)
    if timeout_ms is not None:
        asked += field_of(8, timeout_ms)
    if compression == GZIP:
        message = gzip.compress(message)
    elif compression == ZLIB:
        message = zlib.compress(message)
    meta = field_of(1, asked) + field_of(3, compression) + field_of(4, correlation)
    if attachment:
        meta += field_of(5, len(attachment))
    if secret is not None:
        meta += field_of(7, secret)
    if content is not None:
        meta += field_of(10, content)
    if checksum:
        covered = (message, attachment) if with_attachment else (message,)
        meta += field_of(11, 1) + field_of(12, masked_crc(*covered))
        meta += field_of(13, int(with_attachment))
    meta += entries(9, user or {}) + extra
    return packed(meta, message + attachment)


def reply_of(meta: bytes, rest: bytes) -> Reply:
    found = fields_in(meta)
    one: dict[int, Any] = {number: values[-1] for number, values in found.items()}
    response = {number: values[-1] for number, values in fields_in(one.get(2, b"")).items()}
    attached = one.get(5, 0)
    message, attachment = rest[: len(rest) - attached], rest[len(rest) - attached :]
    covered = (message, attachment) if one.get(13) else (message,)
    right = bool(one.get(11)) and one[12] == masked_crc(*covered)
    compression = one.get(3, 0)
    if compression == GZIP:
        message = gzip.decompress(message)
    elif compression == ZLIB:
        message = zlib.decompress(message)
    pairs = [fields_in(entry) for entry in found.get(9, [])]
    return Reply(
        correlation=one.get(4, 0),
        code=response.get(1, 0),
        text=response.get(2, b"").decode(),
        message=message,
        attachment=attachment,
        compression=compression,
        content=one.get(10, 0),
        checksum=one.get(11, 0),
        checksum_right=right,
        user={pair[1][0].decode(): pair[2][0].decode() for pair in pairs},
    )


class Client:
    """A connection."""

    def __init__(self, place: tuple[str, int], context: ssl.SSLContext | None = None) -> None:
        self.socket = socket.create_connection(place, LONG)
        if context is not None:
            self.socket = context.wrap_socket(self.socket, server_hostname=place[0])

    def __enter__(self) -> Client:
        return self

    def __exit__(self, *_: object) -> None:
        self.socket.close()

    def send(self, data: bytes) -> None:
        self.socket.sendall(data)

    def _exactly(self, size: int) -> bytes:
        data = bytearray()
        while len(data) < size:
            piece = self.socket.recv(min(size - len(data), 2**20))
            if not piece:
                raise EOFError
            data += piece
        return bytes(data)

    def receive(self) -> Reply:
        magic, body, meta = struct.unpack("!4sII", self._exactly(12))
        assert magic == b"PRPC"
        return reply_of(self._exactly(meta), self._exactly(body - meta))

    def call(self, method: str, message: bytes = b"", **options: Any) -> Reply:
        self.send(request(method, message, **options))
        return self.receive()

    def is_closed(self) -> bool:
        """Wait until the server has closed the connection, which it has to do without an answer."""
        try:
            return self.socket.recv(1) == b""
        except ConnectionError:
            return True


def inference(
    model: str,
    *,
    shape: Iterable[int] = (1,),
    raw: Iterable[bytes] = (),
    name: str = "image",
    datatype: str = "BYTES",
    outputs: Iterable[str] = ("logits",),
    identity: str = "",
) -> bytes:
    """Return a ``ModelInferRequest``."""
    tensor = field_of(1, name) + field_of(2, datatype)
    tensor += field_of(3, b"".join(map(varint, shape)))
    message = field_of(1, model) + (field_of(3, identity) if identity else b"")
    message += field_of(5, tensor)
    message += b"".join(field_of(6, field_of(1, output)) for output in outputs)
    return message + b"".join(field_of(7, content) for content in raw)


def element(content: bytes) -> bytes:
    """Return an element of a BYTES tensor."""
    return struct.pack("<I", len(content)) + content


@dataclass
class Answer:
    """A ``ModelInferResponse``."""

    model: str
    version: str
    identity: str
    outputs: list[tuple[str, str, list[int]]]
    raw: list[bytes]


def answer_of(message: bytes) -> Answer:
    found = fields_in(message)
    outputs = []
    for tensor in map(fields_in, found.get(5, [])):
        numbers, shape = tensor[3][0], []
        while numbers:
            size = next(at for at, byte in enumerate(numbers) if byte < 128) + 1
            shape.append(sum((byte & 127) << 7 * at for at, byte in enumerate(numbers[:size])))
            numbers = numbers[size:]
        outputs.append((tensor[1][0].decode(), tensor[2][0].decode(), shape))
    model, version, identity = (found.get(number, [b""])[0].decode() for number in (1, 2, 3))
    return Answer(model, version, identity, outputs, found.get(6, []))


def floats(raw: bytes) -> list[float]:
    return list(struct.unpack(f"<{len(raw) // 4}f", raw))
