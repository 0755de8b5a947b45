"""Replicas: what is asked of Ray and sent to it; and a service on Ray, in a network of its own."""

from __future__ import annotations

import asyncio
import importlib.util
import os
import pickle
import random
import shlex
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import httpx2 as httpx
import pytest
from prometheus_client import CollectorRegistry, Counter, Metric
from starlette.testclient import TestClient

from conftest import Run
from fleetnet.bundle import Bundle
from fleetnet.errors import BundleError, FleetnetError
from fleetnet.serving.auth import Tokens
from fleetnet.serving.config import Settings
from fleetnet.serving.errors import ForbiddenError, UnauthenticatedError, UnavailableError
from fleetnet.serving.replicas.asked import Replicas, check_settings, replicas_of
from fleetnet.serving.replicas.replica import Replica
from fleetnet.serving.replicas.sent import Beginning
from fleetnet.serving.replicas.service import ReplicaService
from fleetnet.serving.replicas.sums import SILENT, Sums
from fleetnet.serving.service import Service
from samples import ROOT

ALONE = ("unshare", "--net", "--map-root-user", "--pid", "--fork", "--mount-proc", "--kill-child")
HERE = Path(__file__).parent
INFER = "a-long-random-token"


class Handle:
    """What Ray gives of a deployment, without Ray.

    Args:
        of: the object that is deployed.
    """

    def __init__(self, of: Any, method: str = "") -> None:
        self._of = of
        self._method = method

    def __getattr__(self, name: str) -> Handle:
        return Handle(self._of, name)

    async def remote(self, *arguments: Any) -> Any:
        return await getattr(self._of, self._method)(*arguments)


def beginning(models: dict[str, Path], **values: object) -> Beginning:
    """Return what is sent, as it arrives."""
    given = {"models": models, "engine": {"threads": 1}, **values}
    sent = Beginning.of(Settings.load_all(None, {}, given))
    arrived: Beginning = pickle.loads(pickle.dumps(sent))  # noqa: S301 - made here
    return arrived


@pytest.mark.parametrize(
    ("text", "replicas"),
    [("1", Replicas(1, 1)), ("3", Replicas(3, 3)), ("1..4", Replicas(1, 4))],
)
def test_how_many_replicas(text: str, replicas: Replicas) -> None:
    assert replicas_of(text) == replicas


@pytest.mark.parametrize("text", ["0", "", "4..1", "1..", "..2", "-1", "two", "1...2", "10001"])
def test_no_number_of_replicas(text: str) -> None:
    with pytest.raises(FleetnetError, match="such as 2, or a range"):
        replicas_of(text)


@pytest.mark.parametrize(
    ("values", "said"),
    [
        ({"grpc": {"port": 8001}}, "Ray Serve passes no gRPC on"),
        ({"brpc": {"enabled": True}}, "Ray Serve passes no bRPC on"),
        ({"workers": 2}, "give replicas= instead of workers"),
        ({"tls": {"certificate": "cert.pem"}}, "TLS ends at a proxy"),
        ({"engine": {"name": "auto"}}, "name an engine"),
    ],
)
def test_what_ray_cannot_do_is_refused(values: dict[str, object], said: str) -> None:
    with pytest.raises(FleetnetError, match=said):
        check_settings(Settings.load_all(None, {}, values))


def test_what_is_not_asked_for_is_left_out() -> None:
    check_settings(Settings.load_all(None, {}, {"grpc": {"enabled": False}, "brpc": {}}))


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--replicas", "2"], "--replicas is for replicas: give --ray too"),
        (["--ray-address", "auto"], "--ray-address is for replicas: give --ray too"),
        (["--ray", "--replicas", "none"], "not 'none'"),
        (["--ray", "--brpc"], "Ray Serve passes no bRPC on"),
        (["--ray", "--tokens", "nowhere"], "cannot read nowhere"),
        (["--ray", "--shadow", "2"], "there is no version '2'"),
    ],
)
def test_bad_input_is_one_line(
    fleetnet: Run, network: Path, arguments: list[str], said: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda _: "a package")
    result = fleetnet("serve", str(network), *arguments)
    assert result.code == 2, result
    assert result.err.strip().splitlines()[-1].startswith("error: ")
    assert said in result.err
    assert "Traceback" not in result.err


def test_without_ray_the_extra_is_named(
    fleetnet: Run, network: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None if name == "ray" else name)
    result = fleetnet("serve", str(network), "--ray")
    assert (result.code, "pip install 'fleetnet[cluster]'" in result.err) == (2, True)


