"""bRPC in a server's process: its port, its certificates, and its end."""

from __future__ import annotations

import json
import signal
import ssl
import sys
from pathlib import Path

import pytest

from serving.brpc_client import Client, element, floats, inference
from serving.brpc_client import answer_of as answer_in
from serving.brpc_server import serving
from serving.test_process import Server, running

pytestmark = pytest.mark.slow
LONG = 60


def place_of(server: Server) -> tuple[str, int]:
    """Return where bRPC is, which the log says after where HTTP is."""
    assert server.process.stderr is not None
    for line in server.process.stderr:
        told = json.loads(line)
        if told.get("protocol") == "brpc":
            scheme, _, address = told["address"].partition("://")
            assert scheme == "baidu_std"
            return address.rpartition(":")[0], int(address.rpartition(":")[2])
    raise AssertionError("the log does not say where bRPC is")


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no such signal")
def test_a_signal_lets_it_answer_what_it_has_and_end_well(network: Path, picture: bytes) -> None:
    with running(f"net={network}", "--brpc-port", "0") as server:
        with Client(place_of(server)) as client:
            reply = client.call("ModelInfer", inference("net", raw=[element(picture)]))
            assert reply.code == 0
            server.process.send_signal(signal.SIGTERM)
            assert client.is_closed()
        assert server.process.wait(LONG) == 0


def test_tls_and_certificates_of_clients(certificates: Path, network: Path, picture: bytes) -> None:
    certificate, key = certificates / "cert.pem", certificates / "key.pem"
    tls = {"certificate": certificate, "key": key, "client_ca": certificate}
    with serving(models={"net": network}, tls=tls) as server:
        assert server.transport.address.startswith("baidu_stds://")
        context = ssl.create_default_context(cafile=certificate)
        with (
            pytest.raises((ssl.SSLError, ConnectionError, EOFError)),
            Client(server.place, context) as stranger,
        ):
            stranger.call("ServerLive")
        context.load_cert_chain(certificate, key)
        with Client(server.place, context) as client:
            large = picture + bytes(3_000_000)
            for message, attachment in (
                (inference("net", raw=[element(large)]), b""),
                (inference("net"), large),
            ):
                reply = client.call("ModelInfer", message, attachment=attachment)
                assert reply.code == 0
                assert len(floats(answer_in(reply.message).raw[0])) == 4
