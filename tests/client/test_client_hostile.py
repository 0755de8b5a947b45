"""Both clients against what is no good server: overloaded, slow, cut off, or lying."""

from __future__ import annotations

import asyncio
import contextlib
import json
import re
import socket
import struct
import threading
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from client.conftest import Connect, Scripted, reply
from fleetnet.client import (
    AsyncClient,
    ClientError,
    DeadlineError,
    OverloadedError,
    ResponseError,
    UnreachableError,
)
from fleetnet.client.aio import AsyncNetwork
from fleetnet.client.blocking import BlockingNetwork, run
from fleetnet.client.http import Response, read_response
from fleetnet.client.replies import check, entries_of, metadata_of, parsed, prediction_of
from fleetnet.client.session import pause_before, retry_after
from fleetnet.client.tensors import read_response as read_inference

GOOD = json.dumps(
    {
        "id": "1",
        "model": "net",
        "version": "1",
        "bundle": "ab",
        "predictions": [{"top": [{"class": "a", "index": 0, "probability": 1}], "error": None}],
        "timing": {"queue_ms": 0, "decode_ms": 1, "compute_ms": 2.5, "batch": 1},
    }
).encode()
SHED = b'{"error": "the queue is full", "code": "overloaded", "fields": {}}'
Script = Callable[..., Scripted]


