"""The stock bRPC client and server, in a program of others: frames and connections are theirs too.

It has a service of its own, whose one method takes bytes, and which the server has in these tests.
"""

from __future__ import annotations

import socket
import subprocess
from pathlib import Path

import pytest

from fleetnet.serving.brpc import transport
from fleetnet.serving.brpc.calls import Calls, Incoming
from fleetnet.serving.brpc.connection import Connection
from fleetnet.serving.brpc.frames import packed
from fleetnet.serving.brpc.meta import RpcMeta
from samples import ROOT
from serving.brpc_client import Client, field_of
from serving.brpc_server import serving

STOCK = ROOT / ".venv-brpc" / "bin" / "python"
LINK = "org.interconnection.link.ReceiverService"
NUMBER, SIZE, LONG = 20, 900_000, 60
pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not STOCK.exists(), reason="make .venv-brpc/.made installs it"),
]


class Receiving(Calls):
    """Takes what the stock client sends, whatever service it asks for."""

    metas: list[RpcMeta]
    sizes: list[int]

    def check(self, incoming: Incoming, rest: int) -> None:
        pass

    async def answer(self, incoming: Incoming, rest: bytes | memoryview) -> list[bytes]:
        self.metas.append(incoming.meta)
        self.sizes.append(len(rest))
        reply = RpcMeta(correlation_id=incoming.meta.correlation_id)
        reply.response.error_code = 0
        return packed(reply)


def start(
    kind: str, place: tuple[str, int], port: int, number: int = NUMBER
) -> subprocess.Popen[str]:
    addresses = [f"{place[0]}:{place[1]}", f"127.0.0.1:{port}"]
    return subprocess.Popen(
        [
            STOCK,
            Path(__file__).with_name("stock_brpc.py"),
            kind,
            *addresses,
            str(number),
            str(SIZE),
        ],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def ended(process: subprocess.Popen[str]) -> tuple[str, str]:
    try:
        return process.communicate(timeout=LONG)
    finally:
        process.kill()
        process.communicate()


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        return int(taken.getsockname()[1])


@pytest.mark.parametrize("kind", ["short", "pooled", "single"])
def test_the_stock_client_is_understood_and_the_stock_server_understands_ours(
    kind: str, network: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(transport, "Calls", Receiving)
    Receiving.metas, Receiving.sizes = [], []
    with serving(models={"net": network}) as server:
        opened: list[object] = []
        once = server.transport._opened

        def counted(connection: Connection) -> bool:
            opened.append(connection)
            return once(connection)

        monkeypatch.setattr(server.transport, "_opened", counted)
        port = free_port()
        process = start(kind, server.place, port)
        try:
            server.until(lambda: Receiving.metas)
            with Client(("127.0.0.1", port)) as client:
                for key, value in (("connect_1\x01\x020", ""), ("t:P2P-1:1->0\x01\x021", "heard")):
                    message = field_of(1, 1) + field_of(2, key) + field_of(3, value)
                    assert client.call("Push", message, service=LINK).code == 0
            server.until(lambda: sum(size > SIZE for size in Receiving.sizes) == NUMBER)
            told, failed = ended(process)
        finally:
            process.kill()
    assert (told, failed) == ("heard\n", "")
    assert {one.request.service_name for one in Receiving.metas} == {LINK}
    assert len({one.correlation_id for one in Receiving.metas}) == len(Receiving.metas)
    number = len(opened)
    assert number == (1 if kind == "single" else len(Receiving.metas)) or kind == "pooled"
    assert kind != "pooled" or number < len(Receiving.metas)


def test_the_stock_client_is_told_why_not(network: Path) -> None:
    with serving(models={"net": network}) as server:
        told, _ = ended(start("single", server.place, free_port(), 0))
    assert f"[E1001]there is no service '{LINK}'" in told
