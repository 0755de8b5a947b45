"""bRPC: a client that knows only the protocol's description, and everything that it may ask."""

from __future__ import annotations

import contextlib
import gzip
import json
import logging
import socket
import struct
import sys
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from fleetnet.conformance.files import ConformanceSet
from fleetnet.inference.classifier import Classifier
from fleetnet.serving.auth import Tokens
from fleetnet.serving.brpc.transport import port_of
from fleetnet.serving.config import Settings
from fleetnet.serving.errors import OverloadedError
from fleetnet.serving.lifecycle import repository_of, transports
from fleetnet.serving.service import Service
from serving import brpc_client
from serving.brpc_client import (
    GZIP,
    LZ4,
    SNAPPY,
    ZLIB,
    Client,
    answer_of,
    element,
    field_of,
    floats,
    inference,
    packed,
    request,
)
from serving.brpc_server import Server, serving

INFER, LIVE = "ModelInfer", "ServerLive"
INFER_TOKEN, ADMIN_TOKEN = "i" * 20, "a" * 20


@pytest.fixture(scope="module")
def server(network: Path) -> Iterator[Server]:
    with serving(models={"net": network}) as started:
        yield started


@pytest.fixture
def client(server: Server) -> Iterator[Client]:
    with server.client() as connected:
        yield connected


@pytest.fixture(scope="module")
def expected(network: Path, picture: bytes) -> list[float]:
    with Classifier(network) as classifier:
        (prediction,) = classifier.predict(picture)
    assert prediction.logits is not None
    return list(map(float, prediction.logits))


def logits_of(reply: brpc_client.Reply) -> list[float]:
    assert reply.code == 0, reply.text
    return floats(answer_of(reply.message).raw[0])


@pytest.fixture(scope="module")
def tokens(tmp_path_factory: pytest.TempPathFactory) -> Path:
    file = tmp_path_factory.mktemp("tokens") / "tokens"
    file.write_text(f"infer {INFER_TOKEN}\nadmin {ADMIN_TOKEN}\n")
    return file


