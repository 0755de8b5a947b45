"""A server in a process of its own, on a port of this machine: clients that behave, and others."""

from __future__ import annotations

import contextlib
import json
import os
import re
import signal
import socket
import ssl
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import grpc
import pytest

from fleetnet.conformance.files import ConformanceSet
from fleetnet.inference.classifier import Classifier
from fleetnet.serving.rest.server import bind
from samples import ROOT
from serving import messages_of
from serving.grpc_client import unary

pytestmark = pytest.mark.slow

TRITON = ROOT / ".venv-triton" / "bin" / "python"
needs_triton = pytest.mark.skipif(
    not (ROOT / ".venv-triton" / ".made").exists(),
    reason="make .venv-triton/.made installs tritonclient",
)
HERE = Path(__file__).parent
LONG = 60.0
POST = "POST /classify HTTP/1.1\r\nHost: localhost\r\n"
GET = "GET /v2 HTTP/1.1\r\nHost: localhost\r\n"
LIMITS = {"HEADER": 4096, "BODY": 100_000, "HEADER_SECONDS": 1, "BODY_SECONDS": 1}


class Server:
    """A running server."""

    def __init__(self, process: subprocess.Popen[str], address: str) -> None:
        self.process = process
        self.address = address
        host, _, port = address.partition("://")[2].rpartition(":")
        self.place = (host, int(port))

    def address_of(self, protocol: str) -> str:
        """Return where another protocol listens, host and port."""
        assert self.process.stderr is not None
        for line in self.process.stderr:
            told = json.loads(line)
            if (told["event"], told.get("protocol")) == ("ready", protocol):
                return str(told["address"]).partition("://")[2]
        raise AssertionError(protocol)

    def talk(self, *pieces: bytes) -> bytes:
        """Send pieces on one connection, and return all that comes until it is closed."""
        with socket.create_connection(self.place, LONG) as connection:
            with contextlib.suppress(OSError):
                for piece in pieces:
                    connection.sendall(piece)
            got = b""
            with contextlib.suppress(ConnectionError):
                while piece := connection.recv(65536):
                    got += piece
            return got

    def post(self, path: str, body: bytes, **headers: str) -> tuple[int, Any]:
        request = urllib.request.Request(self.address + path, body, headers)  # noqa: S310
        try:
            with urllib.request.urlopen(request, timeout=LONG) as response:  # noqa: S310
                return response.status, json.loads(response.read() or b"null")
        except urllib.error.HTTPError as error:
            with error:
                return error.code, json.loads(error.read())


@contextlib.contextmanager
def running(*arguments: str, **variables: object) -> Iterator[Server]:
    """Start a server on any free port, and end it, whatever happens."""
    environment = dict(os.environ)
    environment |= {f"FLEETNET_SERVE_{key}": str(value) for key, value in variables.items()}
    command = [sys.executable, "-m", "fleetnet", "serve", *arguments, "--port", "0"]
    process = subprocess.Popen(
        [*command, "--log", "json", "--threads", "1"],
        stderr=subprocess.PIPE,
        text=True,
        env=environment,
    )
    try:
        assert process.stderr is not None
        told = ""
        for line in process.stderr:
            told += line
            if '"ready"' in line:
                yield Server(process, json.loads(line)["address"])
                break
        else:
            pytest.fail(told)
    finally:
        process.kill()
        process.communicate()


@pytest.fixture(scope="module")
def server(network: Path) -> Iterator[Server]:
    variables = {f"LIMITS_{key}": value for key, value in LIMITS.items()}
    with running(f"net={network}", **variables) as started:
        yield started
        assert started.process.poll() is None  # nothing that was sent has ended it


def request_of(body: bytes, *headers: str, path: str = "/classify") -> bytes:
    lines = [f"POST {path} HTTP/1.1", "Host: localhost", f"Content-Length: {len(body)}", *headers]
    return "\r\n".join([*lines, "", ""]).encode() + body


