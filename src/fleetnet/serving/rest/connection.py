"""A connection to the HTTP server, with limits that uvicorn does not have."""

from __future__ import annotations

import asyncio
import contextlib
import socket
from collections.abc import Callable

import httptools
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from fleetnet.serving.config import LimitSettings
from fleetnet.serving.errors import Cause, RequestError, ServingError, TooLargeError
from fleetnet.serving.rest.replies import refusal

_QUICK: int | None = getattr(socket, "TCP_QUICKACK", None)


def limited(limits: LimitSettings, count: Callable[[Cause], None]) -> type[HttpToolsProtocol]:
    """Return the class of connections with these limits; ``count`` is told what it refuses.

    A connection over the number is closed at once. One whose headers are too long gets a 431, and
    one whose headers do not come in time is closed: otherwise a few clients that send a byte now
    and then would take all connections. So would those that do not read their answers.

    Who asks for another protocol (``Upgrade``, as Java's client does unless it is told not to) gets
    an answer in this one. The parser believes that what follows such a request's headers is of the
    other protocol, and would read its body as the next request: so the body is taken here.
    """

    class Limited(HttpToolsProtocol):
        _timer: asyncio.TimerHandle | None = None
        _in_header = True
        _seen = 0
        _header = 0
        _stalled: asyncio.TimerHandle | None = None
        _too_long = False
        _unparsed = 0
        _whole = False

        def connection_made(self, transport: asyncio.BaseTransport) -> None:
            super().connection_made(transport)  # type: ignore[arg-type]
            if len(self.connections) > limits.connections:
                count("overloaded")
                self.transport.abort()
            else:
                self._wait_for_header()

        def connection_lost(self, exc: Exception | None) -> None:
            self._stop_waiting()
            self._read_again()
            super().connection_lost(exc)

        def pause_writing(self) -> None:
            super().pause_writing()
            self._stalled = self.loop.call_later(limits.body_seconds, self._give_up)

        def resume_writing(self) -> None:
            self._read_again()
            super().resume_writing()

        def _read_again(self) -> None:
            if self._stalled is not None:
                self._stalled.cancel()
                self._stalled = None

        def data_received(self, data: bytes) -> None:
            if self._in_header:
                self._seen += len(data)
            self._unset_keepalive_if_required()
            try:
                while data:
                    data = self._take_body(data) if self._unparsed else self._parse(data)
            except httptools.HttpParserError:
                self.send_400_response("This is no HTTP request.")
            self._acknowledge()
            if self._in_header and self._seen > limits.header and not self.transport.is_closing():
                self._too_long = True
                self.send_400_response("")

        def _acknowledge(self) -> None:
            """Say at once that a part of a request came.

            Senders such as nginx with a body in a file hold the rest back until they know, and the
            system would tell them 40 ms later.
            """
            if _QUICK is not None and not self._whole and not self.transport.is_closing():
                made = self.transport.get_extra_info("socket")
                if made is not None:
                    with contextlib.suppress(OSError):  # it is being closed
                        made.setsockopt(socket.IPPROTO_TCP, _QUICK, 1)

        def _parse(self, data: bytes) -> bytes:
            """Parse data, and return what follows a request that asks for another protocol."""
            try:
                self.parser.feed_data(data)
            except httptools.HttpParserUpgrade as ended:
                return data[ended.args[0] :]
            return b""

        def _take_body(self, data: bytes) -> bytes:
            """Take the body of such a request, and return what follows."""
            body, rest = data[: self._unparsed], data[self._unparsed :]
            self._unparsed -= len(body)
            self.on_body(body)
            if not self._unparsed:
                self.on_message_complete()
            return rest

        def on_message_begin(self) -> None:
            self._whole = False
            if self._timer is None:
                self._wait_for_header()
            self._in_header = True
            self._header = 0
            super().on_message_begin()

        def on_url(self, url: bytes) -> None:
            self._count(len(url))
            super().on_url(url)

        def on_header(self, name: bytes, value: bytes) -> None:
            self._count(len(name) + len(value) + 4)
            if self._in_header:  # what follows a body in chunks is none, though it comes as one
                super().on_header(name, value)

        def on_headers_complete(self) -> None:
            self._stop_waiting()
            self._in_header = False
            if self.parser.should_upgrade():
                self._unparsed = self._declared()
            super().on_headers_complete()

        def _declared(self) -> int:
            """Return the size of a body that the parser is not going to read."""
            headers = dict(self.headers)
            if self.parser.get_method() == b"CONNECT" or b"transfer-encoding" in headers:
                raise ValueError("where it ends is unknown")  # the parser ends, by a 400
            return int(headers.get(b"content-length", b"0"))

        def on_message_complete(self) -> None:
            if self._unparsed:
                return
            self._whole = True
            self._seen = 0
            super().on_message_complete()

        def send_400_response(self, _: str) -> None:
            count("too-large" if self._too_long else "invalid")
            if self._too_long:
                text = f"the headers are longer than {limits.header:,} bytes"
                self._refuse("431 Request Header Fields Too Large", TooLargeError(text))
            else:
                self._refuse("400 Bad Request", RequestError("this is no HTTP request"))

        def _refuse(self, status: str, error: ServingError) -> None:
            content = refusal(error).body
            head = (
                f"HTTP/1.1 {status}\r\ncontent-type: application/json\r\n"
                f"content-length: {len(content)}\r\nconnection: close\r\n\r\n"
            )
            self.transport.write(head.encode() + bytes(content))
            self.transport.close()

        def _count(self, size: int) -> None:
            self._header += size
            if self._header > limits.header:
                self._too_long = True
                raise ValueError("the headers are too long")  # the parser ends, by a 400 of ours

        def _wait_for_header(self) -> None:
            self._timer = self.loop.call_later(limits.header_seconds, self._give_up)

        def _stop_waiting(self) -> None:
            if self._timer is not None:
                self._timer.cancel()
                self._timer = None

        def _give_up(self) -> None:
            if not self.transport.is_closing():
                if self._seen or not self._in_header:
                    count("too-slow")
                self.transport.abort()

    return Limited
