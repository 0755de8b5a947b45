"""What became of requests, which the metrics count once each, whatever the protocol."""

from __future__ import annotations

import json
import re
from collections import Counter
from pathlib import Path
from typing import Any

import grpc
import pytest
from starlette.testclient import TestClient

from client.conftest import served
from serving import brpc_server
from serving.brpc_client import element, inference
from serving.conftest import Serve, service_of
from serving.grpc_client import grpc_serving
from serving.messages_of import request_of
from serving.raw import asked, statuses

_LINE = re.compile(r"fleetnet_(\w+)_total\{(.*)\} ([\d.]+)")


def counted(text: str) -> Counter[tuple[str, ...]]:
    """Return counters as the figure's name with the labels that tell requests apart."""
    found: Counter[tuple[str, ...]] = Counter()
    for name, labels, value in _LINE.findall(text):
        values = dict(re.findall(r'(\w+)="([^"]*)"', labels))
        if name in ("requests", "errors"):
            found[name, values.get("cause", ""), values["model"]] += int(float(value))
        elif name in ("images", "unreadable_images"):
            found[(name,)] += int(float(value))
    return +found


def test_every_request_over_rest_is_answered_or_an_error(
    serve: Serve, network: Path, picture: bytes, tmp_path: Path
) -> None:
    tokens = tmp_path / "tokens"
    tokens.write_text("infer aaaaaaaaaaaaaaaa\nadmin bbbbbbbbbbbbbbbb\n")
    client = serve(models={"net": network}, tokens=tokens, limits={"body": 2**20})
    user, admin = {"X-API-Key": "aaaaaaaaaaaaaaaa"}, {"X-API-Key": "bbbbbbbbbbbbbbbb"}
    tensor = {"name": "image", "datatype": "BYTES", "shape": [2], "data": ["", ""]}
    sent: list[tuple[int, str, dict[str, Any]]] = [
        (200, "/classify", {"content": picture}),
        (200, "/classify", {"files": [("image", picture), ("image", b"none")]}),
        (400, "/classify", {"content": b"none"}),
        (400, "/classify", {"files": [("image", b"none"), ("image", b"none")]}),
        (400, "/v2/models/net/infer", {"json": {"inputs": [tensor]}}),
        (400, "/classify?top=3", {"content": picture}),
        (404, "/classify?model=other", {"content": picture}),
        (404, "/v2/models/other/infer", {"json": {"inputs": [tensor]}}),
        (400, "/v2/models/net/infer", {"content": b"{"}),
        (404, "/nowhere", {}),
        (405, "/metrics", {}),
        (403, "/v2/repository/models/net/load", {}),
        (404, "/v2/repository/models/none/load", {"headers": admin}),
        (401, "/classify", {"headers": {"X-API-Key": "?"}}),
        (413, "/classify", {"content": bytes(2**20 + 1)}),
        (415, "/classify", {"content": picture, "headers": {**user, "Content-Type": "text/html"}}),
    ]
    for status, path, values in sent:
        response = client.post(path, **{"headers": user, **values})
        assert response.status_code == status, (path, response.text)
    assert client.get("/nowhere").status_code == 404  # also without a token
    assert counted(client.get("/metrics", headers=user).text) == {
        ("requests", "", "net"): 2,
        ("images",): 2,
        ("unreadable_images",): 1 + 1 + 2 + 2,
        ("errors", "invalid", "net"): 3,
        ("errors", "invalid", ""): 2,
        ("errors", "not-found", ""): 6,
        ("errors", "forbidden", ""): 1,
        ("errors", "unauthenticated", ""): 1,
        ("errors", "too-large", ""): 1,
        ("errors", "unsupported", ""): 1,
    }


def test_who_asks_whether_the_server_is_ready_makes_no_error(serve: Serve, network: Path) -> None:
    client = serve(models={"net": network})
    service_of(client)._draining = True
    assert client.get("/v2/health/ready").status_code == 503
    assert not counted(service_of(client).metrics.text().decode())