@pytest.fixture
def pauses(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """Let nobody wait, and note how long they would have."""
    noted: list[float] = []

    async def sleep(_: object, seconds: float) -> None:
        noted.append(seconds)

    monkeypatch.setattr(BlockingNetwork, "sleep", sleep)
    monkeypatch.setattr(AsyncNetwork, "sleep", sleep)
    return noted


def test_what_was_shed_is_asked_again_after_as_long_as_the_server_says(
    connect: Connect, scripted: Script, pauses: list[float]
) -> None:
    script = scripted(
        reply(SHED, 429, "Retry-After: 2"),
        reply(b"busy", 503),
        reply(SHED, 503, "Retry-After: soon"),
        reply(GOOD),
    )
    answer = connect(script.url, retries=3).classify(b"x", request_id="mine")
    assert answer.label == "a"
    assert len(script.requests) == 4
    assert 2 <= pauses[0] <= 2.2
    assert all(0.05 <= pause <= 0.4 for pause in pauses[1:])
    heads = [head for head, _ in script.requests]
    assert all("X-Request-Id: mine" in head for head in heads)
    left = [int(re.findall(r"X-Request-Timeout-Ms: (\d+)", head)[0]) for head in heads]
    assert sorted(left, reverse=True) == left
    assert 0 < left[-1] <= left[0] <= 30_000


def test_attempts_end(connect: Connect, scripted: Script, pauses: list[float]) -> None:
    script = scripted(*[reply(SHED, 429, "Retry-After: 1")] * 3)
    with pytest.raises(OverloadedError, match="the queue is full") as caught:
        connect(script.url, retries=2).classify(b"x")
    assert (caught.value.status, caught.value.code) == (429, "overloaded")
    assert caught.value.retry_after == 1
    assert len(script.requests) == 3


@pytest.mark.parametrize(
    ("wait", "timeout"), [("5", 4.0), ("100", None), ("9" * 30, None), ("60", 30.0)]
)
def test_nobody_waits_past_the_deadline_nor_for_ever(
    connect: Connect, scripted: Script, pauses: list[float], wait: str, timeout: float | None
) -> None:
    script = scripted(reply(SHED, 429, f"Retry-After: {wait}"))
    with pytest.raises(OverloadedError):
        connect(script.url, timeout=timeout).classify(b"x")
    assert not pauses


def test_a_date_counts_from_the_servers_clock() -> None:
    said = {"retry-after": "Wed, 21 Oct 2015 07:28:30 GMT", "date": "Wed, 21 Oct 2015 07:28:00 GMT"}
    assert retry_after(said) == 30
    assert retry_after({"retry-after": "Wed, 21 Oct 2015 07:28:30 GMT"}) == 0
    for wrong in (
        "",
        "-1",
        "1.5",
        "½",
        "Wed, 99 Oct 2015",
        "nonsense",
        "\x00",
        "Wed, 21 Oct 999999 07:28:30",
    ):
        assert retry_after({"retry-after": wrong}) is None


def test_pauses_grow_up_to_a_limit() -> None:
    for attempt in range(50):
        pause = pause_before(attempt, None)
        longest = min(0.1 * 2**attempt, 5.0)
        assert longest / 2 <= pause <= longest


@pytest.mark.parametrize("status", [400, 404, 408, 413, 500, 502, 504])
def test_nothing_else_is_asked_again(
    connect: Connect, scripted: Script, pauses: list[float], status: int
) -> None:
    script = scripted(reply(b"<html>an error of a proxy</html>", status), reply(GOOD))
    with pytest.raises(ClientError, match=f"answers {status}") as caught:
        connect(script.url).classify(b"x")
    assert caught.value.status == status
    assert isinstance(caught.value, DeadlineError) is (status == 504)
    assert len(script.requests) == 1


def test_a_connection_is_used_again(connect: Connect, scripted: Script) -> None:
    script = scripted(reply(GOOD), reply(GOOD), reply(GOOD, 200, "Connection: close"), reply(GOOD))
    client = connect(script.url)
    for _ in range(4):
        assert client.classify(b"x").label == "a"
    assert script.connections == 2


def test_an_idle_connection_that_was_closed_is_opened_anew_once(
    connect: Connect, scripted: Script, monkeypatch: pytest.MonkeyPatch
) -> None:
    # As if the server closed it just when the request was sent: it was looked at before.
    monkeypatch.setattr("fleetnet.client.blocking.BlockingStream.usable", lambda _: True)
    monkeypatch.setattr("fleetnet.client.aio.AsyncStream.usable", lambda _: True)
    script = scripted(reply(GOOD), Scripted.CUT, reply(GOOD), Scripted.CUT, Scripted.CUT)
    client = connect(script.url)
    client.classify(b"x")
    assert client.classify(b"y").label == "a"
    assert [body for _, body in script.requests] == [b"x", b"y", b"y"]
    with pytest.raises(UnreachableError, match=r"without an answer|was cut"):
        client.classify(b"z")
    assert len(script.requests) == 5


def test_loading_never_takes_a_used_connection(connect: Connect, scripted: Script) -> None:
    script = scripted(reply(GOOD, 200, "X: close"), Scripted.CUT, reply(b"{}"))
    client = connect(script.url)
    client.classify(b"x")
    with pytest.raises(UnreachableError):
        client.load("net")
    assert len(script.requests) == 2


@pytest.mark.parametrize(
    "sent",
    [
        b"SSH-2.0-OpenSSH_9.2\r\n\r\n",
        b"HTTP/2 200\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nabc",
        b"HTTP/1.1 200 OK\r\nContent-Length: -5\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 5, 5\r\n\r\nabcde",
        b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\nabcdef",
        b"HTTP/1.1 200 OK\r\nContent-Length: 99999999999\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: " + b"9" * 30 + b"\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nContent-Length: 1\r\n\r\n0\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip\r\n\r\n0\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nab",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nabcd\r\n0\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nfffffffffff\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n" + b"0" * 5000,
        b"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: 2\r\n\r\n{}",
        b"HTTP/1.1 200 OK\r\nno colon\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nA: " + b"a" * 100_000 + b"\r\n\r\n",
        b"HTTP/1.1 100 Continue\r\n\r\n" * 20,
        b"HTTP/1.1 101 Switching Protocols\r\n\r\n",
        b"HTTP/1.1 200",
        b"HTTP/1.0 200 OK\r\n\r\n" + b" " * 3_000_000,
        b"HTTP/1.1 302 Found\r\nLocation: http://elsewhere/\r\nContent-Length: 0\r\n\r\n",
        b"HTTP/1.1 204 None\r\n\r\n",
        reply(b""),
        reply(b"[]"),
        reply(b"null"),
        reply(b"{"),
        reply(b"\xff\xfe"),
        reply(b"[" * 200_000),
        reply(b'{"predictions": [{}]}'),
        reply(b'{"predictions": []}'),
        reply(b'{"predictions": {"a": 1}}'),
        reply(GOOD.replace(b'"top": [{', b'"top": [{}, {')),
        reply(GOOD.replace(b'"error": null', b'"error": 5')),
        reply(GOOD.replace(b'"probability": 1', b'"probability": NaN')),
        reply(GOOD.replace(b'"probability": 1', b'"probability": 1e999')),
        reply(GOOD.replace(b'"probability": 1', b'"probability": 1' + b"0" * 400)),
        reply(GOOD.replace(b'"probability": 1', b'"probability": true')),
        reply(GOOD.replace(b'"index": 0', b'"index": ' + b"9" * 5000)),
        reply(GOOD.replace(b'"index": 0', b'"index": -1')),
        reply(GOOD.replace(b'"version": "1"', b'"version": ["1"]')),
        reply(GOOD.replace(b'"batch": 1', b'"batch": "1"')),
        reply(GOOD.replace(b'"timing": {', b'"timing": 5, "x": {')),
    ],
)  # fmt: skip
def test_what_is_no_answer_is_one_clear_error(
    connect: Connect, scripted: Script, sent: bytes
) -> None:
    script = scripted(sent)
    with pytest.raises(ResponseError) as caught:
        connect(script.url, max_response=1_000_000).classify(b"x")
    assert "\n" not in str(caught.value)
    assert len(script.requests) == 1


def test_other_answers_that_are_none(connect: Connect, scripted: Script) -> None:
    for sent in (b"{}", b"[{}]", b'[{"name": 1}]', b"5"):
        with pytest.raises(ResponseError):
            connect(scripted(reply(sent)).url).models()
    for sent in (b"{}", b'{"name": "a", "versions": [1], "inputs": [], "outputs": []}'):
        with pytest.raises(ResponseError):
            connect(scripted(reply(sent)).url).metadata("a")
    tensor = {"name": "a", "datatype": "X", "shape": [None]}
    about = {"name": "a", "versions": [], "inputs": [tensor], "outputs": []}
    with pytest.raises(ResponseError):
        connect(scripted(reply(json.dumps(about).encode())).url).metadata("a")


def test_what_is_sent_without_being_asked_is_no_answer_to_the_next(
    connect: Connect, scripted: Script
) -> None:
    script = scripted(reply(GOOD) + reply(b"smuggled"), reply(GOOD))
    client = connect(script.url)
    assert client.classify(b"x").label == "a"
    assert client.classify(b"x").label == "a"
    assert script.connections == 2


def test_chunks_and_what_comes_byte_by_byte() -> None:
    chunked = (
        b"HTTP/1.1 100 Continue\r\n\r\n"
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
        b"5;a=b\r\nabcde\r\nA\r\n0123456789\r\n0\r\nTrailer: x\r\n\r\n"
    )
    for size in (1, 2, 7, 1000):
        assert read(chunked, size).body == b"abcde0123456789"


def read(sent: bytes, size: int = 7, limit: int = 1000) -> Response:
    pieces = [sent[place : place + size] for place in range(0, len(sent), size)]

    async def receive() -> bytes:
        return pieces.pop(0) if pieces else b""

    return run(read_response(receive, limit))


FRAGMENTS = st.sampled_from(
    [
        b"HTTP/1.1 200 OK\r\n", b"HTTP/1.1 100 Continue\r\n\r\n", b"HTTP/1.0 204 \r\n", b"\r\n",
        b"\r\n\r\n", b"Content-Length: 5\r\n", b"Content-Length: 99999\r\n", b"abcde", b"0\r\n\r\n",
        b"Transfer-Encoding: chunked\r\n", b"5\r\nabcde\r\n", b"A: b\r\n", b"Connection: close\r\n",
    ]
)  # fmt: skip


@given(pieces=st.lists(FRAGMENTS | st.binary(max_size=8), max_size=12), size=st.integers(1, 40))
def test_any_bytes_are_a_response_or_an_error(pieces: list[bytes], size: int) -> None:
    try:
        response = read(b"".join(pieces), size)
    except ClientError:
        return
    assert len(response.body) <= 1000
    assert 200 <= response.status <= 599


VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=3),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(
                [
                    "top", "class", "index", "probability", "error", "code", "fields", "name",
                    "version", "versions", "inputs", "outputs", "shape", "datatype", "parameters",
                    "state", "reason", "data", "model_name", "binary_data_size", "queue_ms",
                ]
            ),
            inner,
        )
    ),
    max_leaves=12,
)  # fmt: skip


