"""A server of two workers on a port of this machine: kills, swaps and ends under load."""

from __future__ import annotations

import contextlib
import http.client
import json
import os
import re
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from fleetnet.serving.config import Settings
from fleetnet.serving.workers.shares import held_ports
from serving.logged_server import LONG, Server, running

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(sys.platform != "linux", reason="several workers need Linux"),
]

WORKERS = 2
TWO = ("--workers", "2")


@pytest.fixture
def server(network: Path, tmp_path: Path) -> Iterator[Server]:
    with running(tmp_path, *TWO, f"net={network}") as start:
        yield start()


def by_all_workers(server: Server, method: str, path: str, body: bytes = b"") -> set[int]:
    """Ask until every worker has answered, by its lines in the log; return the statuses."""
    prefix = f"{method}-{time.monotonic_ns()}"
    statuses: set[int] = set()
    number = 0
    while True:
        number += 1
        headers = {"X-Request-Id": f"{prefix}-{number}"}
        statuses.add(server.ask(method, path, body, **headers)[0])
        ours = [one for one in server.lines() if one.get("request_id", "").startswith(prefix)]
        if len({one["worker"] for one in ours}) == WORKERS:
            return statuses


def status_of(connection: socket.socket) -> int:
    """Read one response to its end."""
    response = http.client.HTTPResponse(connection)
    response.begin()
    with response:
        response.read()
        return response.status


def is_gone(process: int) -> bool:
    """Tell whether a process has ended, even if nobody has asked how."""
    try:
        status = Path(f"/proc/{process}/stat").read_text("utf-8")
    except OSError:
        return True
    return status.rpartition(")")[2].split()[0] == "Z"


def wait_until_gone(processes: list[int]) -> None:
    while not all(map(is_gone, processes)):
        time.sleep(0.02)


def test_all_workers_answer_and_count_together(server: Server, picture: bytes) -> None:
    with ThreadPoolExecutor(4) as clients:
        statuses = list(
            clients.map(lambda _: server.ask("POST", "/classify", picture)[0], range(64))
        )
    assert statuses == [200] * 64
    answers = [line for line in server.lines() if line["event"] == "POST /classify"]
    assert {line["worker"] for line in answers} == {0, 1}
    assert server.counted("fleetnet_requests_total") == 64
    assert server.counted("fleetnet_queue_seconds_count") == 64
    assert server.counted("fleetnet_ready") == 1
    assert server.counted("fleetnet_workers_ready") == WORKERS


def test_a_worker_that_is_killed_is_started_anew_and_no_client_notices(
    server: Server, picture: bytes
) -> None:
    stop = threading.Event()

    def ask(number: int) -> tuple[int, set[int]]:
        times, statuses = 0, set()
        while not stop.is_set():
            times += 1
            identity = f"{number}-{times}"
            statuses.add(server.ask_again(picture, **{"X-Request-Id": identity}))
        return times, statuses

    with ThreadPoolExecutor(3) as clients:
        asked = [clients.submit(ask, number) for number in range(3)]
        try:
            counted = server.counted("fleetnet_requests_total")
            for times, process in enumerate(server.workers(), 1):
                os.kill(process, signal.SIGKILL)
                server.wait_for("a worker is ready again", times)
                former, counted = counted, server.counted("fleetnet_requests_total")
                assert counted >= former
        finally:
            stop.set()
        assert all(one.result()[1] == {200} for one in asked)
    died = server.wait_for("a worker ended", WORKERS)
    assert (died["level"], died["ended_by"]) == ("error", "SIGKILL")
    assert server.counted("fleetnet_worker_deaths_total") == WORKERS
    assert by_all_workers(server, "POST", "/classify", picture) == {200}


def test_loading_and_unloading_reach_all_workers_and_those_started_anew(
    versions: Path, tmp_path: Path, picture: bytes
) -> None:
    one, two = "/classify?version=1", "/classify?version=2"
    with running(tmp_path, *TWO, "--folder", str(versions)) as start:
        server = start()
        assert by_all_workers(server, "POST", two, picture) == {200}
        unload = "/v2/repository/models/shapes/unload"
        assert server.ask("POST", unload, b'{"parameters": {"version": "2"}}')[0] == 200
        assert by_all_workers(server, "POST", two, picture) == {404}
        assert by_all_workers(server, "POST", one, picture) == {200}
        process = server.workers()[0]
        os.kill(process, signal.SIGKILL)
        server.wait_for("a worker is ready again")
        assert by_all_workers(server, "POST", two, picture) == {404}
        load = "/v2/repository/models/shapes/load"
        parameters = {"version": "2", "default": True}
        assert server.ask("POST", load, json.dumps({"parameters": parameters}).encode())[0] == 200
        assert by_all_workers(server, "POST", two, picture) == {200}
        _, answer = server.ask("POST", "/classify", picture)
        assert json.loads(answer)["version"] == "2"
        status, answer = server.ask("POST", "/v2/repository/models/other/load", b"{}")
        assert (status, json.loads(answer)["code"]) == (404, "not-found")
        manifest = versions / "shapes" / "2" / "fleetnet.json"
        kept = manifest.read_text("utf-8")
        manifest.write_text("{", "utf-8")
        try:
            status, answer = server.ask("POST", load, b'{"parameters": {"version": "2"}}')
        finally:
            manifest.write_text(kept, "utf-8")
        assert (status, json.loads(answer)["code"]) == (400, "damaged")
        assert "workers cannot" not in json.loads(answer)["error"]
        assert by_all_workers(server, "POST", two, picture) == {200}
        assert by_all_workers(server, "POST", "/v2/repository/index", b"{}") == {200}