def test_every_way_in_gives_the_classifiers_answers_on_the_conformance_set(
    client: Client, network: Path, conformance: ConformanceSet
) -> None:
    """All of the set at once on one connection, every picture in its message and beside it."""
    contents = [
        conformance.read(one.file, one.sha256, one.bytes)
        for one in conformance.description.pictures
    ]
    with Classifier(network) as classifier:
        expected = list(classifier.predict(contents))
    for number, content in enumerate(contents):
        message = inference("net", raw=[element(content)])
        client.send(
            request(INFER, message, correlation=2 * number)
            + request(INFER, inference("net"), attachment=content, correlation=2 * number + 1)
        )
    replies = {reply.correlation: reply for reply in (client.receive() for _ in 2 * contents)}
    assert replies.keys() == set(range(2 * len(contents)))
    for correlation, reply in replies.items():
        prediction = expected[correlation // 2]
        if prediction.ok:
            assert logits_of(reply) == pytest.approx(prediction.logits, abs=1e-4)
        else:
            assert (reply.code, reply.message) == (1003, b"")


@pytest.mark.parametrize("service", [brpc_client.SERVICE, "GRPCInferenceService"])
def test_a_service_is_found_with_and_without_its_package(client: Client, service: str) -> None:
    assert client.call(LIVE, service=service).message == field_of(1, 1)


def test_all_methods_of_the_service_are_there(client: Client) -> None:
    assert client.call("ServerReady").message == field_of(1, 1)
    assert client.call("ServerMetadata").message.startswith(field_of(1, "fleetnet"))
    ready = field_of(1, "net")
    assert client.call("ModelReady", ready).message == field_of(1, 1)
    assert client.call("ModelReady", field_of(1, "none")).message == b""
    assert client.call("ModelMetadata", ready).message.startswith(field_of(1, "net"))
    assert b"READY" in client.call("RepositoryIndex").message
    assert client.call("RepositoryModelLoad", field_of(2, "none")).code == 1003
    assert client.call("RepositoryModelUnload", field_of(2, "none")).code == 1003


@pytest.mark.parametrize(
    ("service", "method", "code"),
    [
        ("inference.Other", LIVE, 1001),
        ("Other", LIVE, 1001),
        ("other.GRPCInferenceService", LIVE, 1001),
        ("", LIVE, 1001),
        (brpc_client.SERVICE, "Other", 1002),
        (brpc_client.SERVICE, "ModelStreamInfer", 1002),
        (brpc_client.SERVICE, "__class__", 1002),
    ],
)
def test_what_there_is_not_has_a_number_of_its_own(
    client: Client, service: str, method: str, code: int
) -> None:
    reply = client.call(method, b"whatever", service=service, correlation=-7)
    assert (reply.code, reply.message) == (code, b"")
    assert reply.correlation == 2**64 - 7
    assert client.call(LIVE).code == 0


def test_bad_requests_say_what_is_wrong(client: Client, picture: bytes) -> None:
    reply = client.call(INFER, inference("none", raw=[element(picture)]))
    assert reply.code == 1003
    assert "'none'" in reply.text
    assert reply.user["code"] == "not-found"
    reply = client.call(INFER, inference("net", raw=[element(b"no picture")]))
    assert reply.code == 1003
    assert "image 0" in reply.text
    assert "no ModelInferRequest" in client.call(INFER, b"\xff\xff\xff").text
    assert client.call(INFER, b"").code == 1003


def test_unknown_fields_are_passed_over(client: Client, picture: bytes) -> None:
    unknown = field_of(100, "hulu") + field_of(101, 5) + field_of(77, b"\x00" * 50)
    message = inference("net", raw=[element(picture)]) + field_of(99, "unknown")
    assert client.call(INFER, message, extra=unknown).code == 0


@pytest.mark.parametrize("kind", [GZIP, ZLIB])
def test_compressed_requests_have_compressed_answers(
    client: Client, picture: bytes, expected: list[float], kind: int
) -> None:
    message = inference("net", raw=[element(picture)])
    reply = client.call(INFER, message, compression=kind)
    assert reply.compression == kind
    assert logits_of(reply) == pytest.approx(expected, abs=1e-4)


def test_snappy_where_it_is_installed(
    client: Client, picture: bytes, expected: list[float], monkeypatch: pytest.MonkeyPatch
) -> None:
    cramjam = pytest.importorskip("cramjam")
    packed_message = bytes(cramjam.snappy.compress_raw(inference("net", raw=[element(picture)])))
    reply = client.call(INFER, packed_message, compression=SNAPPY)
    reply.message = bytes(cramjam.snappy.decompress_raw(reply.message))
    assert logits_of(reply) == pytest.approx(expected, abs=1e-4)
    bomb = bytes(cramjam.snappy.compress_raw(bytes(70 * 2**20)))
    assert "larger than" in client.call(INFER, bomb, compression=SNAPPY).text
    for damaged in (b"", b"\xff" * 9, packed_message[:-5], b"\xff\xff\xff\xff\x0f"):
        assert client.call(INFER, damaged, compression=SNAPPY).code == 1003
    monkeypatch.setitem(sys.modules, "cramjam", None)
    reply = client.call(INFER, packed_message, compression=SNAPPY)
    assert reply.code == 1003
    assert "not installed" in reply.text


def test_compression_that_is_not_taken_or_is_damaged(client: Client) -> None:
    assert "lz4" in client.call(LIVE, compression=LZ4).text
    assert client.call(LIVE, compression=17).code == 1003
    assert client.call(LIVE, compression=-1).code == 1003
    damaged = field_of(1, field_of(1, brpc_client.SERVICE) + field_of(2, LIVE))
    for kind, data in ((GZIP, b"none"), (ZLIB, zlib.compress(b"x" * 99)[:-3]), (GZIP, b"")):
        client.send(packed(damaged + field_of(3, kind), data))
        reply = client.receive()
        assert reply.code == 1003
        assert "not valid" in reply.text


def test_a_bomb_is_refused(server: Server, client: Client) -> None:
    """A message of 64 MiB and more, in 64 KiB; what it took is given back."""
    bomb = zlib.compress(bytes(66 * 2**20))
    meta = field_of(1, field_of(1, brpc_client.SERVICE) + field_of(2, INFER)) + field_of(3, ZLIB)
    client.send(packed(meta, bomb))
    reply = client.receive()
    assert reply.code == 1003
    assert "larger than" in reply.text
    server.until(lambda: server.service.budget.held == 0)


@pytest.mark.parametrize("with_attachment", [False, True])
@pytest.mark.parametrize("compression", [0, GZIP])
def test_checksums_are_compared_and_given(
    client: Client,
    picture: bytes,
    expected: list[float],
    with_attachment: bool,
    compression: int,
) -> None:
    reply = client.call(
        INFER,
        inference("net"),
        attachment=picture,
        checksum=True,
        with_attachment=with_attachment,
        compression=compression,
        user={"attachment_outputs": "true"},
    )
    assert (reply.code, reply.checksum, reply.checksum_right) == (0, 1, True)
    assert floats(reply.attachment) == pytest.approx(expected, abs=1e-4)


def test_a_wrong_checksum_is_an_error(client: Client, picture: bytes) -> None:
    whole = bytearray(
        request(INFER, inference("net"), attachment=picture, checksum=True, with_attachment=True)
    )
    whole[-1] ^= 1
    client.send(bytes(whole))
    reply = client.receive()
    assert reply.code == 1003
    assert "checksum" in reply.text
    for extra in (field_of(11, 1), field_of(11, 1) + field_of(12, b"123"), field_of(11, 9)):
        assert client.call(LIVE, extra=extra).code == 1003


def test_the_checksum_is_the_published_one() -> None:
    """The vectors of RFC 3720 and of LevelDB, and theirs only: both sides could be wrong alike."""
    from fleetnet.serving.brpc.coding import checksum_of

    for data, crc in ((b"123456789", 0xE3069283), (bytes(32), 0x8A9136AA), (b"", 0)):
        masked = ((crc >> 15 | crc << 17) + 0xA282EAD8) & 0xFFFFFFFF
        assert checksum_of(data) == struct.pack("!I", masked) == brpc_client.masked_crc(data)
    assert checksum_of(b"1234", memoryview(b"56789")) == checksum_of(b"123456789")


def test_an_attachment_is_what_the_message_has_no_contents_for(
    client: Client, picture: bytes, expected: list[float]
) -> None:
    reply = client.call(INFER, inference("net"), attachment=picture)
    assert logits_of(reply) == pytest.approx(expected, abs=1e-4)
    reply = client.call(INFER, inference("net"), attachment=element(picture))
    assert logits_of(reply) == pytest.approx(expected, abs=1e-4)
    several = inference("net", shape=[2], outputs=["probabilities", "logits"])
    reply = client.call(
        INFER, several, attachment=element(picture) * 2, user={"attachment_outputs": "true"}
    )
    answer = answer_of(reply.message)
    assert answer.raw == []
    assert [shape for _, _, shape in answer.outputs] == [[2, len(expected)]] * 2
    values = floats(reply.attachment)
    assert values[2 * len(expected) :] == pytest.approx(expected * 2, abs=1e-4)
    both = client.call(INFER, inference("net", raw=[element(picture)]), attachment=picture)
    assert both.code == 1003
    assert client.call(INFER, several, attachment=picture).code == 1003


def test_pixels_by_attachment(client: Client, network: Path) -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (2, 40, 50, 3), np.uint8)
    message = inference("net", name="pixels", datatype="UINT8", shape=pixels.shape)
    reply = client.call(INFER, message, attachment=pixels.tobytes())
    with Classifier(network) as classifier:
        predictions = list(classifier.predict(list(pixels)))
    wanted = [float(value) for one in predictions for value in np.asarray(one.logits)]
    assert logits_of(reply) == pytest.approx(wanted, abs=1e-4)
    assert client.call(INFER, message, attachment=pixels.tobytes()[:-1]).code == 1003