@given(value=VALUES, status=st.sampled_from([200, 204, 302, 400, 404, 429, 500, 503, 504]))
def test_any_json_is_an_answer_or_an_error(value: object, status: int) -> None:
    readers: list[Callable[[], object]] = [
        lambda: check(Response(status, {}, json.dumps(value).encode())),
        lambda: parsed(json.dumps(value).encode()),
        lambda: prediction_of(value, "a", {}),
        lambda: entries_of(value),
        lambda: metadata_of(value),
        lambda: read_inference(Response(200, {}, json.dumps(value).encode())),
        lambda: read_inference(inference([value])),
    ]
    for reader in readers:
        with contextlib.suppress(ClientError):
            reader()


def inference(outputs: object, rest: bytes = b"") -> Response:
    text = json.dumps({"model_name": "a", "outputs": outputs}).encode()
    length = str(len(text))
    return Response(200, {"inference-header-content-length": length}, text + rest)


def output(**values: object) -> dict[str, object]:
    return {"name": "a", "datatype": "FP32", "shape": [2], **values}


def test_tensors_of_every_kind() -> None:
    elements = struct.pack("<I2sI0s", 2, b"ab", 0, b"")
    answer = read_inference(
        inference(
            [
                output(parameters={"binary_data_size": 8}),
                output(name="b", data=[1.5, 2]),
                output(name="c", datatype="BYTES", parameters={"binary_data_size": len(elements)}),
                output(name="d", datatype="INT64", shape=[], data=[-5]),
                output(name="e", datatype="BYTES", data=["x", "y"]),
            ],
            struct.pack("<2f", 1, 2) + elements,
        )
    )
    assert answer["a"].tolist() == [1, 2]
    assert answer["b"].tolist() == [1.5, 2]
    assert answer["c"].tolist() == [b"ab", b""]
    assert answer["d"].tolist() == -5
    assert answer["e"].tolist() == [b"x", b"y"]