def test_a_bundle_is_the_same_where_it_arrives(
    versions: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FLEETNET_CACHE", str(tmp_path / "cache"))
    there = tmp_path / "there"
    shutil.copytree(versions / "shapes" / "1", there)
    expected = Bundle.load(there).hash
    sent = beginning({"shapes/1": there})
    next(file for file in there.iterdir() if file.name != "fleetnet.json").unlink()
    with pytest.raises(BundleError, match="is missing"):
        beginning({"shapes": there})
    shutil.rmtree(there)
    with sent.unpacked() as settings:
        (path,) = settings.models.values()
        arrived = Bundle.load(path)
    assert arrived.hash == expected
    assert all(arrived.files_of(artifact) for artifact in arrived.artifacts)


def test_bundles_that_are_too_large_are_not_sent(
    network: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("fleetnet.serving.replicas.sent.MAX_BYTES", 1000)
    with pytest.raises(FleetnetError, match="too much to send"):
        beginning({"net": network})


def test_tokens_are_sent_without_their_secrets(network: Path, tmp_path: Path) -> None:
    file = tmp_path / "tokens"
    file.write_text(f"infer {INFER}\n", "utf-8")
    sent = beginning({"net": network}, tokens=file)
    assert INFER.encode() not in pickle.dumps(sent)
    file.unlink()
    tokens = Tokens.of(sent.tokens)
    assert tokens.wanted
    tokens.check(INFER, "infer")
    with pytest.raises(ForbiddenError):
        tokens.check(INFER, "admin")
    with pytest.raises(UnauthenticatedError):
        tokens.check(None, "infer")
    assert not Tokens.of([]).wanted


def test_a_replica_answers_as_a_server_alone_does(
    network: Path, picture: bytes, net: TestClient
) -> None:
    asyncio.run(compare(network, picture, net))


async def compare(network: Path, picture: bytes, net: TestClient) -> None:
    sums = Sums()
    replica = Replica()
    await replica.begin(beginning({"net": network}), Handle(sums))
    transport = httpx.ASGITransport(replica.__serve_build_asgi_app__())
    async with httpx.AsyncClient(transport=transport, base_url="http://localhost") as client:
        await replica.check_health()
        for path, body in (("/classify", picture), ("/classify", b"none"), ("/explain", picture)):
            answer, alone = await client.post(path, content=body), net.post(path, content=body)
            assert answer.status_code == alone.status_code
            told = [answer.json(), alone.json()]
            for found in told:
                found.pop("id", None)
                found.pop("timing", None)
            assert told[0] == told[1]
            assert "x-request-id" not in answer.headers
        refused = await client.post("/v2/repository/models/net/load")
        assert (refused.status_code, refused.json()["code"]) == (403, "fixed-models")
        assert "fleetnet_workers_ready 1.0" in (await client.get("/metrics")).text
        await replica.end()
        with pytest.raises(UnavailableError):
            await replica.check_health()
    ended = (await sums.text()).decode()
    assert "fleetnet_workers_ready 0.0" in ended
    assert 'fleetnet_requests_total{model="net",protocol="rest",version="1"} 1.0' in ended


async def figures_of_two(network: Path) -> bytes:
    sums = Sums()
    for _ in range(2):
        random.seed(5)
        service = ReplicaService(Settings(models={"net": network}), Handle(sums))
        await service.figures()
        await Service.close(service)
    return await sums.text()


def test_replicas_are_told_apart_though_their_random_numbers_are_the_same(network: Path) -> None:
    assert b"fleetnet_workers_ready 2.0" in asyncio.run(figures_of_two(network))


def figures(value: int) -> list[Metric]:
    """Return what a replica has counted."""
    registry = CollectorRegistry()
    Counter("things", "Things.", registry=registry).inc(value)
    return list(registry.collect())


def test_who_is_silent_is_taken_for_dead_and_what_it_counted_stays() -> None:
    now = 0.0
    sums = Sums(lambda: now)
    asyncio.run(sums.seen("a", figures(2), False))
    now = SILENT / 2
    asyncio.run(sums.seen("b", figures(1), False))
    now = SILENT + 1
    text = asyncio.run(sums.text()).decode()
    assert "things_total 3.0" in text
    assert "fleetnet_workers_ready 1.0" in text
    assert 'fleetnet_worker_deaths_total{worker="0"} 1.0' in text


def test_who_comes_after_another_has_gone_is_not_taken_for_a_third() -> None:
    sums = Sums()
    for replica, value, ended in (
        ("a", 1, False),
        ("b", 2, False),
        ("a", 1, True),
        ("c", 4, False),
    ):
        asyncio.run(sums.seen(replica, figures(value), ended))
    text = asyncio.run(sums.text()).decode()
    assert "things_total 7.0" in text
    assert "fleetnet_workers_ready 2.0" in text


def alone(*tests: str) -> None:
    """Run tests of replicas_alone.py where nobody but them reaches Ray."""
    if importlib.util.find_spec("ray") is None:
        pytest.skip("Ray is not installed: pip install 'fleetnet[cluster]'")
    if shutil.which("unshare") is None or subprocess.run([*ALONE, "true"], check=False).returncode:
        pytest.skip("Ray binds to all addresses, and no network of its own can be had here")
    chosen = [f"{HERE / 'replicas_alone.py'}::{test}" for test in tests]
    run = [sys.executable, "-m", "pytest", "-q", "-n", "0", "-p", "no:cacheprovider", *chosen]
    inside = f"ip link set lo up; {shlex.join(run)}"
    done = subprocess.run(
        [*ALONE, "sh", "-c", inside], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert f"{len(tests)} passed" in done.stdout


@pytest.mark.slow
def test_a_service_on_ray_answers_as_a_server_alone_does() -> None:
    alone("test_it_answers_as_a_server_alone_does")


@pytest.mark.slow
@pytest.mark.skipif("FLEETNET_RAY" not in os.environ, reason="FLEETNET_RAY=all runs the rest")
@pytest.mark.parametrize(
    "test",
    [
        "test_a_model_that_cannot_be_loaded_is_one_line",
        "test_what_a_killed_replica_leaves_others_answer",
        "test_no_request_is_lost_while_another_bundle_takes_the_place[1]",
        "test_no_request_is_lost_while_another_bundle_takes_the_place[2..3]",
    ],
)
def test_a_service_on_ray(test: str) -> None:
    alone(test)