@pytest.mark.parametrize("protocol", ["grpc", "brpc"])
def test_all_workers_answer_over_every_protocol(
    server: Server, picture: bytes, protocol: str
) -> None:
    infer = server.infer_by_grpc if protocol == "grpc" else server.infer_by_brpc
    asked = 0
    while True:
        asked += 1
        infer("net", picture)
        lines = [line for line in server.lines() if line.get("protocol") == protocol]
        if {line["worker"] for line in lines if "status" in line} == {0, 1}:
            break
    assert server.counted("fleetnet_requests_total") == asked


def test_all_workers_compute_heat_maps(server: Server, picture: bytes) -> None:
    """Each has the limit of its own."""
    asked = 0
    while True:
        asked += 1
        assert server.ask("POST", "/explain", picture)[0] == 200
        lines = [line for line in server.lines() if line["event"] == "POST /explain"]
        if {line["worker"] for line in lines} == {0, 1}:
            break
    assert server.counted("fleetnet_explanations_total") == asked


def test_a_supervisor_that_is_killed_leaves_nothing(server: Server) -> None:
    workers = server.workers()
    assert len(workers) == WORKERS
    server.process.kill()
    server.process.wait(LONG)
    wait_until_gone(workers)
    with contextlib.suppress(ConnectionRefusedError):
        while True:  # the last thread of a process ends after the one that shows its state
            with contextlib.suppress(ConnectionResetError):
                socket.create_connection(server.place, LONG).close()


@pytest.mark.parametrize("to_all", [False, True], ids=["to the supervisor", "to the whole group"])
def test_a_signal_lets_all_workers_answer_what_they_have(
    server: Server, picture: bytes, to_all: bool
) -> None:
    length = str(len(picture)).encode()
    head = b"POST /classify HTTP/1.1\r\nHost: localhost\r\nContent-Length: " + length + b"\r\n\r\n"
    with contextlib.ExitStack() as stack:
        connections = [
            stack.enter_context(socket.create_connection(server.place, LONG)) for _ in range(16)
        ]
        for connection in connections:  # an answer proves that it was accepted
            connection.sendall(head + picture)
            assert status_of(connection) == 200
        for connection in connections:
            connection.sendall(head + picture)
        for process in [server.process.pid, *(server.workers() if to_all else [])]:
            os.kill(process, signal.SIGTERM)
        for connection in connections:
            assert status_of(connection) in (200, 503)
        assert server.process.wait(LONG) == 0
    wait_until_gone(server.workers())
    assert "a worker ended" not in {line["event"] for line in server.lines()}


def test_a_worker_that_is_asked_to_end_alone_is_replaced(server: Server, picture: bytes) -> None:
    assert server.ask("POST", "/classify", picture)[0] == 200
    os.kill(server.workers()[0], signal.SIGTERM)
    assert server.wait_for("a worker ended")["level"] == "info"
    server.wait_for("a worker is ready again")
    assert by_all_workers(server, "POST", "/classify", picture) == {200}
    assert server.counted("fleetnet_worker_deaths_total") == 0


def refused(*arguments: str) -> list[str]:
    """Return what else than events a server says that is not to start."""
    command = [sys.executable, "-m", "fleetnet", "serve", *arguments, *TWO]
    ran = subprocess.run(command, capture_output=True, text=True, timeout=LONG, check=False)
    assert ran.returncode == 2, ran.stderr
    return [line for line in ran.stderr.splitlines() if not re.match(r"\d{4}-\d\d-\d\dT", line)]


def test_a_bundle_that_no_worker_can_load_is_one_line_and_leaves_nothing(tmp_path: Path) -> None:
    (tmp_path / "bad.onnx").write_bytes(b"nothing")
    with running(tmp_path, *TWO, "--folder", str(tmp_path)) as start:
        with pytest.raises(pytest.fail.Exception):
            start()
        log = (tmp_path / "log").read_text("utf-8").splitlines()
    events = [json.loads(line) for line in log if line.startswith("{")]
    assert [line for line in log if not line.startswith("{")] == [log[-1]]
    assert log[-1].startswith("error: ")
    assert "bad.onnx" in log[-1]
    wait_until_gone([line["worker_process"] for line in events if "worker_process" in line])


def test_a_port_that_other_workers_share_is_taken(network: Path) -> None:
    with held_ports(Settings(port=0)) as held:
        said = refused(f"net={network}", "--port", str(held.port))
    assert said == [
        f"error: cannot listen on 127.0.0.1:{held.port}: Address already in use; choose another"
    ]


def test_settings_of_a_file_are_checked(tmp_path: Path, network: Path) -> None:
    file = tmp_path / "serve.yaml"
    for line, wrong in (
        ("workers: many", "workers: it must be a whole number"),
        ("workers: 0", "workers: it must be at least 1"),
        ("worker: 2", "worker: nothing of this name is known"),
    ):
        file.write_text(f"models: {{net: {network}}}\n{line}\n", "utf-8")
        command = [sys.executable, "-m", "fleetnet", "serve", "--config", str(file)]
        ran = subprocess.run(command, capture_output=True, text=True, timeout=LONG, check=False)
        assert ran.returncode == 2
        assert wrong in ran.stderr