def test_attachments_that_do_not_fit_their_frame(client: Client) -> None:
    for size in (1, 2**31 - 1, -1):
        reply = client.call(LIVE, extra=field_of(5, size))
        assert reply.code == 1003
        assert "attachment" in reply.text
    assert client.call(LIVE, attachment=b"passed over").code == 0


@pytest.mark.parametrize("size", [10_000, 100_000, 1_000_000, 10_000_000])
@pytest.mark.parametrize("compression", [0, ZLIB])
def test_bodies_of_all_sizes(
    client: Client, picture: bytes, expected: list[float], size: int, compression: int
) -> None:
    """What follows a JPEG's end is not read, so that it may be of any size."""
    large = picture + bytes(max(size - len(picture), 0))
    for message, attachment in (
        (inference("net", raw=[element(large)]), b""),
        (inference("net"), large),
    ):
        reply = client.call(INFER, message, attachment=attachment, compression=compression)
        assert logits_of(reply) == pytest.approx(expected, abs=1e-4)


@pytest.mark.parametrize("content", [1, 2])
def test_json(client: Client, picture: bytes, expected: list[float], content: int) -> None:
    import base64

    body = {
        "model_name": "net",
        "unknown": 1,
        "inputs": [{"name": "image", "datatype": "BYTES", "shape": [1]}],
        "outputs": [{"name": "logits"}],
        "raw_input_contents": [base64.b64encode(element(picture)).decode()],
    }
    reply = client.call(INFER, json.dumps(body).encode(), content=content)
    assert (reply.code, reply.content) == (0, content)
    told = json.loads(reply.message)
    raw = told["raw_output_contents" if content == 1 else "rawOutputContents"][0]
    assert floats(base64.b64decode(raw)) == pytest.approx(expected, abs=1e-4)


