"""Requests that a proxy in front may have read as others than we do, and proxies themselves."""

from __future__ import annotations

import asyncio
import contextlib
import http.client
import socket
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import uvicorn

from client.conftest import served
from fleetnet.serving.config import LimitSettings
from fleetnet.serving.rest.connection import limited
from serving.askers import Rest
from serving.proxy import nginx
from serving.raw import LONG, all_of, asked, place_of, statuses

LIMITS = {
    "header": 4096, "body": 100_000, "header_seconds": 2, "body_seconds": 2, "idle_seconds": 5,
}  # fmt: skip
POST = "POST /classify HTTP/1.1\r\nHost: localhost\r\n"
CHUNKS = "Transfer-Encoding: chunked\r\n"
HIDDEN = "POST /v2/repository/models/net/unload HTTP/1.1\r\nHost: localhost\r\n"
HIDDEN += "Content-Length: 0\r\n\r\n"
"""What is hidden in another request; if it is answered, by 200, it was smuggled in."""


@pytest.fixture(scope="module")
def address(network: Path) -> Iterator[str]:
    with served(models={"net": network}, limits=LIMITS) as started:
        yield started


def answers(address: str, picture: bytes) -> bool:
    """Tell whether the model is still there."""
    asker = Rest(place_of(address))
    with contextlib.closing(asker):
        return bool(asker.ask(picture).label)