def whole(connection: socket.socket) -> bytes:
    """Return one response, to the last byte of its body."""
    got = b""
    while b"\r\n\r\n" not in got:
        got += connection.recv(65536)
    head, _, body = got.partition(b"\r\n\r\n")
    length = re.search(rb"content-length: (\d+)", head)
    assert length is not None
    while len(body) < int(length[1]):
        body += connection.recv(65536)
    return got


def statuses(got: bytes) -> list[int]:
    return [int(status) for status in re.findall(rb"HTTP/1\.1 (\d{3})", got)]


def test_it_answers_as_the_classifier_does(server: Server, network: Path, picture: bytes) -> None:
    status, answer = server.post("/classify?top_k=4", picture)
    assert status == 200
    with Classifier(network) as classifier:
        (expected,) = classifier.predict(picture)
    top = answer["predictions"][0]["top"]
    assert [score["class"] for score in top] == [score.label for score in expected.top]


def by_triton(script: Path, *arguments: object, cwd: Path | None = None) -> str:
    """Return what a script prints in the environment of the stock clients."""
    ran = subprocess.run(
        [TRITON, script, *map(str, arguments)],
        capture_output=True,
        text=True,
        timeout=LONG,
        check=False,
        cwd=cwd,
    )
    assert ran.returncode == 0, ran.stderr
    return ran.stdout


@needs_triton
def test_the_stock_client_of_the_protocol(server: Server, conformance: ConformanceSet) -> None:
    picture = next(one for one in conformance.description.pictures if one.name == "jpeg-baseline")
    address, image = server.address.removeprefix("http://"), conformance.path / picture.file
    told = json.loads(by_triton(HERE / "triton_client.py", address, image))
    assert told["inputs"] == ["image", "pixels"]
    for logits in told["answers"].values():
        assert logits == pytest.approx(
            picture.logits, abs=conformance.description.network.tolerance
        )
    assert told["black"] == [1, 4]
    assert told["unloaded"] is False
    assert [entry["state"] for entry in told["index"]] == ["READY"]
    assert "no model 'other' is loaded" in told["refusal"]


@needs_triton
def test_the_stock_client_of_the_protocol_over_grpc(
    network: Path, conformance: ConformanceSet
) -> None:
    picture = next(one for one in conformance.description.pictures if one.name == "jpeg-baseline")
    with running(f"net={network}") as server:
        address = server.address_of("grpc")
        script = HERE / "triton_grpc_client.py"
        told = json.loads(by_triton(script, address, conformance.path / picture.file))
    assert told["inputs"] == ["image", "pixels"]
    assert len(told["answers"]) == 6
    for way, logits in told["answers"].items():
        tolerance = conformance.description.network.tolerance
        assert logits == pytest.approx(picture.logits, abs=tolerance), way
    assert sorted(told["streamed"]) == sorted(map(str, range(20)))
    assert told["wrong"].startswith("image 0: ")
    assert [text.split(":")[1] for text in told["best"]] == ["1", "2"]
    assert told["black"] == [1, 4]
    assert told["unloaded"] is False
    assert told["index"] == [["net", "1", "READY"]]
    assert told["refusals"] == ["StatusCode.NOT_FOUND", "StatusCode.DEADLINE_EXCEEDED"]


@needs_triton
def test_the_code_in_the_documents_gets_an_answer_over_grpc(
    network: Path, picture: bytes, tmp_path: Path
) -> None:
    pages = (ROOT / "docs" / "serving.md").read_text("utf-8")
    (code,) = re.findall(r"```python\n(import[^`]*tritonclient\.grpc.*?)```", pages, re.DOTALL)
    (tmp_path / "photo.jpg").write_bytes(picture)
    with running(f"shapes={network}") as server:
        (tmp_path / "code.py").write_text(
            code.replace("127.0.0.1:8001", server.address_of("grpc")), "utf-8"
        )
        told = by_triton(tmp_path / "code.py", cwd=tmp_path)
    assert len(re.findall(r"\[\[.*?\]\]", told)) == 3