def test_text(client: Client) -> None:
    reply = client.call("ModelReady", b'name: "net"', content=3)
    assert (reply.code, reply.message.strip()) == (0, b"ready: true")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (1, b"{"),
        (1, b"[" * 100_000),
        (1, b'{"model_name": 5}'),
        (1, b"\xff"),
        (1, b'{"model_name": "\\ud800"}'),
        (2, b'{"parameters": {"a": ' + b"9" * 5000 + b"}}"),
        (3, b"name {" * 100_000),
        (3, b"x: " + b"9" * 5000),
        (1, b" " * 5_000_000),
        (4, b""),
        (-1, b""),
    ],
)
def test_text_that_is_no_message(client: Client, content: int, message: bytes) -> None:
    assert client.call(INFER, message, content=content).code == 1003
    assert client.call(LIVE).code == 0


@pytest.mark.parametrize("field", [6, 8])
def test_chunks_and_streams_are_refused(client: Client, field: int) -> None:
    reply = client.call(LIVE, extra=field_of(field, field_of(1, 1)))
    assert reply.code == 1003
    assert "one frame" in reply.text


def test_a_meta_without_a_request_is_refused(client: Client) -> None:
    for meta in (b"", field_of(2, field_of(1, 0))):
        client.send(packed(meta))
        assert client.receive().code == 1003


def test_answers_come_as_they_are_done_and_not_as_they_were_asked(
    network: Path, picture: bytes
) -> None:
    with serving(models={"net": network}) as server, server.client() as client:
        message = inference("net", raw=[element(picture)], identity="slow")
        client.send(request(INFER, message, correlation=1))
        client.send(request(INFER, inference("net", raw=[element(picture)]), correlation=2))
        client.send(request(LIVE, correlation=3))
        assert {client.receive().correlation for _ in range(2)} == {2, 3}
        server.open_gate()
        last = client.receive()
        assert (last.correlation, last.code) == (1, 0)
        assert answer_of(last.message).identity == "slow"


def test_many_in_flight_are_bounded_and_all_answered(network: Path, picture: bytes) -> None:
    """More than a connection may have: the rest is not read before, and not refused."""
    with serving(models={"net": network}) as server, server.client() as client:
        number = 300
        for one in range(number):
            client.send(
                request(INFER, inference("none", identity="slow"), correlation=one + 1)
                if one
                else request(INFER, inference("net", raw=[element(picture)], identity="slow"))
            )
        server.until(lambda: len(server.service.waiting) == 1)
        server.open_gate()
        assert {client.receive().correlation for _ in range(number)} == set(range(1, number + 1))