def test_what_is_no_request_is_counted_too(network: Path) -> None:
    with served(models={"net": network}, limits={"header": 1024, "header_seconds": 0.3}) as address:
        got = asked(address, "no request\r\n\r\n")
        assert statuses(got) == [400]
        assert json.loads(got.partition(b"\r\n\r\n")[2])["code"] == "request"
        assert statuses(
            asked(address, "GET / HTTP/1.1\r\nHost: localhost\r\nA: " + "a" * 2000)
        ) == [431]
        assert statuses(asked(address, "GET / HTTP/1.1\r\nHost: loc")) == []
        assert statuses(asked(address)) == []  # an idle connection has asked nothing
        last = "GET /metrics HTTP/1.1\r\nHost: evil.example\r\nConnection: close\r\n\r\n"
        assert statuses(asked(address, last)) == [403]
        last = last.replace("evil.example", "localhost")
        assert counted(asked(address, last).decode()) == {
            ("errors", "invalid", ""): 1,
            ("errors", "too-large", ""): 1,
            ("errors", "too-slow", ""): 1,
            ("errors", "forbidden", ""): 1,
        }


def test_every_call_over_grpc_is_answered_or_an_error(network: Path, picture: bytes) -> None:
    with grpc_serving(models={"net": network}) as client:
        assert client.infer(picture)
        for method, request in (
            ("ModelInfer", request_of([b"none", picture])),
            ("ModelInfer", request_of([picture], model="other")),
            ("ModelInfer", b"\xff"),
            ("ModelMetadata", b"\xff"),
        ):
            with pytest.raises(grpc.RpcError):
                client.call(method, request)
        with pytest.raises(grpc.RpcError):
            client.call("RepositoryModelLoad", model_name="none")
        requests = [request_of([picture]), request_of([b"none"])]
        assert len(list(client.stream(requests))) == 2
        assert counted(client.service.metrics.text().decode()) == {
            ("requests", "", "net"): 2,
            ("images",): 3,
            ("unreadable_images",): 2,
            ("errors", "invalid", "net"): 2,
            ("errors", "invalid", ""): 2,
            ("errors", "not-found", ""): 2,
        }


def test_every_call_over_brpc_is_answered_or_an_error(network: Path, picture: bytes) -> None:
    with brpc_server.serving(models={"net": network}) as server:
        with server.client() as client:
            for code, method, message in (
                (0, "ModelInfer", inference("net", raw=[element(picture)])),
                (1003, "ModelInfer", inference("net", raw=[element(b"none")])),
                (1003, "ModelInfer", inference("other", raw=[element(picture)])),
                (1003, "ModelInfer", b"\xff\xff\xff"),
                (1002, "Nothing", b""),
            ):
                assert client.call(method, message).code == code
            client.send(b"GET / HTTP/1.1\r\n")
            assert client.is_closed()
        assert counted(server.service.metrics.text().decode()) == {
            ("requests", "", "net"): 1,
            ("images",): 1,
            ("unreadable_images",): 1,
            ("errors", "invalid", "net"): 1,
            ("errors", "invalid", ""): 2,
            ("errors", "not-found", ""): 2,
        }


def test_a_method_that_a_path_does_not_take_says_which_it_does(net: TestClient) -> None:
    response = net.post("/metrics")
    assert (response.status_code, response.json()["code"]) == (405, "no-method")
    assert "GET" in response.headers["allow"]


def test_no_other_sites_page_may_read_an_answer(net: TestClient, picture: bytes) -> None:
    """CORS is off: no header allows it, also where a page asks first."""
    origin = {"Origin": "https://elsewhere.example"}
    asking = {**origin, "Access-Control-Request-Method": "POST"}
    for response in (
        net.post("/classify", content=picture, headers=origin),
        net.get("/metrics", headers=origin),
        net.options("/classify", headers=asking),
    ):
        assert not [name for name in response.headers if name.startswith("access-control")]
    assert response.status_code == 405