@needs_triton
def test_the_protocol_is_the_published_one() -> None:
    """Where this fails after a new tritonclient, the file is written anew by the script."""
    ours = (ROOT / "src" / "fleetnet" / "serving" / "open_inference.proto").read_text("utf-8")
    assert by_triton(HERE / "published_proto.py") == ours


def test_what_is_no_grpc_does_no_harm_and_writes_no_lines_of_its_own(
    network: Path, picture: bytes
) -> None:
    preface = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
    settings = preface + b"\0\0\0\4\0\0\0\0\0"
    with running(f"net={network}", LIMITS_HEADER_SECONDS=1, LIMITS_IDLE_SECONDS=1) as server:
        host, _, port = server.address_of("grpc").rpartition(":")
        strange = Server(server.process, f"grpc://{host}:{port}")
        for sent in (
            b"",
            b"\0" * 100,
            GET.encode(),
            b"\x16\x03\x01\x02\0\1\0",
            preface,
            preface + b"\xff" * 99,
            settings + b"\0\0\5\1\5\0\0\0\1\xff\xff\xff\xff\xff",
            settings + b"\xff\xff\xff\1\5\0\0\0\1",
        ):
            strange.talk(sent)
        with grpc.insecure_channel(f"{host}:{port}") as channel:
            data = messages_of.request_of([picture]).SerializeToString()
            assert unary(channel, "ModelInfer")(data, timeout=LONG)
        server.process.send_signal(signal.SIGTERM)
        assert server.process.stderr is not None
        lines = [json.loads(line) for line in server.process.stderr]
        assert [line["event"] for line in lines][-2:] == ["draining", "drained"]
        assert server.process.wait(LONG) == 0


def test_requests_on_one_connection_are_answered_in_their_order(
    server: Server, picture: bytes
) -> None:
    got = server.talk(
        request_of(picture) + request_of(b"none") + request_of(picture, "Connection: close")
    )
    assert statuses(got) == [200, 400, 200]


@pytest.mark.parametrize(
    ("sent", "expected"),
    [
        # Two lengths, or a length and chunks: a proxy may have seen another request than we do.
        (
            f"{POST}Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n{GET}\r\n",
            400,
        ),
        (f"{POST}Content-Length: 5\r\nContent-Length: 6\r\n\r\nabcdef", 400),
        (f"{POST}Content-Length: +5\r\n\r\nabcde", 400),
        (f"{POST}Transfer-Encoding: xchunked\r\n\r\n0\r\n\r\n", 400),
        (f"{POST}Transfer-Encoding: chunked\r\n\r\nz\r\n", 400),
        ("\x16\x03\x01\x02\x00\x01\x00", 400),
        (f"{GET}Bad Header: 1\r\n\r\n", 400),
        (f"GET /{'a' * 5000} HTTP/1.1\r\nHost: localhost\r\n\r\n", 431),
        (f"{GET}A: {'a' * 5000}\r\n\r\n", 431),
        (GET + "A: a\r\n" * 1000, 431),
    ],
)
def test_what_is_no_request_is_refused_once_and_the_connection_closed(
    server: Server, sent: str, expected: int
) -> None:
    assert statuses(server.talk(sent.encode())) == [expected]


def test_a_sender_that_is_too_slow_is_given_up(server: Server, picture: bytes) -> None:
    assert server.talk(b"POST /classify HTTP/1.1\r\nHost:") == b""
    got = server.talk(request_of(picture)[:-10])
    assert statuses(got) == [408]
    assert server.post("/classify", picture)[0] == 200


def test_a_body_over_the_limit_is_refused_before_it_is_read(server: Server) -> None:
    head = b"POST /classify HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1000000\r\n\r\n"
    assert statuses(server.talk(head)) == [413]


