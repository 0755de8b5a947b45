"""Traces: what the spans say, whose they are, and what a collector gets of them."""

from __future__ import annotations

import asyncio
import builtins
import http.server
import queue
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from starlette.testclient import TestClient

from fleetnet.errors import FleetnetError
from fleetnet.serving.auth import Tokens
from fleetnet.serving.config import Settings
from fleetnet.serving.errors import NotFoundError
from fleetnet.serving.lifecycle import repository_of
from fleetnet.serving.requests import Request
from fleetnet.serving.rest.app import App
from fleetnet.serving.service import Service
from fleetnet.serving.traces import NAMED, Traces, traces_of
from serving.brpc_client import field_of
from serving.logged_server import running

TRACE, SPAN = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"
TRACEPARENT = f"00-{TRACE}-{SPAN}-01"


@pytest.fixture(autouse=True)
def _no_variables(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in (*NAMED, "OTEL_SERVICE_NAME", "OTEL_RESOURCE_ATTRIBUTES", "OTEL_TRACES_SAMPLER"):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture
def exporter() -> InMemorySpanExporter:
    return InMemorySpanExporter()


@pytest.fixture
def client(network: Path, exporter: InMemorySpanExporter) -> Iterator[TestClient]:
    values = {"models": {"net": network}, "engine": {"threads": 1}}
    settings = Settings.load_all(None, {}, values)
    service = Service(
        repository_of(settings),
        settings.routes(),
        settings.options(),
        traces=Traces(SimpleSpanProcessor(exporter)),
    )
    app = App(service, Tokens(None), settings.limits)
    with TestClient(app.asgi) as made:
        assert made.portal is not None
        made.portal.call(service.start, None)
        yield made
        made.portal.call(service.close)


def spans_of(exporter: InMemorySpanExporter) -> dict[str, ReadableSpan]:
    return {span.name: span for span in exporter.get_finished_spans()}


def facts_of(span: ReadableSpan) -> dict[str, Any]:
    return dict(span.attributes or {})


def test_a_request_is_a_span_with_the_parts_of_its_time(
    client: TestClient, exporter: InMemorySpanExporter, picture: bytes
) -> None:
    response = client.post("/classify", content=picture, headers={"traceparent": TRACEPARENT})
    assert response.status_code == 200
    spans = spans_of(exporter)
    assert spans.keys() == {"infer", "queue", "decode", "compute"}
    whole = spans["infer"]
    assert facts_of(whole) == {
        "fleetnet.request.id": response.json()["id"],
        "fleetnet.protocol": "rest",
        "fleetnet.images": 1,
        "fleetnet.model": "net",
        "fleetnet.version": "1",
        "fleetnet.bundle": response.json()["bundle"],
        "fleetnet.batch": 1,
    }
    assert whole.resource.attributes["service.name"] == "fleetnet"
    assert whole.start_time is not None
    assert whole.end_time is not None
    start = whole.start_time
    for name in ("queue", "decode", "compute"):
        part = spans[name]
        assert part.parent is not None
        assert part.parent.span_id == whole.context.span_id
        assert part.start_time is not None
        assert part.end_time is not None
        assert part.start_time == start
        assert start <= part.end_time <= whole.end_time
        start = part.end_time


def test_a_heat_map_is_a_span(
    client: TestClient, exporter: InMemorySpanExporter, picture: bytes
) -> None:
    response = client.post("/explain", content=picture, headers={"traceparent": TRACEPARENT})
    assert response.status_code == 200, response.text
    spans = spans_of(exporter)
    assert spans.keys() == {"explain"}
    assert facts_of(spans["explain"])["fleetnet.bundle"] == response.json()["bundle"]
    assert spans["explain"].context.trace_id == int(TRACE, 16)
    exporter.clear()
    assert client.post("/explain", content=b"none").status_code == 400
    assert "error.type" in facts_of(spans_of(exporter)["explain"])


def test_the_trace_of_the_caller_goes_on(
    client: TestClient, exporter: InMemorySpanExporter, picture: bytes
) -> None:
    client.post("/classify", content=picture, headers={"traceparent": TRACEPARENT})
    for span in exporter.get_finished_spans():
        assert f"{span.context.trace_id:032x}" == TRACE
    parent = spans_of(exporter)["infer"].parent
    assert parent is not None
    assert f"{parent.span_id:016x}" == SPAN


@pytest.mark.parametrize(
    "given",
    ["", "x", TRACEPARENT.replace(TRACE, "0" * 32), "ff" + TRACEPARENT[2:]],
)
def test_what_is_no_trace_begins_one(exporter: InMemorySpanExporter, given: str) -> None:
    with Traces(SimpleSpanProcessor(exporter)).of(Request(images=(b"",), traceparent=given)):
        pass
    span = spans_of(exporter)["infer"]
    assert span.parent is None
    assert f"{span.context.trace_id:032x}" != TRACE


def test_a_caller_that_does_not_sample_is_heeded(
    client: TestClient, exporter: InMemorySpanExporter, picture: bytes
) -> None:
    headers = {"traceparent": TRACEPARENT[:-1] + "0"}
    assert client.post("/classify", content=picture, headers=headers).status_code == 200
    assert not exporter.get_finished_spans()


@pytest.mark.parametrize(
    ("error", "cause", "is_fault"),
    [
        (NotFoundError("no"), "not-found", False),
        (asyncio.CancelledError(), "cancelled", False),
        (ZeroDivisionError(), "internal", True),
    ],
)
def test_a_span_says_why_there_is_no_answer(
    exporter: InMemorySpanExporter, error: BaseException, cause: str, is_fault: bool
) -> None:
    traces = Traces(SimpleSpanProcessor(exporter))
    with pytest.raises(type(error)), traces.of(Request(images=(b"",))):
        raise error
    span = spans_of(exporter)["infer"]
    assert facts_of(span)["error.type"] == cause
    assert (not span.status.is_ok) == is_fault


def test_the_environment_names_the_service(
    exporter: InMemorySpanExporter, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OTEL_SERVICE_NAME", "sorting")
    monkeypatch.setenv("OTEL_RESOURCE_ATTRIBUTES", "deployment.environment=test")
    with Traces(SimpleSpanProcessor(exporter)).of(Request(images=(b"",))):
        pass
    said = spans_of(exporter)["infer"].resource.attributes
    assert said["service.name"] == "sorting"
    assert said["deployment.environment"] == "test"
    assert said["service.instance.id"]


class Collector(http.server.BaseHTTPRequestHandler):
    """Takes traces as a collector does."""

    got: queue.Queue[tuple[str, ExportTraceServiceRequest]]

    def do_POST(self) -> None:
        content = self.rfile.read(int(self.headers["content-length"]))
        self.got.put((self.path, ExportTraceServiceRequest.FromString(content)))
        self.send_response(200)
        self.send_header("content-type", "application/x-protobuf")
        self.send_header("content-length", "0")
        self.end_headers()

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def collector() -> Iterator[tuple[str, queue.Queue[tuple[str, ExportTraceServiceRequest]]]]:
    got: queue.Queue[tuple[str, ExportTraceServiceRequest]] = queue.Queue()
    handler = type("Handler", (Collector,), {"got": got})
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{server.server_address[1]}", got
        server.shutdown()
        thread.join()


def test_a_collector_gets_what_has_ended_when_the_server_ends(
    collector: tuple[str, queue.Queue[tuple[str, ExportTraceServiceRequest]]],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    address, got = collector
    monkeypatch.setenv(NAMED[0], address)
    traces = traces_of(None, {NAMED[0]: address})
    assert traces is not None
    with traces.of(Request(images=(b"",), traceparent=TRACEPARENT, protocol="grpc")):
        pass
    traces.close()
    path, sent = got.get_nowait()
    assert path == "/v1/traces"
    (group,) = sent.resource_spans
    resource = {one.key: one.value.string_value for one in group.resource.attributes}
    assert resource["service.name"] == "fleetnet"
    (scope,) = group.scope_spans
    (span,) = scope.spans
    assert (span.trace_id.hex(), span.parent_span_id.hex()) == (TRACE, SPAN)
    assert {one.key: one.value.string_value for one in span.attributes}[
        "fleetnet.protocol"
    ] == "grpc"


@pytest.mark.slow
def test_every_protocol_hands_on_the_trace_of_its_caller(
    network: Path,
    picture: bytes,
    tmp_path: Path,
    collector: tuple[str, queue.Queue[tuple[str, ExportTraceServiceRequest]]],
) -> None:
    address, got = collector
    with running(tmp_path, f"net={network}", "--telemetry", **{NAMED[0]: address}) as start:
        server = start()
        assert server.ask("POST", "/classify", picture, traceparent=TRACEPARENT)[0] == 200
        server.infer_by_grpc("net", picture, traceparent=TRACEPARENT)
        server.infer_by_brpc("net", picture, user={"traceparent": TRACEPARENT})
        # bRPC's own: numbers of a trace and of the caller's span.
        numbers = field_of(4, int(TRACE[16:], 16)) + field_of(5, int(SPAN, 16))
        server.infer_by_brpc("net", picture, extra=field_of(1, numbers))
        server.process.terminate()
        assert server.process.wait() == 0
    spans = [
        span
        for _, sent in [got.get_nowait() for _ in range(got.qsize())]
        for group in sent.resource_spans
        for scope in group.scope_spans
        for span in scope.spans
    ]
    whole = [span for span in spans if span.name == "infer"]
    traces = [TRACE, TRACE, TRACE, TRACE[16:].rjust(32, "0")]
    assert [span.trace_id.hex() for span in whole] == traces
    assert {span.trace_id.hex() for span in spans} == set(traces)
    assert [span.parent_span_id.hex() for span in whole] == [SPAN] * 4
    protocols = [
        one.value.string_value
        for span in whole
        for one in span.attributes
        if one.key == "fleetnet.protocol"
    ]
    assert protocols == ["rest", "grpc", "brpc", "brpc"]


@pytest.mark.slow
def test_a_collector_that_is_not_there_holds_up_nothing(
    network: Path, picture: bytes, tmp_path: Path
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as nobody:
        # Bound and never accepting: what connects waits until it gives up by itself.
        nobody.listen(0)
        address = f"http://127.0.0.1:{nobody.getsockname()[1]}"
        variables = {NAMED[0]: address, "OTEL_EXPORTER_OTLP_TIMEOUT": "1"}
        with running(tmp_path, f"net={network}", **variables) as start:
            server = start()
            assert server.ask("POST", "/classify", picture)[0] == 200
            server.process.terminate()
            assert server.process.wait() == 0


@pytest.mark.parametrize(
    ("asked", "variables", "wanted"),
    [
        (None, {}, False),
        (None, {NAMED[0]: ""}, False),
        (None, {NAMED[1]: "http://127.0.0.1:9"}, True),
        (True, {}, True),
        (False, {NAMED[0]: "http://127.0.0.1:9"}, False),
        (True, {"OTEL_TRACES_EXPORTER": "none"}, False),
    ],
)
def test_traces_are_sent_only_where_they_are_asked_for(
    asked: bool | None, variables: dict[str, str], wanted: bool
) -> None:
    traces = traces_of(asked, variables)
    assert (traces is not None) == wanted
    if traces is not None:
        traces.close()


def test_without_the_extra_there_is_a_line_or_an_error(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    for name in list(sys.modules):
        if name.startswith("opentelemetry.exporter"):
            monkeypatch.delitem(sys.modules, name)
    real = builtins.__import__

    def absent(name: str, *arguments: Any) -> Any:
        if name.startswith("opentelemetry.exporter"):
            raise ModuleNotFoundError(name=name)
        return real(name, *arguments)

    monkeypatch.setattr(builtins, "__import__", absent)
    with pytest.raises(FleetnetError, match=r"fleetnet\[telemetry\]"):
        traces_of(True, {})
    assert traces_of(None, {NAMED[0]: "http://127.0.0.1:9"}) is None
    assert traces_of(None, {}) is None


def test_nothing_of_it_is_imported_unless_it_is_asked_for() -> None:
    code = (
        "import sys, fleetnet.serving.lifecycle, fleetnet.serving.rest.server\n"
        "from fleetnet.serving.traces import traces_of\n"
        "assert traces_of(None, {}) is None\n"
        "assert not [name for name in sys.modules if name.startswith('opentelemetry')]"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
