"""Replicas on Ray, for a network that nobody else is in: test_replicas.py makes one for these."""

from __future__ import annotations

import base64
import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from starlette.testclient import TestClient

from serving.colours import write_network
from serving.logged_server import Server

pytestmark = pytest.mark.skipif(
    [name for _, name in socket.if_nameindex()] != ["lo"],
    reason="Ray binds to all addresses: test_replicas.py runs this in a network of its own",
)
TOKEN = {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": "f" * 64}
COMMAND = [sys.executable, "-m", "fleetnet", "serve", "--ray", "--log", "json"]


@contextlib.contextmanager
def serving_by_ray(folder: Path, *arguments: str) -> Iterator[Server]:
    """Start a service on a Ray of its own, and ask it to end; nothing of it may be left then."""
    log = folder / "log"
    with log.open("ab") as stream:
        process = subprocess.Popen(
            [*COMMAND, "--port", "0", *arguments], stderr=stream, env={**os.environ, **TOKEN}
        )
    try:
        yield Server(process, log)
        process.send_signal(signal.SIGINT)
        assert process.wait() == 0, log.read_text("utf-8")
        assert not rays()
    finally:
        process.kill()
        process.wait()


def rays(name: str = "") -> list[int]:
    """Return the processes of Ray that run, or those of a name."""
    found = []
    for status in Path("/proc").glob("[0-9]*/cmdline"):
        with contextlib.suppress(OSError):
            words = status.read_bytes().replace(b"\0", b" ").decode(errors="replace")
            if words.startswith(f"ray::{name}") or (not name and "/ray/" in words):
                found.append(int(status.parent.name))
    return found


def without_time(status: int, text: bytes) -> tuple[int, dict[str, Any]]:
    """Return an answer without what differs from one request to another."""
    found: dict[str, Any] = json.loads(text)
    return status, {key: value for key, value in found.items() if key not in ("id", "timing")}


def test_it_answers_as_a_server_alone_does(
    tmp_path: Path, network: Path, picture: bytes, net: TestClient
) -> None:
    as_json = {"Content-Type": "application/json"}
    encoded = base64.b64encode(picture).decode()
    asked: list[tuple[str, str, bytes, dict[str, str]]] = [
        ("POST", "/classify?top_k=2&probabilities=true", picture, {}),
        ("POST", "/classify", json.dumps({"images": [encoded, "AAAA"]}).encode(), as_json),
        ("POST", "/classify", json.dumps({"image": "!"}).encode(), as_json),
        ("POST", "/classify", b"no picture", {}),
        ("POST", "/classify", b"", {}),
        ("POST", "/classify?model=other", picture, {}),
        ("POST", "/classify", picture, {"Content-Type": "text/html"}),
        ("POST", "/explain", picture, {}),
        ("GET", "/v2/models/net", b"", {}),
        ("GET", "/v2/health/ready", b"", {}),
        ("GET", "/nowhere", b"", {}),
        ("GET", "/classify", b"", {}),
    ]
    with serving_by_ray(tmp_path, f"net={network}") as server:
        for method, path, body, headers in asked:
            alone = net.request(method, path, content=body, headers=headers)
            expected = without_time(alone.status_code, alone.content)
            assert without_time(*server.ask(method, path, body, **headers)) == expected, path
        status, text = server.ask("POST", "/v2/repository/models/net/unload")
        assert (status, json.loads(text)["code"]) == (403, "fixed-models")
        assert server.counted("fleetnet_workers_ready") == 1
        assert server.counted("fleetnet_requests_total") == 2
        assert server.lines()[-1]["protocol"] == "rest"  # what replicas log is here too


def test_a_model_that_cannot_be_loaded_is_one_line(tmp_path: Path, network: Path) -> None:
    done = subprocess.run(
        [*COMMAND, "--port", "0", f"net={network}", "--device", "no-such-device"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 2, done.stderr
    last = done.stderr.strip().splitlines()[-1]
    assert last.startswith("error: the replicas cannot start: ")
    assert "no-such-device" in last
    assert "Traceback" not in done.stderr
    assert not rays()


def test_what_a_killed_replica_leaves_others_answer(
    tmp_path: Path, network: Path, picture: bytes
) -> None:
    with serving_by_ray(tmp_path, f"net={network}", "--replicas", "2") as server:
        first, _ = former = rays("ServeReplica:fleetnet:")
        os.kill(first, signal.SIGKILL)
        statuses = [server.ask("POST", "/classify", picture)[0] for _ in range(100)]
        assert set(statuses) <= {200, 500}  # what the killed one had in work
        assert statuses[-50:] == [200] * 50
        while len(there := rays("ServeReplica:fleetnet:")) < 2 or set(there) <= set(former):
            time.sleep(0.1)
        server.wait_for("a replica is ready", 3)
        assert server.ask("POST", "/classify", picture)[0] == 200


@pytest.mark.parametrize("replicas", ["1", "2..3"])
def test_no_request_is_lost_while_another_bundle_takes_the_place(
    tmp_path: Path, network: Path, picture: bytes, replicas: str
) -> None:
    stop = threading.Event()
    other = write_network(tmp_path / "colours.onnx")

    def ask() -> list[tuple[int, str]]:
        found = []
        while not stop.is_set():
            status, text = server.ask("POST", "/classify", picture)
            found.append((status, json.loads(text).get("bundle", text)))
        return found

    with (
        serving_by_ray(tmp_path, f"net={network}", "--replicas", replicas) as server,
        ThreadPoolExecutor(3) as clients,
    ):
        asked = [clients.submit(ask) for _ in range(3)]
        try:
            address = server.wait_for("ray is started")["address"]
            deploy = [*COMMAND, "--ray-address", address, "--replicas", replicas]
            if replicas == "1":
                bad = [*deploy, f"net={other}", "--device", "no-such-device"]
                assert subprocess.run(bad, env={**os.environ, **TOKEN}, check=False).returncode == 2
            subprocess.run([*deploy, f"net={other}"], check=True, env={**os.environ, **TOKEN})
            before = time.monotonic()
            now = json.loads(server.ask("POST", "/classify", picture)[1])["bundle"]
            while time.monotonic() - before < 2:
                assert json.loads(server.ask("POST", "/classify", picture)[1])["bundle"] == now
        finally:
            stop.set()
        answers = [one.result() for one in asked]
        assert {status for one in answers for status, _ in one} == {200}
        old = {one[0][1] for one in answers}
        assert len(old) == 1
        assert {one[-1][1] for one in answers} == {now}
        assert {bundle for one in answers for _, bundle in one} == old | {now}
        # What another replica has counted is there a second later.
        while server.counted("fleetnet_requests_total") < sum(map(len, answers)):
            time.sleep(0.2)
