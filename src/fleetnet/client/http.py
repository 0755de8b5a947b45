"""HTTP/1.1 as a client needs it: a request as bytes, a response read within limits.

The standard library's client cannot keep a deadline over a whole exchange, and asyncio has none, so
both kinds of connection share this. A response comes from outside: whatever is not exactly as it
has to be is an error, because what follows on the connection would be anything.
"""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass

from fleetnet.client.errors import ResponseError, UnreachableError

MAX_HEAD = 64 * 2**10
"""Bytes of a response's status and headers."""
_MAX_LINE = 1024
_MAX_INTERIM = 8
"""How many responses may come before the one that is one, such as ``100 Continue``."""
_STATUS = re.compile(rb"HTTP/1\.([01]) ([1-5][0-9]{2})(?: [^\r\n\0]*)?")
_HEADER = re.compile(rb"([!#$%&'*+.^_`|~0-9A-Za-z-]+):[ \t]*([^\r\n\0]*?)[ \t]*")
_LENGTH = re.compile("[0-9]{1,18}")
_CHUNK = re.compile(rb"([0-9A-Fa-f]{1,15})[ \t]*(?:;[^\r\n]*)?")
_BODILESS = (204, 304)


@dataclass(frozen=True)
class Response:
    """A response.

    Attributes:
        status: three digits.
        headers: by their names in lower case.
        body: all of it.
        keep: whether the connection may be used again.
    """

    status: int
    headers: Mapping[str, str]
    body: bytes
    keep: bool = False


class SilentError(UnreachableError):
    """The connection was closed before a byte of an answer."""


def request_head(
    method: str, path: str, host: str, headers: Mapping[str, str], length: int
) -> bytes:
    """Return the first lines of a request; its body follows."""
    lines = [f"{method} {path} HTTP/1.1", f"Host: {host}"]
    lines += [f"{name}: {value}" for name, value in headers.items()]
    if length or method == "POST":
        lines.append(f"Content-Length: {length}")
    return "\r\n".join([*lines, "", ""]).encode("ascii")


async def read_response(receive: Callable[[], Awaitable[bytes]], limit: int) -> Response:
    """Read one response.

    Args:
        receive: returns the next bytes, none at the end.
        limit: of the body, in bytes.

    Raises:
        SilentError: not a byte came.
        ResponseError: it is cut off, too large, or no response.
    """
    incoming = _Incoming(receive)
    for _ in range(_MAX_INTERIM):
        head = await incoming.until(b"\r\n\r\n", MAX_HEAD, "its headers are")
        version, status, headers = _parsed(head)
        if status == 101:
            break
        if status >= 200:
            body, framed = await _body(incoming, status, headers, limit)
            asked = headers.get("connection", "").lower()
            keep = framed and version == 1 and "close" not in asked and incoming.empty
            return Response(status, headers, body, keep)
    raise ResponseError("the server's response is none that was asked for")


def _parsed(head: bytes) -> tuple[int, int, dict[str, str]]:
    first, *lines = head.split(b"\r\n")
    status = _STATUS.fullmatch(first)
    if status is None:
        raise ResponseError("what answers is no HTTP server")
    headers: dict[str, str] = {}
    for line in lines:
        found = _HEADER.fullmatch(line)
        if found is None:
            raise ResponseError("the server's response has a malformed header")
        name, value = found[1].decode("ascii").lower(), found[2].decode("latin-1")
        if name in ("content-length", "transfer-encoding") and headers.get(name, value) != value:
            raise ResponseError("the server's response has two lengths")
        headers[name] = value
    return int(status[1]), int(status[2]), headers


async def _body(
    incoming: _Incoming, status: int, headers: Mapping[str, str], limit: int
) -> tuple[bytes, bool]:
    """Return a body, and whether it has an end of its own."""
    if headers.get("content-encoding", "identity").lower() not in ("", "identity"):
        raise ResponseError("the server's response is compressed, which was not asked for")
    coding, length = headers.get("transfer-encoding"), headers.get("content-length")
    if status in _BODILESS:
        return b"", True
    if coding is not None:
        if coding.lower() != "chunked" or length is not None:
            raise ResponseError("the server's response has a length that is not understood")
        return await _chunks(incoming, limit), True
    if length is None:
        return await incoming.rest(limit), False
    if not _LENGTH.fullmatch(length):
        raise ResponseError("the server's response has a length that is no number")
    if int(length) > limit:
        raise _too_large(limit)
    return await incoming.exactly(int(length)), True


async def _chunks(incoming: _Incoming, limit: int) -> bytes:
    body = bytearray()
    while True:
        line = _CHUNK.fullmatch(await incoming.until(b"\r\n", _MAX_LINE, "a chunk's length is"))
        if line is None:
            raise ResponseError("the server's response has a malformed chunk")
        size = int(line[1], 16)
        if len(body) + size > limit:
            raise _too_large(limit)
        if not size:
            break
        body += await incoming.exactly(size)
        if await incoming.exactly(2) != b"\r\n":
            raise ResponseError("the server's response has a malformed chunk")
    trailers = 0
    while line_ := await incoming.until(b"\r\n", MAX_HEAD, "its trailers are"):
        trailers += len(line_) + 2
        if trailers > MAX_HEAD:
            raise ResponseError("the server's response is refused: its trailers are too long")
    return bytes(body)


def _too_large(limit: int) -> ResponseError:
    return ResponseError(f"the server's response is larger than {limit:,} bytes", limit=limit)


class _Incoming:
    """Bytes of a connection, by their ends or their number."""

    def __init__(self, receive: Callable[[], Awaitable[bytes]]) -> None:
        self._receive = receive
        self._held = bytearray()
        self._begun = False

    @property
    def empty(self) -> bool:
        return not self._held

    async def until(self, end: bytes, limit: int, what: str) -> bytes:
        searched = 0
        while (place := self._held.find(end, searched)) < 0 and len(self._held) <= limit:
            searched = max(0, len(self._held) - len(end) + 1)
            await self._more()
        if place < 0 or place > limit:
            raise ResponseError(f"the server's response is refused: {what} too long")
        found = bytes(self._held[:place])
        del self._held[: place + len(end)]
        return found

    async def exactly(self, size: int) -> bytes:
        while len(self._held) < size:
            await self._more()
        found = bytes(memoryview(self._held)[:size])
        del self._held[:size]
        return found

    async def rest(self, limit: int) -> bytes:
        while len(self._held) <= limit:
            data = await self._receive()
            if not data:
                return bytes(self._held)
            self._held += data
        raise _too_large(limit)

    async def _more(self) -> None:
        data = await self._receive()
        if not data:
            if self._begun:
                raise ResponseError("the server's response is cut off")
            raise SilentError("the server closed the connection without an answer")
        self._begun = True
        self._held += data
