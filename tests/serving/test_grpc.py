"""gRPC in this process: answers, refusals, and what may never be answered."""

from __future__ import annotations

import contextlib
import logging
import threading
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import grpc
import numpy as np
import pytest
from google.protobuf.descriptor_pb2 import FileDescriptorProto
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection_pb2, reflection_pb2_grpc
from hypothesis import given, settings
from hypothesis import strategies as st

from fleetnet.conformance.files import ConformanceSet
from fleetnet.errors import FleetnetError
from fleetnet.inference.classifier import Classifier
from fleetnet.serving.auth import Tokens
from fleetnet.serving.config import Settings
from fleetnet.serving.grpc.transport import GrpcTransport, port_of
from fleetnet.serving.lifecycle import repository_of, transports
from fleetnet.serving.messages import ModelInferRequest
from fleetnet.serving.service import Service
from serving.grpc_client import LONG, Client, Held, grpc_serving, sending, unary
from serving.messages_of import arrays_of, request_of, typed_of
from serving.test_open_inference import REQUESTS

TOLERANCE = 1e-4
Code = grpc.StatusCode


@pytest.fixture(scope="module")
def client(network: Path) -> Iterator[Client]:
    """A client of a server of one model, for tests that change nothing."""
    with grpc_serving(models={"net": network}) as started:
        yield started


@contextlib.contextmanager
def refused(code: grpc.StatusCode, said: str = "") -> Iterator[dict[str, str]]:
    """Expect a status, and yield the metadata that follow it."""
    found: dict[str, Any] = {}
    with pytest.raises(grpc.RpcError) as caught:
        yield found
    call: Any = caught.value
    assert call.code() == code, call.details()
    assert said in call.details()
    found.update(dict(call.trailing_metadata()))


def test_every_way_in_gives_the_classifiers_answers_on_the_conformance_set(
    client: Client, network: Path, conformance: ConformanceSet
) -> None:
    with Classifier(network) as classifier:
        for picture in conformance.description.pictures:
            content = conformance.read(picture.file, picture.sha256, picture.bytes)
            (expected,) = classifier.predict(content)
            streamed = next(client.stream([request_of([content], "logits")]))
            if not expected.ok:
                with refused(Code.INVALID_ARGUMENT, "image 0: "):
                    client.infer(content)
                assert streamed.error_message.startswith("image 0: "), picture.name
                continue
            for response in (
                client.call("ModelInfer", request_of([content], "logits")),
                client.call("ModelInfer", typed_of([content], "logits")),
                streamed.infer_response,
            ):
                logits = arrays_of(response)["logits"][0]
                assert logits == pytest.approx(expected.logits, abs=TOLERANCE), picture.name


def test_pixels_and_several_images_are_answered_in_their_order(
    client: Client, network: Path, picture: bytes
) -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (2, 30, 40, 3), np.uint8)
    request = ModelInferRequest(
        inputs=[{"name": "pixels", "datatype": "UINT8", "shape": pixels.shape}],
        raw_input_contents=[pixels.tobytes()],
    )
    with Classifier(network) as classifier:
        expected = [np.asarray(one.logits) for one in classifier.predict([*pixels])]
    found = arrays_of(client.call("ModelInfer", request))["logits"]
    np.testing.assert_allclose(found, np.stack(expected), atol=TOLERANCE)
    response = client.infer(picture, picture, picture)
    assert [list(output.shape) for output in response.outputs] == [[3, 4], [3, 4]]


def test_a_response_names_what_computed_it_and_gives_classes_as_text(
    client: Client, picture: bytes
) -> None:
    request = request_of([picture], "probabilities", name="mine")
    request.outputs[0].parameters["classification"].int64_param = 2
    response = client.call("ModelInfer", request)
    assert (response.id, response.model_name, response.model_version) == ("mine", "net", "1")
    assert (
        response.parameters["bundle"].string_param == client.service.models.find("net").loaded.hash
    )
    assert response.parameters["compute_ms"].double_param > 0
    (output,) = response.outputs
    assert (output.datatype, list(output.shape)) == ("BYTES", [1, 2])
    best, index, _ = response.raw_output_contents[0][4:].partition(b"\0")[0].split(b":")[:3]
    assert 0.9 < float(best) <= 1
    assert index == b"1"