def test_a_closed_connection_cancels_what_nobody_waits_for(network: Path, picture: bytes) -> None:
    with serving(models={"net": network}) as server:
        with server.client() as client:
            message = inference("net", raw=[element(picture)], identity="slow")
            client.send(request(INFER, message))
            server.until(lambda: server.service.waiting == ["slow"])
            client.send(request(INFER, message)[:-10])
        server.until(lambda: server.service.cancelled == ["slow"])
        server.until(lambda: server.service.budget.held == 0)


def test_an_expired_request_is_never_computed(network: Path, picture: bytes) -> None:
    with serving(models={"net": network}) as server, server.client() as client:
        message = inference("net", raw=[element(picture)])
        reply = client.call(INFER, message, timeout_ms=0)
        assert reply.code == 1008
        assert "deadline" in reply.text
        figures = server.service.metrics.text().decode()
        assert "fleetnet_batch_size_count" not in figures
        assert 'cause="deadline",model="net",protocol="brpc"} 1.0' in figures
        for limit in (60_000, -1):
            assert client.call(INFER, message, timeout_ms=limit).code == 0


def test_the_deadline_counts_from_the_first_byte(network: Path, picture: bytes) -> None:
    with serving(models={"net": network}) as server, server.client() as client:
        whole = request(INFER, inference("net", raw=[element(picture)]), timeout_ms=1)
        client.send(whole[:-1])
        server.until(lambda: server.service.budget.held > 0)
        client.send(whole[-1:])
        assert client.receive().code == 1008