@pytest.mark.parametrize(
    ("outputs", "rest"),
    [
        ({}, b""),
        ([5], b""),
        ([output()], b""),
        ([output(data=[1, 2])], b"more"),
        ([output(data=[1])], b""),
        ([output(data=["a", "b"])], b""),
        ([output(data=[[1], [2, 3]])], b""),
        ([output(data=[1, 2], shape=[-2])], b""),
        ([output(data=[1, 2], shape=["2"])], b""),
        ([output(data=[1, 2], shape=[2] + [1] * 100)], b""),
        ([output(data=[], shape=[0, 2**39, 2**39])], b""),
        ([output(data=[1, 2], datatype="FP33")], b""),
        ([output(datatype="UINT8", data=[1, 256])], b""),
        ([output(datatype="BYTES", data=[1, 2])], b""),
        ([output(parameters={"binary_data_size": 8})], b"abcd"),
        ([output(parameters={"binary_data_size": 7})], b"abcdefg"),
        ([output(parameters={"binary_data_size": -8})], b""),
        ([output(parameters={"binary_data_size": 8})] * 2, b"a" * 16),
        ([output(datatype="BYTES", parameters={"binary_data_size": 5})], b"\xff\xff\xff\xffa"),
        ([output(datatype="BYTES", parameters={"binary_data_size": 3})], b"abc"),
    ],
)
def test_tensors_that_are_none(outputs: object, rest: bytes) -> None:
    with pytest.raises(ResponseError):
        read_inference(inference(outputs, rest))


@pytest.mark.parametrize("length", ["-1", "99999", "x", "9" * 100, "²"])
def test_a_length_of_json_that_is_none(length: str) -> None:
    with pytest.raises(ResponseError):
        read_inference(Response(200, {"inference-header-content-length": length}, b"{}"))


def test_a_server_that_is_silent_is_given_up(connect: Connect) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        url = f"http://127.0.0.1:{silent.getsockname()[1]}"
        client = connect(url, timeout=0.2)
        with pytest.raises(DeadlineError, match="within"):
            client.classify(b"x")
        with pytest.raises(DeadlineError):
            client.classify(b"x" * 20_000_000)
        assert not client.live()


def test_a_server_that_sends_a_byte_now_and_then_is_given_up(connect: Connect) -> None:
    """Each byte comes soon enough; all of them together do not."""
    ended = threading.Event()

    def drip(listening: socket.socket) -> None:
        connection, _ = listening.accept()
        with connection:
            connection.recv(65536)
            try:
                connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 100000\r\n\r\n")
                while not ended.wait(0.02):
                    connection.sendall(b" ")
            except OSError:
                pass

    with socket.create_server(("127.0.0.1", 0)) as listening:
        thread = threading.Thread(target=drip, args=[listening])
        thread.start()
        try:
            client = connect(f"http://127.0.0.1:{listening.getsockname()[1]}", timeout=0.3)
            with pytest.raises(DeadlineError):
                client.classify(b"x")
        finally:
            ended.set()
            thread.join()


def test_nobody_there_is_one_clear_error(connect: Connect) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
    with pytest.raises(UnreachableError, match=f"cannot connect to 127.0.0.1:{port}"):
        connect(f"http://127.0.0.1:{port}").classify(b"x")
    with pytest.raises(UnreachableError):
        connect("http://host.invalid").classify(b"x")


def test_a_place_among_the_connections_is_waited_for_until_the_deadline() -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        url = f"http://127.0.0.1:{silent.getsockname()[1]}"

        async def both() -> list[object]:
            async with AsyncClient(url, timeout=0.3, connections=1) as client:
                asked = (client.classify(b"x") for _ in range(3))
                return list(await asyncio.gather(*asked, return_exceptions=True))

        assert all(isinstance(error, DeadlineError) for error in asyncio.run(both()))


def test_a_task_that_is_cancelled_gives_its_place_and_its_connection_back() -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        url = f"http://127.0.0.1:{silent.getsockname()[1]}"

        async def cancelled() -> None:
            async with AsyncClient(url, connections=1) as client:
                task = asyncio.create_task(client.classify(b"x"))
                connection, _ = await asyncio.to_thread(silent.accept)
                with connection:
                    task.cancel()
                    with pytest.raises(asyncio.CancelledError):
                        await task
                    while await asyncio.to_thread(connection.recv, 65536):
                        pass
                assert not await client.live(timeout=0.1)

        asyncio.run(cancelled())