def test_what_the_server_and_the_model_are(client: Client) -> None:
    assert client.call("ServerLive").live
    assert client.call("ServerReady").ready
    assert client.call("ServerMetadata").name == "fleetnet"
    assert client.call("ModelReady", name="net").ready
    assert not client.call("ModelReady", name="other").ready
    metadata = client.call("ModelMetadata", name="net")
    assert list(metadata.versions) == ["1"]
    assert [one.name for one in metadata.inputs] == ["image", "pixels"]
    assert [list(one.shape) for one in metadata.outputs] == [[-1, 4], [-1, 4]]
    with refused(Code.NOT_FOUND):
        client.call("ModelMetadata", name="other")


def test_models_are_loaded_and_unloaded(versions: Path, picture: bytes) -> None:
    with grpc_serving(folder=versions, load=()) as client:
        index = client.call("RepositoryIndex").models
        assert [(one.name, one.version, one.state) for one in index] == [
            ("shapes", "1", "UNAVAILABLE"),
            ("shapes", "2", "UNAVAILABLE"),
        ]
        request = request_of([picture], model="shapes")
        with refused(Code.NOT_FOUND, "shapes"):
            client.call("ModelInfer", request)
        client.call("RepositoryModelLoad", model_name="shapes")
        assert client.call("ModelInfer", request).model_version == "2"
        default = {"version": {"string_param": "1"}, "default": {"bool_param": True}}
        client.call("RepositoryModelLoad", model_name="shapes", parameters=default)
        assert client.call("ModelInfer", request).model_version == "1"
        client.call(
            "RepositoryModelUnload",
            model_name="shapes",
            parameters={
                "version": {"string_param": "1"},
                "unload_dependents": {"bool_param": True},
            },
        )
        ready = client.call("RepositoryIndex", ready=True).models
        assert [(one.version, one.state) for one in ready] == [("2", "READY")]
        for parameters in (
            {"config": {"string_param": "{}"}},
            {"file:1/model.onnx": {"bytes_param": b"x"}},
            {"version": {"bytes_param": b"\xff"}},
            {"version": {"string_param": "../1"}},
        ):
            with refused(Code.INVALID_ARGUMENT):
                client.call("RepositoryModelLoad", model_name="shapes", parameters=parameters)
        for name in ("../shapes", "", "/etc"):
            with refused(Code.INVALID_ARGUMENT):
                client.call("RepositoryModelLoad", model_name=name)
        with refused(Code.NOT_FOUND):
            client.call("RepositoryModelLoad", model_name="none")


def test_what_is_no_message_is_said_to_be_none(client: Client) -> None:
    for name in ("ModelInfer", "ServerLive", "RepositoryModelLoad"):
        with refused(Code.INVALID_ARGUMENT, "the message is no"):
            client.call(name, b"\xff\xff")
    with refused(Code.UNIMPLEMENTED):
        unary(client.channel, "ModelConfig")(b"", timeout=LONG)


@settings(max_examples=60)
@given(REQUESTS.map(lambda one: one.SerializeToString()) | st.binary(max_size=64))
def test_whatever_comes_is_answered_or_refused_for_what_it_is(client: Client, data: bytes) -> None:
    try:
        client.call("ModelInfer", data)
    except grpc.RpcError as error:
        code = getattr(error, "code")()  # noqa: B009 - calls have it, their base has not
    else:
        code = Code.OK
    assert code in (Code.OK, Code.INVALID_ARGUMENT, Code.NOT_FOUND)


def test_what_is_asked_for_and_is_not_there_is_refused(client: Client, picture: bytes) -> None:
    for request, code in (
        (request_of([picture], model="other"), Code.NOT_FOUND),
        (request_of([picture], "embedding"), Code.INVALID_ARGUMENT),
        (request_of([picture], "feelings"), Code.INVALID_ARGUMENT),
        (request_of([b"no image"]), Code.INVALID_ARGUMENT),
        (request_of([picture] * 65), Code.INVALID_ARGUMENT),
    ):
        with refused(code) as metadata:
            client.call("ModelInfer", request)
        assert metadata["error-code"]


def test_the_request_id_goes_through_and_into_the_log(
    client: Client, picture: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "fleetnet.serving")
    trace = "4bf92f3577b34da6a3ce929d0e0e4736"
    metadata = (("x-request-id", "from-7"), ("traceparent", f"00-{trace}-00f067aa0ba902b7-01"))
    call = client.future("ModelInfer", request_of([picture]), metadata=metadata)
    call.result()
    assert dict(call.trailing_metadata())["x-request-id"] == "from-7"
    lines = [one.__dict__ for one in caplog.records]
    (line,) = [one for one in lines if one.get("request_id") == "from-7"]
    assert (line["message"], line["trace_id"], line["status"]) == ("ModelInfer", trace, "OK")
    with refused(Code.NOT_FOUND) as told:
        client.call("ModelInfer", request_of([picture], name="mine", model="other"))
    assert told["x-request-id"] == "mine"