def test_clients_that_go_away_do_no_harm(server: Server, picture: bytes) -> None:
    for sent in (request_of(picture), request_of(picture)[:200], b"POST /cl"):
        for _ in range(5):
            with socket.create_connection(server.place, LONG) as connection:
                connection.sendall(sent)
    assert server.post("/classify", picture)[0] == 200


def test_connections_over_the_limit_are_closed(network: Path, picture: bytes) -> None:
    with running(f"net={network}", LIMITS_CONNECTIONS=2) as server, contextlib.ExitStack() as stack:
        held = [stack.enter_context(socket.create_connection(server.place, LONG)) for _ in range(2)]
        for connection in held:  # a response proves that it was accepted
            connection.sendall(b"GET /v2/health/live HTTP/1.1\r\nHost: localhost\r\n\r\n")
            assert statuses(whole(connection)) == [200]
        assert server.talk(request_of(picture)) == b""
        held[0].sendall(request_of(picture))
        assert statuses(whole(held[0])) == [200]


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no such signal")
def test_a_signal_lets_it_answer_what_it_has_and_end_well(network: Path, picture: bytes) -> None:
    with running(f"net={network}") as server:
        with socket.create_connection(server.place, LONG) as connection:
            connection.sendall(request_of(picture))
            assert statuses(whole(connection)) == [200]
            server.process.send_signal(signal.SIGTERM)
        assert server.process.wait(LONG) == 0


@pytest.mark.parametrize(
    ("flag", "said"),
    [
        ("--port", "127.0.0.1:PORT"),
        (
            "--grpc-port",
            "127.0.0.1:PORT for gRPC: choose another with --grpc-port",
        ),
    ],
)
def test_a_port_that_is_taken_is_one_line(network: Path, flag: str, said: str) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        command = [sys.executable, "-m", "fleetnet", "serve", f"net={network}", "--port", "0"]
        ran = subprocess.run(
            [*command, flag, str(port)],
            capture_output=True,
            text=True,
            timeout=LONG,
            check=False,
        )
    assert ran.returncode == 2
    assert f"error: cannot listen on {said.replace('PORT', str(port))}" in ran.stderr
    assert "Traceback" not in ran.stderr


def test_answers_are_not_held_back() -> None:
    """Of sockets that do not name TCP, asyncio leaves on what waits for more to send."""
    with bind("127.0.0.1", 0) as listening:
        assert listening.proto == socket.IPPROTO_TCP


def test_tls_and_certificates_of_clients(certificates: Path, network: Path, picture: bytes) -> None:
    certificate, key = certificates / "cert.pem", certificates / "key.pem"
    variables = {"CERTIFICATE": certificate, "KEY": key, "CLIENT_CA": certificate}
    with running(
        f"net={network}", **{f"TLS_{name}": value for name, value in variables.items()}
    ) as server:
        assert server.address.startswith("https://")
        request = urllib.request.Request(server.address + "/classify", picture)  # noqa: S310
        stranger = ssl.create_default_context(cafile=certificate)
        with pytest.raises((urllib.error.URLError, ConnectionError, ssl.SSLError)):
            urllib.request.urlopen(request, timeout=LONG, context=stranger)  # noqa: S310
        stranger.load_cert_chain(certificate, key)
        with urllib.request.urlopen(request, timeout=LONG, context=stranger) as response:  # noqa: S310
            assert response.status == 200


def test_a_certificate_that_is_none_is_one_line(network: Path, tmp_path: Path) -> None:
    (tmp_path / "cert.pem").write_text("nothing")
    ran = subprocess.run(
        [sys.executable, "-m", "fleetnet", "serve", f"net={network}", "--port", "0"],
        capture_output=True,
        text=True,
        timeout=LONG,
        check=False,
        env={**os.environ, "FLEETNET_SERVE_TLS_CERTIFICATE": str(tmp_path / "cert.pem")},
    )
    assert ran.returncode == 2
    assert "error: the TLS files cannot be used" in ran.stderr
    assert "Traceback" not in ran.stderr