REFUSED = {
    "length and chunks": f"Content-Length: 4\r\n{CHUNKS}\r\n0\r\n\r\n{HIDDEN}",
    "chunks and length": f"{CHUNKS}Content-Length: 5\r\n\r\n0\r\n\r\n{HIDDEN}",
    "two lengths": f"Content-Length: 0\r\nContent-Length: {len(HIDDEN)}\r\n\r\n{HIDDEN}",
    "one length twice": f"Content-Length: 5\r\nContent-Length: 5\r\n\r\nabcde{HIDDEN}",
    "a list of lengths": f"Content-Length: 5, 5\r\n\r\nabcde{HIDDEN}",
    "a length with a sign": f"Content-Length: +5\r\n\r\nabcde{HIDDEN}",
    "a negative length": f"Content-Length: -1\r\n\r\n{HIDDEN}",
    "a hexadecimal length": f"Content-Length: 0x5\r\n\r\nabcde{HIDDEN}",
    "an endless length": f"Content-Length: {'9' * 40}\r\n\r\n{HIDDEN}",
    "no length": f"Content-Length:\r\n\r\n{HIDDEN}",
    "length with a space before the colon": f"Content-Length : 5\r\n\r\nabcde{HIDDEN}",
    "chunks under another name": f"Transfer-Encoding: xchunked\r\n\r\n{HIDDEN}",
    "chunks first and another after": f"Transfer-Encoding: chunked, identity\r\n\r\n{HIDDEN}",
    "chunks twice": f"{CHUNKS}Transfer-Encoding: identity\r\n\r\n{HIDDEN}",
    "chunks with a tab before the colon": f"Transfer-Encoding\t: chunked\r\n\r\n0\r\n\r\n{HIDDEN}",
    "a folded header": f"A: b\r\n c: d\r\nContent-Length: 0\r\n\r\n{HIDDEN}",
    "a folded length": f"Content-Length:\r\n 5\r\n\r\nabcde{HIDDEN}",
    "a bare line feed after a header": f"A: b\nContent-Length: 0\r\n\r\n{HIDDEN}",
    "a bare carriage return in a header": f"A: b\rTransfer-Encoding: chunked\r\n\r\n{HIDDEN}",
    "NUL in a header": f"A: b\0c\r\nContent-Length: 0\r\n\r\n{HIDDEN}",
    "a header without a name": f": b\r\nContent-Length: 0\r\n\r\n{HIDDEN}",
    "a space in a name": f"A b: c\r\nContent-Length: 0\r\n\r\n{HIDDEN}",
    "a chunk of no size": f"{CHUNKS}\r\n\r\n{HIDDEN}",
    "a chunk size that is none": f"{CHUNKS}\r\nz\r\n{HIDDEN}",
    "a chunk size with a sign": f"{CHUNKS}\r\n+5\r\nabcde\r\n0\r\n\r\n{HIDDEN}",
    "a chunk size with a prefix": f"{CHUNKS}\r\n0x5\r\nabcde\r\n0\r\n\r\n{HIDDEN}",
    "a chunk size over 64 bits": f"{CHUNKS}\r\n{'f' * 17}\r\n{HIDDEN}",
    "a chunk longer than its size": f"{CHUNKS}\r\n3\r\nabcde\r\n0\r\n\r\n{HIDDEN}",
    "a chunk with a bare line feed": f"{CHUNKS}\r\n5\nabcde\r\n0\r\n\r\n{HIDDEN}",
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_may_be_read_in_two_ways_ends_the_connection(
    address: str, picture: bytes, name: str
) -> None:
    got = asked(address, POST + REFUSED[name], end=True)
    assert statuses(got) in ([400], [413]), got
    assert answers(address, picture)


NONE = {
    "a bare line feed": f"POST /classify HTTP/1.1\nHost: localhost\r\n\r\n{HIDDEN}",
    "two spaces": "POST  /classify  HTTP/1.1\r\nHost: localhost\r\n\r\n",
    "no version": "POST /classify\r\n\r\n",
    "another version": "POST /classify HTTP/3.7\r\nHost: localhost\r\n\r\n",
    "the preface of HTTP/2": "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
    "no method": " /classify HTTP/1.1\r\nHost: localhost\r\n\r\n",
    "a method that is none": "P(ST /classify HTTP/1.1\r\nHost: localhost\r\n\r\n",
    "an asterisk": "POST * HTTP/1.1\r\nHost: localhost\r\nContent-Length: 0\r\n\r\n",
    "a tunnel": "CONNECT evil.example:443 HTTP/1.1\r\nHost: evil.example:443\r\n\r\n",
    "tls": "\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
}


@pytest.mark.parametrize("name", NONE)
def test_what_is_no_request_is_refused(address: str, name: str) -> None:
    for status in statuses(asked(address, NONE[name], end=True)):
        assert 400 <= status < 500


def test_chunks_are_taken_with_extensions_and_trailers(address: str, picture: bytes) -> None:
    size = f'{len(picture):X};name=value;other="quoted"\r\n'.encode()
    head = f"{POST}{CHUNKS}Connection: close\r\n\r\n".encode()
    got = asked(address, head + b"000" + size + picture + b"\r\n0\r\nA: b\r\n\r\n")
    assert statuses(got) == [200], got


def test_a_trailer_is_no_header(address: str, picture: bytes) -> None:
    head = f"{POST}{CHUNKS}Connection: close\r\n\r\n".encode()
    body = f"{len(picture):x}\r\n".encode() + picture + b"\r\n0\r\nX-Request-Timeout-Ms: 0\r\n\r\n"
    got = asked(address, head + body)
    assert statuses(got) == [200], got


@pytest.mark.parametrize("what", ["extension", "trailers", "tiny chunks"])
def test_what_surrounds_chunks_is_bounded(address: str, what: str) -> None:
    """Megabytes that are no body must not be read for ever, nor kept."""
    head = f"{POST}{CHUNKS}\r\n"
    with socket.create_connection(place_of(address), LONG) as connection:
        with contextlib.suppress(OSError):
            connection.sendall(
                head.encode() + {"extension": b"1;", "trailers": b"0\r\n"}.get(what, b"")
            )
            for _ in range(64):
                piece = {"extension": b"a" * 65536, "trailers": b"A: b\r\n" * 10_000}
                connection.sendall(piece.get(what, b"1\r\na\r\n" * 10_000))
        got = all_of(connection)
    assert statuses(got) in ([], [400], [408], [413], [431]), got[:200]


def test_a_request_for_another_place_is_none_for_a_proxy(address: str) -> None:
    """An absolute address is a path here, and never somewhere to connect to."""
    with socket.create_server(("127.0.0.1", 0)) as other:
        other.settimeout(0.2)
        there = f"http://127.0.0.1:{other.getsockname()[1]}/v2"
        head = f"GET {there} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"
        assert statuses(asked(address, head)) == [200]
        with pytest.raises(TimeoutError):
            other.accept()


@pytest.mark.parametrize("protocol", ["h2c", "websocket", "TLS/1.0", "HTTP/2.0, h2c"])
def test_other_protocols_are_not_changed_to(address: str, picture: bytes, protocol: str) -> None:
    head = f"{POST}Connection: Upgrade, HTTP2-Settings, close\r\nUpgrade: {protocol}\r\n"
    head += f"HTTP2-Settings: AAMAAABkAAQCAAAAAAIAAAAA\r\nContent-Length: {len(picture)}\r\n\r\n"
    got = asked(address, head.encode() + picture[:100], picture[100:])
    assert statuses(got) == [200], got
    assert b" 101 " not in got


@pytest.mark.parametrize("length", [f"Content-Length: {len(HIDDEN)}\r\n", CHUNKS, ""])
def test_a_request_for_another_protocol_hides_none(
    address: str, picture: bytes, length: str
) -> None:
    """Its body is no request, though a parser may take it for the beginning of the protocol."""
    head = f"{POST}Connection: Upgrade, close\r\nUpgrade: h2c\r\n{length}\r\n"
    hidden = HIDDEN if length.startswith("C") else f"{len(HIDDEN):x}\r\n{HIDDEN}\r\n0\r\n\r\n"
    got = asked(address, head + hidden if length else head)
    assert statuses(got) == [400], got
    assert answers(address, picture)


def test_what_follows_a_request_for_another_protocol_is_answered(
    address: str, picture: bytes
) -> None:
    head = f"{POST}Content-Length: {len(picture)}\r\nConnection: "
    one = f"{head}Upgrade\r\nUpgrade: h2c\r\n\r\n".encode() + picture
    stream = one * 2 + f"{head}close\r\n\r\n".encode() + picture
    assert statuses(asked(address, stream)) == [200, 200, 200]
    got = asked(address, *(stream[place : place + 97] for place in range(0, len(stream), 97)))
    assert statuses(got) == [200, 200, 200]


def test_a_client_that_asks_first_is_told_to_go_on(address: str, picture: bytes) -> None:
    head = (
        f"{POST}Expect: 100-continue\r\nConnection: close\r\nContent-Length: {len(picture)}\r\n\r\n"
    )
    with socket.create_connection(place_of(address), LONG) as connection:
        connection.sendall(head.encode())
        assert connection.recv(100).startswith(b"HTTP/1.1 100 ")
        connection.sendall(picture)
        assert statuses(all_of(connection)) == [200]
    large = f"{POST}Expect: 100-continue\r\nContent-Length: 100001\r\n\r\n"
    assert statuses(asked(address, large)) == [413]


def test_a_pipeline_is_answered_in_its_order(address: str, picture: bytes) -> None:
    one = f"{POST}Content-Length: {len(picture)}\r\n\r\n".encode() + picture
    bad = f"{POST}Content-Length: 4\r\n\r\nnone".encode()
    last = one.replace(b"\r\n", b"\r\nConnection: close\r\n", 1)
    assert statuses(asked(address, (one + bad) * 10 + last + one)) == [200, 400] * 10 + [200]
    garbage = f"{POST}Content-Length: x\r\n\r\n".encode()
    assert statuses(asked(address, one * 3 + garbage + one))[-1] == 400


def test_cut_and_slow_requests_hold_up_nobody(address: str, picture: bytes) -> None:
    whole = f"{POST}Content-Length: {len(picture)}\r\n\r\n".encode() + picture
    asker = Rest(place_of(address))
    with contextlib.ExitStack() as stack:
        slow = []
        for place in range(0, len(whole), max(len(whole) // 30, 1)):
            connection = stack.enter_context(socket.create_connection(place_of(address), LONG))
            connection.sendall(whole[:place])
            slow.append(connection)
            if place % 2:
                connection.shutdown(socket.SHUT_WR)
            assert asker.ask(picture).label
        for connection in slow:
            assert statuses(all_of(connection)) in ([], [400], [408])
    asker.close()


def test_who_does_not_read_his_answers_is_given_up(address: str, picture: bytes) -> None:
    asking = b"GET /openapi.json HTTP/1.1\r\nHost: localhost\r\n\r\n"
    end = time.monotonic() + LONG
    with socket.socket() as connection:
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        connection.connect(place_of(address))
        connection.sendall(asking * 300)  # for megabytes more than the system keeps
        with contextlib.suppress(ConnectionError):
            while time.monotonic() < end:
                connection.send(asking)  # always whole, so that no header is waited for
                time.sleep(0.05)
            pytest.fail("it is still there")
    assert answers(address, picture)


def test_a_refusal_is_heard_by_who_listens_only_when_all_is_sent(address: str) -> None:
    head = f"{POST}Content-Length: 8000000\r\n\r\n"
    for _ in range(5):
        with socket.create_connection(place_of(address), LONG) as connection:
            connection.sendall(head.encode() + bytes(8_000_000))
            assert statuses(all_of(connection)) == [413]


@pytest.mark.skipif(sys.platform != "linux", reason="nginx is taken from the system's packages")
@pytest.mark.parametrize("buffering", ["on", "off"])
def test_a_proxy_in_front_changes_nothing(
    address: str, picture: bytes, tmp_path: Path, buffering: str
) -> None:
    with nginx(tmp_path, address, buffering) as front:
        direct, through = Rest(place_of(address)), Rest(place_of(front))
        for _ in range(20):
            assert through.ask(picture) == direct.ask(picture)
        for asker in (direct, through):
            asker.close()
        connection = http.client.HTTPConnection(*place_of(front), timeout=LONG)
        with contextlib.closing(connection):
            halves = iter([picture[:1000], picture[1000:]])
            connection.request("POST", "/classify", halves, encode_chunked=True,
                               headers={"Transfer-Encoding": "chunked"})  # fmt: skip
            with connection.getresponse() as response:
                assert (response.status, response.read()[:1]) == (200, b"{")
        for size in (100_001, 5_000_000):
            connection = http.client.HTTPConnection(*place_of(front), timeout=LONG)
            with contextlib.closing(connection):
                connection.request("POST", "/classify", bytes(size))
                with connection.getresponse() as response:
                    assert (response.status, response.read()[:1]) == (413, b"{")
        smuggled = POST + REFUSED["length and chunks"]
        assert 200 not in statuses(asked(front, smuggled, end=True))


@pytest.mark.skipif(not hasattr(socket, "TCP_QUICKACK"), reason="the system has no such option")
def test_what_came_of_a_body_is_acknowledged_at_once() -> None:
    """Otherwise nginx, which may hold the rest back until then, waits 40 ms for each request."""
    told: list[tuple[int, ...]] = []

    class Socket:
        def setsockopt(self, *option: int) -> None:
            told.append(option)

        def getsockname(self) -> tuple[str, int]:
            return "127.0.0.1", 1

        getpeername = getsockname

    class Transport(asyncio.Transport):
        def get_extra_info(self, name: str, default: object = None) -> object:
            return Socket() if name == "socket" else default

        def is_closing(self) -> bool:
            return False

        def resume_reading(self) -> None:
            pass

        close = resume_reading

    async def app(_: Any, receive: Any, __: Any) -> None:
        while (await receive())["type"] != "http.disconnect":
            pass

    async def received() -> None:
        config = uvicorn.Config(app, lifespan="off", loop="asyncio", log_config=None)
        config.load()
        protocol = limited(LimitSettings(), lambda _: None)(
            config, uvicorn.server.ServerState(), {}
        )
        protocol.connection_made(Transport())
        one = f"{POST}Content-Length: 6\r\n\r\n".encode()
        for piece, expected in ((one[:9], 1), (one[9:], 2), (b"abc", 3), (b"def", 3)):
            protocol.data_received(piece)
            assert len(told) == expected
        protocol.connection_lost(None)
        await asyncio.gather(*protocol.tasks)

    asyncio.run(received())
    assert set(told) == {(socket.IPPROTO_TCP, socket.TCP_QUICKACK, 1)}