@pytest.fixture
def held(network: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[tuple[Client, Held]]:
    """A server that has room for two images and computes none of them yet."""
    queue = {"images": 2}
    with grpc_serving(models={"net": network}, queue=queue) as client:
        computing = Held(client, monkeypatch)
        try:
            yield client, computing
        finally:
            computing.release()


def test_what_has_expired_or_was_cancelled_is_never_computed(
    held: tuple[Client, Held], picture: bytes
) -> None:
    client, computing = held
    first = client.future("ModelInfer", request_of([picture]))
    assert computing.begun.wait(LONG)
    with refused(Code.DEADLINE_EXCEEDED):
        client.infer(picture, timeout=0.2)
    computing.images(1)
    slow = request_of([picture])
    slow.parameters["timeout"].int64_param = 100_000
    with refused(Code.DEADLINE_EXCEEDED, "the deadline passed"):
        client.call("ModelInfer", slow)
    computing.images(1)
    second = client.future("ModelInfer", request_of([picture]))
    computing.images(2)
    second.cancel()
    computing.images(1)
    computing.release()
    first.result()
    assert computing.computed == [1]
    assert (
        'cause="cancelled",model="net",protocol="grpc"}' in client.service.metrics.text().decode()
    )


def test_what_is_over_the_queue_is_shed_with_the_time_to_come_again(
    held: tuple[Client, Held], picture: bytes
) -> None:
    client, computing = held
    taken = [client.future("ModelInfer", request_of([picture])) for _ in range(2)]
    computing.images(2)
    with refused(Code.RESOURCE_EXHAUSTED, "queue") as metadata:
        client.infer(picture)
    assert int(metadata["retry-after"]) >= 1
    assert int(metadata["grpc-retry-pushback-ms"]) >= 1
    (streamed,) = client.stream([request_of([picture], name="7")])
    assert "queue" in streamed.error_message
    assert streamed.infer_response.id == "7"
    assert streamed.infer_response.parameters["code"].string_param == "overloaded"
    computing.release()
    for call in taken:
        call.result()


def test_a_stream_is_answered_as_its_requests_are_done(
    held: tuple[Client, Held], picture: bytes
) -> None:
    client, computing = held
    more = threading.Event()

    def requests() -> Iterator[ModelInferRequest]:
        yield request_of([picture], name="held")
        assert computing.begun.wait(LONG)
        yield request_of([b"no image"], name="wrong")
        yield request_of([picture], name="other", model="other")
        assert more.wait(LONG)
        for number in range(100):
            yield request_of([picture], name=str(number))

    responses = client.stream(requests())
    early = [next(responses), next(responses)]
    assert {one.infer_response.id for one in early} == {"wrong", "other"}
    assert all(one.error_message for one in early)
    computing.release()
    more.set()
    rest = list(responses)
    assert {one.infer_response.id for one in rest} == {"held", *map(str, range(100))}
    assert client.service.budget.held == 0


def test_a_stream_whose_client_goes_away_is_given_up(
    held: tuple[Client, Held], picture: bytes
) -> None:
    client, computing = held
    waiting = threading.Event()

    def requests() -> Iterator[ModelInferRequest]:
        yield request_of([picture])
        yield request_of([picture])
        waiting.wait(LONG)

    responses = client.stream(requests())
    assert computing.begun.wait(LONG)
    computing.images(2)
    responses.cancel()
    waiting.set()
    assert client.portal.call(client.service.drain, LONG)
    computing.release()
    computing.images(0)
    assert computing.computed in ([], [1])  # only what was being computed
    assert client.service.budget.held == 0


def test_what_was_taken_is_answered_while_the_server_drains(
    held: tuple[Client, Held], picture: bytes
) -> None:
    client, computing = held
    taken = client.future("ModelInfer", request_of([picture]))
    assert computing.begun.wait(LONG)
    drained = client.portal.start_task_soon(client.service.drain, LONG)
    while not client.service.draining:
        threading.Event().wait(0.002)
    with refused(Code.UNAVAILABLE, "being stopped"):
        client.infer(picture)
    computing.release()
    assert drained.result(LONG)
    client.portal.call(client.transport.stop, LONG)
    assert taken.result().model_name == "net"


def test_messages_are_bounded_alone_and_together(network: Path, picture: bytes) -> None:
    limits = {"body": 300_000, "buffered": 200_000}
    with grpc_serving(models={"net": network}, limits=limits) as client:
        with refused(Code.RESOURCE_EXHAUSTED):
            client.infer(bytes(400_000))
        with refused(Code.RESOURCE_EXHAUSTED):  # small on the wire
            client.infer(bytes(50_000_000), compression=grpc.Compression.Gzip)
        with refused(Code.RESOURCE_EXHAUSTED, "being received"):
            client.infer(bytes(250_000))
        assert client.service.budget.held == 0
        client.infer(picture, compression=grpc.Compression.Gzip)
        with refused(Code.RESOURCE_EXHAUSTED):
            client.infer(picture, metadata=[("long", "x" * 100_000)])
        client.infer(picture)


def test_a_sender_that_is_too_slow_or_sends_nothing_is_given_up(
    network: Path, picture: bytes
) -> None:
    with grpc_serving(models={"net": network}, limits={"body_seconds": 0.2}) as client:
        infer = sending(client.channel, "ModelInfer")
        waiting = threading.Event()
        with refused(Code.DEADLINE_EXCEEDED, "longer than 0.2 s"):
            infer((b"" for _ in [None] if waiting.wait(LONG)), timeout=LONG)
        waiting.set()
        with refused(Code.INVALID_ARGUMENT, "without a whole message"):
            infer(iter(()), timeout=LONG)
        client.infer(picture)


def test_calls_over_the_limit_are_shed(network: Path, picture: bytes) -> None:
    with grpc_serving(models={"net": network}, grpc={"calls": 1}) as client:
        waiting = threading.Event()
        stream = client.stream(iter(lambda: waiting.wait(LONG), True))
        with refused(Code.RESOURCE_EXHAUSTED):
            while True:  # until the stream has begun
                client.infer(picture)
        stream.cancel()
        waiting.set()


def test_connections_over_the_limit_are_closed(network: Path, picture: bytes) -> None:
    with grpc_serving(models={"net": network}, limits={"connections": 1}) as client:
        client.infer(picture)
        own = [("grpc.use_local_subchannel_pool", 1)]
        with grpc.insecure_channel(client.target, own) as second:
            call = unary(second, "ServerLive")
            with refused(Code.UNAVAILABLE):
                call(b"", timeout=LONG)
        client.infer(picture)


def test_roles_are_asked_for_before_a_message_is_read(
    network: Path, tmp_path: Path, picture: bytes
) -> None:
    tokens = tmp_path / "tokens"
    tokens.write_text("infer an-infer-token-1234\nadmin an-admin-token-1234\n")
    infer = [("authorization", "Bearer an-infer-token-1234")]
    admin = [("x-api-key", "an-admin-token-1234")]
    with grpc_serving(models={"net": network}, tokens=tokens) as client:
        waiting = threading.Event()
        never: Iterable[bytes] = (b"" for _ in [None] if waiting.wait(LONG))
        with refused(Code.UNAUTHENTICATED):
            sending(client.channel, "ModelInfer")(never, timeout=LONG)
        waiting.set()
        with refused(Code.UNAUTHENTICATED, "not known"):
            client.infer(picture, metadata=[("authorization", "Bearer nonsense")])
        with refused(Code.UNAUTHENTICATED):
            next(client.stream([request_of([picture])]))
        client.infer(picture, metadata=infer)
        assert next(client.stream([request_of([picture])], metadata=infer)).error_message == ""
        with refused(Code.PERMISSION_DENIED):
            client.call("RepositoryModelUnload", model_name="net", metadata=infer)
        client.call("RepositoryModelLoad", model_name="net", metadata=admin)
        assert client.call("ServerReady").ready
        assert health_of(client) == "SERVING"


def health_of(client: Client, name: str = "") -> str:
    stub = health_pb2_grpc.HealthStub(client.channel)
    status = stub.Check(health_pb2.HealthCheckRequest(service=name), timeout=LONG).status
    return str(health_pb2.HealthCheckResponse.ServingStatus.Name(status))


def test_health_follows_the_service_and_draining_ends_streams(
    network: Path, picture: bytes
) -> None:
    with grpc_serving(models={"net": network}, load=None) as client:
        assert health_of(client) == "NOT_SERVING"
        assert client.call("ServerLive").live
        assert not client.call("ServerReady").ready
        with refused(Code.UNAVAILABLE, "still loading") as metadata:
            client.infer(picture)
        assert metadata["retry-after"]
        client.portal.call(client.service.start, None)
        assert health_of(client, "inference.GRPCInferenceService") == "SERVING"
        watch = health_pb2_grpc.HealthStub(client.channel).Watch(
            health_pb2.HealthCheckRequest(), timeout=LONG
        )
        assert next(watch).status == health_pb2.HealthCheckResponse.SERVING
        waiting = threading.Event()

        def requests() -> Iterator[ModelInferRequest]:
            yield request_of([picture], name="1")
            waiting.wait(LONG)

        stream = client.stream(requests())
        assert next(stream).infer_response.id == "1"
        assert client.portal.call(client.service.drain, 10.0)
        assert next(watch).status == health_pb2.HealthCheckResponse.NOT_SERVING
        with refused(Code.UNAVAILABLE, "being stopped"):
            client.infer(picture)
        client.portal.call(client.transport.stop, 10.0)
        with refused(Code.UNAVAILABLE, "being stopped"):
            next(stream)
        waiting.set()


def test_reflection_describes_all_that_is_answered(client: Client) -> None:
    stub = reflection_pb2_grpc.ServerReflectionStub(client.channel)
    kind = reflection_pb2.ServerReflectionRequest
    asked = [kind(list_services=""), kind(file_containing_symbol="inference.GRPCInferenceService")]
    listed, described = stub.ServerReflectionInfo(iter(asked), timeout=LONG)
    assert {one.name for one in listed.list_services_response.service} == {
        "grpc.health.v1.Health",
        "grpc.reflection.v1alpha.ServerReflection",
        "inference.GRPCInferenceService",
    }
    (data,) = described.file_descriptor_response.file_descriptor_proto
    file = FileDescriptorProto.FromString(data)
    assert "ModelStreamInfer" in [method.name for method in file.service[0].method]


def test_the_port_is_the_one_after_that_of_http(network: Path) -> None:
    for values, port in (
        ({}, 8001),
        ({"port": 9000}, 9001),
        ({"port": 0}, 0),
        ({"port": 65535}, 0),
        ({"port": 0, "grpc": {"port": 9}}, 9),
    ):
        assert port_of(Settings.load_all(None, {}, values)) == port
    variables = {"FLEETNET_SERVE_GRPC_PORT": "7", "FLEETNET_SERVE_GRPC_ENABLED": "false"}
    asked = Settings.load_all(None, variables, {"grpc": {"port": None, "enabled": None}})
    assert (port_of(asked), asked.grpc.enabled) == (7, False)
    service = Service(repository_of(asked))
    assert "grpc" not in [one.name for one in transports(service, Tokens(None), asked)]


def test_a_port_that_is_taken_is_one_line(client: Client, network: Path) -> None:
    taken = int(client.target.rpartition(":")[2])
    settings = Settings.load_all(None, {}, {"models": {"net": network}, "grpc": {"port": taken}})

    async def start() -> None:
        service = Service(repository_of(settings))
        await GrpcTransport(service, Tokens(None), settings).start()

    with pytest.raises(FleetnetError, match=f"cannot listen on 127.0.0.1:{taken} for gRPC"):
        client.portal.call(start)


def test_tls_and_certificates_of_clients(
    certificates: Path, network: Path, picture: bytes, tmp_path: Path
) -> None:
    certificate, key = certificates / "cert.pem", certificates / "key.pem"
    tls = {"certificate": certificate, "key": key, "client_ca": certificate}
    authority, secret = certificate.read_bytes(), key.read_bytes()
    with grpc_serving(models={"net": network}, tls=tls) as client:
        assert client.transport.address.startswith("grpcs://")
        own = [("grpc.use_local_subchannel_pool", 1)]
        for credentials in (None, grpc.ssl_channel_credentials(authority)):
            stranger = (
                grpc.insecure_channel(client.target, own)
                if credentials is None
                else grpc.secure_channel(client.target, credentials, own)
            )
            with stranger, refused(Code.UNAVAILABLE):
                unary(stranger, "ServerLive")(b"", timeout=LONG)
        known = grpc.ssl_channel_credentials(authority, secret, authority)
        with grpc.secure_channel(client.target, known) as channel:
            assert unary(channel, "ServerLive")(b"", timeout=LONG)
    (tmp_path / "none.pem").write_text("nothing")
    with (
        pytest.raises(FleetnetError, match="the TLS files cannot be used"),
        grpc_serving(models={"net": network}, tls={"certificate": tmp_path / "none.pem"}),
    ):
        pass