def test_shedding_says_when_to_come_again(
    network: Path, picture: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def full(_: object) -> None:
        raise OverloadedError("the queue is full", retry_after=0.25)

    with serving(models={"net": network}) as server, server.client() as client:
        monkeypatch.setattr(server.service, "infer", full)
        reply = client.call(INFER, inference("net", raw=[element(picture)]))
        assert (reply.code, reply.text) == (2004, "the queue is full")
        assert reply.user == {"code": "overloaded", "retry_after": "0.25"}


def test_the_bytes_of_all_requests_are_bounded(network: Path, picture: bytes) -> None:
    """While one is being answered; another is refused, and the connection goes on."""
    limits = {"buffered": 150_000}
    with serving(models={"net": network}, limits=limits) as server, server.client() as client:
        large = inference("net", raw=[element(picture + bytes(100_000 - len(picture)))])
        slow = inference("net", raw=[element(picture + bytes(90_000))], identity="slow")
        client.send(request(INFER, slow, correlation=1))
        server.until(lambda: server.service.waiting == ["slow"])
        client.send(request(INFER, large, correlation=2) + request(LIVE, correlation=3))
        replies = {reply.correlation: reply for reply in (client.receive(), client.receive())}
        assert (replies[2].code, replies[2].user["code"]) == (2004, "overloaded")
        assert replies[3].code == 0
        server.open_gate()
        assert client.receive().code == 0
        server.until(lambda: server.service.budget.held == 0)
        assert client.call(INFER, large).code == 0


def test_a_body_over_the_limit_is_refused_and_those_after_it_are_answered(network: Path) -> None:
    limits = {"body": 50_000}
    with serving(models={"net": network}, limits=limits) as server, server.client() as client:
        client.send(request(INFER, bytes(3_000_000), correlation=1) + request(LIVE, correlation=2))
        first, second = client.receive(), client.receive()
        assert (first.code, second.code) == (1003, 0)
        assert "larger than 50,000 bytes" in first.text
        assert server.service.budget.held == 0


@pytest.mark.parametrize(
    "garbage",
    [
        b"GET / HTTP/1.1\r\n\r\n",
        b"P",
        b"PRPX",
        b"GDRB" + bytes(12),
        b"\x16\x03\x01\x02\x00\x01\x00",
        b"PRPC" + struct.pack("!II", 10, 11) + bytes(10),
        b"PRPC" + struct.pack("!II", 2**32 - 1, 2**32 - 1),
        b"PRPC" + struct.pack("!II", 2**32 - 1, 40_000),
        packed(b"\xff\xff\xff"),
        packed(field_of(1, field_of(1, b"\xff"))),
        request(LIVE)[4:],
    ],
)
def test_garbage_ends_its_connection_with_one_line(
    server: Server, garbage: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.WARNING, "fleetnet.serving"), server.client() as client:
        client.send(garbage)
        if garbage == b"P":
            client.socket.shutdown(socket.SHUT_WR)  # the beginning of a frame, cut off
        assert client.is_closed()
    assert len([one for one in caplog.records if one.levelno >= logging.WARNING]) == (
        garbage != b"P"
    )
    with server.client() as client:
        assert client.call(LIVE).code == 0


def test_slow_senders_and_readers_are_given_up(network: Path, picture: bytes) -> None:
    limits = {"body_seconds": 0.3}
    with serving(models={"net": network}, limits=limits) as server:
        for begun in (b"PR", request(LIVE, b"x" * 100)[:-1], request(LIVE, bytes(200_000))[:-1]):
            with server.client() as client:
                client.send(begun)
                assert client.is_closed()
        assert server.service.budget.held == 0
        with server.client() as client:
            assert client.call(LIVE).code == 0
            # Answers that nobody reads: when no more can be sent, no more requests are taken.
            message = inference("net", raw=[element(picture)], identity="x" * 200_000)
            with contextlib.suppress(OSError):
                for _ in range(1000):
                    client.send(request(INFER, message))
            server.until(lambda: not server.transport._connections)
        server.until(lambda: server.service.budget.held == 0)


def test_connections_are_bounded_and_idle_ones_make_room(network: Path) -> None:
    limits = {"connections": 2, "idle_seconds": 0.2}
    with serving(models={"net": network}, limits=limits) as server, contextlib.ExitStack() as stack:
        busy = stack.enter_context(server.client())
        busy.send(request(INFER, inference("net", identity="slow", raw=[element(b"x")])))
        server.until(lambda: server.service.waiting == ["slow"])
        idle = stack.enter_context(server.client())
        assert idle.call(LIVE).code == 0
        one_more = stack.enter_context(server.client())
        with contextlib.suppress(OSError):
            one_more.send(request(LIVE))
        assert one_more.is_closed()
        (which,) = (one for one in server.transport._connections if not one._tasks)
        server.until(lambda: which.idle(which._used + 1) and which not in _young(server))
        room = stack.enter_context(server.client())
        assert room.call(LIVE).code == 0
        assert idle.is_closed()
        server.open_gate()
        assert busy.receive().code == 1003


def _young(server: Server) -> list[Any]:
    import time

    return [one for one in server.transport._connections if one.idle(time.monotonic()) < 0.25]


def test_the_first_frame_of_a_connection_says_who_it_is(
    network: Path, picture: bytes, tokens: Path
) -> None:
    with serving(models={"net": network}, tokens=tokens) as server:
        message = inference("net", raw=[element(picture)])
        with server.client() as client:
            assert client.call(LIVE).code == 0
            assert client.call(INFER, message, secret=INFER_TOKEN).code == 0
            assert client.call(INFER, message).code == 0
            reply = client.call("RepositoryModelUnload", field_of(2, "net"))
            assert (reply.code, reply.user["code"]) == (1004, "forbidden")
            admin = client.call("RepositoryIndex", secret=f"Bearer {ADMIN_TOKEN}")
            assert admin.code == 0
            assert client.call("RepositoryModelUnload", field_of(2, "net")).code == 0
        for secret in (None, "wrong", "\udcff"):
            with server.client() as client:
                # Refused by its meta; the megabytes are passed over, not kept.
                sent = secret.encode("utf-8", "surrogateescape") if secret else None
                reply = client.call(INFER, bytes(5_000_000), secret=sent)
                assert (reply.code, reply.user["code"]) == (1004, "unauthenticated")
                assert client.is_closed()


def test_a_token_that_is_taken_back_ends_the_connections_that_gave_it(
    network: Path, tmp_path: Path
) -> None:
    file = tmp_path / "tokens"
    file.write_text(f"infer {INFER_TOKEN}\n")
    with serving(models={"net": network}, tokens=file) as server, server.client() as client:
        assert client.call("RepositoryIndex", secret=INFER_TOKEN).code == 0
        file.write_text(f"infer {ADMIN_TOKEN}\n")
        server.transport._calls._methods._tokens._checked -= 10  # when it looked last
        assert client.call("RepositoryIndex").code == 1004
        assert client.is_closed()


def test_draining_answers_what_was_taken_and_sends_others_away(
    network: Path, picture: bytes
) -> None:
    with serving(models={"net": network}) as server, server.client() as client:
        message = inference("net", raw=[element(picture)], identity="slow")
        client.send(request(INFER, message, correlation=1))
        server.until(lambda: server.service.waiting == ["slow"])
        server.service._draining = True
        reply = client.call(INFER, inference("net", raw=[element(picture)]), correlation=2)
        assert (reply.correlation, reply.code) == (2, 2003)
        server.service._draining = False  # for what waits before the service itself
        server.open_gate()
        server.run(server.transport.stop(60))
        assert client.receive().code == 0
        assert client.is_closed()
        with pytest.raises(ConnectionError):
            server.client()


def test_a_server_that_starts_says_so_and_is_not_left(network: Path, picture: bytes) -> None:
    with serving(models={"net": network}, start=False) as server, server.client() as client:
        assert client.call("ServerReady").message == b""
        reply = client.call(INFER, inference("net", raw=[element(picture)]))
        assert (reply.code, reply.user["code"]) == (2004, "unavailable")


def test_ids_and_traces_are_in_the_log(
    client: Client, picture: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    trace = "0af7651916cd43dd8448eb211c80319c"
    with caplog.at_level(logging.INFO, "fleetnet.serving"):
        client.call(
            INFER,
            inference("net", raw=[element(picture)]),
            request_id="abc",
            user={"traceparent": f"00-{trace}-b7ad6b7169203331-01"},
        )
        client.call(LIVE, request_id="bad id\n")
    first, second = (one.__dict__ for one in caplog.records if one.name == "fleetnet.serving")
    assert (first["request_id"], first["trace_id"], first["status"]) == ("abc", trace, 0)
    assert first["protocol"] == "brpc"
    assert first["model"] == "net"
    assert second["request_id"] != "bad id\n"


def test_an_error_that_nobody_foresaw_is_in_the_log_and_tells_nothing(
    network: Path, picture: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    with serving(models={"net": network}) as server, server.client() as client:
        monkeypatch.setattr("fleetnet.serving.methods.write_response", lambda *_: 1 / 0)
        reply = client.call(INFER, inference("net", raw=[element(picture)]))
        assert reply.code == 2001
        assert "division" not in reply.text


def test_gzip_is_that_of_files(client: Client) -> None:
    """Written by hand, so that it does not rest on the client's own idea of it."""
    meta = field_of(1, field_of(1, brpc_client.SERVICE) + field_of(2, LIVE)) + field_of(3, GZIP)
    client.send(packed(meta, gzip.compress(b"")))
    assert client.receive().message == field_of(1, 1)
    client.send(packed(meta, gzip.compress(b"") + gzip.compress(b"")))
    assert "not valid gzip" in client.receive().text


def test_the_port_follows_that_of_http(network: Path) -> None:
    def port(**values: object) -> int:
        return port_of(Settings.load_all(None, {}, values))

    assert port() == 8002
    assert port(port=0) == 0
    assert port(port=65534) == 0
    assert port(port=9000, brpc={"port": 9009}) == 9009
    variables = {"FLEETNET_SERVE_BRPC_PORT": "7", "FLEETNET_SERVE_BRPC_ENABLED": "false"}
    asked = Settings.load_all(None, variables, {"models": {"net": network}})
    assert asked.brpc.port == 7
    service = Service(repository_of(asked))
    assert "brpc" not in [one.name for one in transports(service, Tokens(None), asked)]
