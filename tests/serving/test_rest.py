"""HTTP in this process: answers, refusals, and what may never be answered."""

from __future__ import annotations

import base64
import gzip
import io
import json
import struct
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from starlette.applications import Starlette
from starlette.routing import Route
from starlette.testclient import TestClient

from client.conftest import served
from fleetnet.conformance.files import ConformanceSet
from fleetnet.inference.classifier import Classifier
from fleetnet.serving.rest import app as app_module
from serving.conftest import Serve, service_of
from serving.raw import asked, statuses

TOLERANCE = 1e-4


def binary_request(images: list[bytes], **parameters: Any) -> tuple[bytes, dict[str, str]]:
    """Return a body and headers of the binary tensor extension, written from its description."""
    data = b"".join(struct.pack("<I", len(image)) + image for image in images)
    request = {
        "inputs": [
            {
                "name": "image",
                "datatype": "BYTES",
                "shape": [len(images)],
                "parameters": {"binary_data_size": len(data)},
            }
        ],
        "parameters": {"binary_data_output": True, **parameters},
    }
    text = json.dumps(request).encode()
    return text + data, {"Inference-Header-Content-Length": str(len(text))}


def outputs_of(response: Any) -> dict[str, np.ndarray]:
    length = int(response.headers["Inference-Header-Content-Length"])
    place, found = length, {}
    for output in json.loads(response.content[:length])["outputs"]:
        size = output["parameters"]["binary_data_size"]
        values = np.frombuffer(response.content[place : place + size], "<f4")
        found[output["name"]] = values.reshape(output["shape"])
        place += size
    assert place == len(response.content)
    return found


def test_every_way_in_gives_the_classifiers_answers_on_the_conformance_set(
    net: TestClient, network: Path, conformance: ConformanceSet
) -> None:
    client = net
    with Classifier(network) as classifier:
        for picture in conformance.description.pictures:
            content = conformance.read(picture.file, picture.sha256, picture.bytes)
            (expected,) = classifier.predict(content)
            body, headers = binary_request([content])
            inferred = client.post("/v2/models/net/infer", content=body, headers=headers)
            raw = client.post("/classify", content=content, headers={"content-type": "image/jpeg"})
            if not expected.ok:
                assert (inferred.status_code, raw.status_code) == (400, 400), picture.name
                if content:
                    assert raw.json()["error"] == expected.error
                continue
            assert inferred.status_code == 200, inferred.text
            assert raw.status_code == 200, raw.text
            assert outputs_of(inferred)["logits"][0] == pytest.approx(
                expected.logits, abs=TOLERANCE
            )
            top = raw.json()["predictions"][0]["top"]
            assert [score["index"] for score in top] == [score.index for score in expected.top]
            assert [score["probability"] for score in top] == pytest.approx(
                [score.probability for score in expected.top], abs=TOLERANCE
            )


def test_pixels_are_pictures_as_the_classifier_takes_them(net: TestClient, network: Path) -> None:
    client = net
    pixels = np.random.default_rng(3).integers(0, 256, (2, 30, 41, 3), np.uint8)
    with Classifier(network) as classifier:
        expected = [one.logits for one in classifier.predict(pixels) if one.logits is not None]
    tensor = {"name": "pixels", "datatype": "UINT8", "shape": [2, 30, 41, 3]}
    request = {"inputs": [{**tensor, "data": pixels.tolist()}], "outputs": [{"name": "logits"}]}
    response = client.post("/v2/models/net/infer", json=request)
    (output,) = response.json()["outputs"]
    assert np.array(output["data"]).reshape(output["shape"]) == pytest.approx(
        np.array(expected), abs=TOLERANCE
    )


def test_a_form_and_json_take_several_images_and_each_has_its_own_error(
    net: TestClient, picture: bytes
) -> None:
    client = net
    form = client.post(
        "/classify?top_k=2", files=[("image", ("a.jpg", picture)), ("image", ("b.jpg", b"none"))]
    )
    encoded = [base64.b64encode(content).decode() for content in (picture, b"none")]
    listed = client.post("/classify", json={"images": encoded, "top_k": 2})
    for response in (form, listed):
        assert response.status_code == 200, response.text
        good, bad = response.json()["predictions"]
        assert len(good["top"]) == 2
        assert good["error"] is None
        assert bad["top"] == []
        assert bad["error"]
    assert form.json()["predictions"] == listed.json()["predictions"]


def test_a_response_says_which_model_and_bundle_answered(
    serve: Serve, network: Path, picture: bytes
) -> None:
    import hashlib

    client = serve(models={"net": network}, aliases={"latest": "net"})
    headers = {"X-Request-Id": "mine-1"}
    response = client.post("/classify?model=latest", content=picture, headers=headers)
    assert response.headers["x-request-id"] == "mine-1"
    answer = response.json()
    assert (answer["id"], answer["model"], answer["version"]) == ("mine-1", "net", "1")
    assert answer["bundle"] == hashlib.sha256(network.read_bytes()).hexdigest()


def test_metadata_health_index_and_metrics(serve: Serve, network: Path, picture: bytes) -> None:
    client = serve(models={"net": network})
    assert client.get("/v2/health/live").status_code == 200
    assert client.get("/v2/health/ready").status_code == 200
    assert client.get("/v2").json()["name"] == "fleetnet"
    metadata = client.get("/v2/models/net").json()
    assert metadata["versions"] == ["1"]
    assert metadata["parameters"]["classes"] == ["circle", "square", "stripes", "nothing"]
    assert client.get("/v2/models/net/versions/1/ready").status_code == 200
    assert client.get("/v2/models/net/versions/2/ready").status_code == 404
    index = client.post("/v2/repository/index").json()
    assert index == [{"name": "net", "version": "1", "state": "READY", "reason": ""}]
    client.post("/classify", content=picture)
    client.post("/classify", content=b"no image")
    client.post("/classify", content=b"")
    text = client.get("/metrics").text
    line = 'fleetnet_requests_total{model="net",protocol="rest",version="1"}'
    assert f"{line} 1.0" in text
    assert 'fleetnet_unreadable_images_total{model="net",version="1"} 1.0' in text
    assert 'fleetnet_inference_seconds_count{model="net",version="1"}' in text


def test_classification_as_the_protocol_writes_it(net: TestClient, picture: bytes) -> None:
    client = net
    request = {
        "inputs": [
            {
                "name": "image",
                "datatype": "BYTES",
                "shape": [1],
                "data": [base64.b64encode(picture).decode()],
            }
        ],
        "outputs": [{"name": "probabilities", "parameters": {"classification": 2}}],
    }
    (output,) = client.post("/v2/models/net/infer", json=request).json()["outputs"]
    assert (output["datatype"], output["shape"]) == ("BYTES", [1, 2])
    assert output["data"][0].split(":")[1:] == ["1", "square"]


def test_a_compressed_body_is_read_up_to_the_limit(
    serve: Serve, network: Path, picture: bytes
) -> None:
    client = serve(models={"net": network}, limits={"body": 100_000})
    packed = {"content-encoding": "gzip"}
    assert client.post("/classify", content=gzip.compress(picture), headers=packed).is_success
    bomb = gzip.compress(bytes(200_000))
    assert client.post("/classify", content=bomb, headers=packed).status_code == 413
    cut = gzip.compress(picture)[:-12]
    assert client.post("/classify", content=cut, headers=packed).status_code == 400
    more = client.post("/classify", content=gzip.compress(picture) + b"more", headers=packed)
    assert (more.status_code, "follows its end" in more.text) == (400, True)
    other = {"content-encoding": "br"}
    assert client.post("/classify", content=picture, headers=other).status_code == 415


def big_picture() -> bytes:
    buffer = io.BytesIO()
    Image.new("L", (1001, 1000)).save(buffer, "PNG")
    return buffer.getvalue()


IMAGE = {"name": "image", "datatype": "BYTES", "shape": [1]}
PIXELS = {"name": "pixels", "datatype": "UINT8", "shape": [1, 1, 2, 3]}


@pytest.mark.parametrize(
    ("request_", "said"),
    [
        (b"", "JSON"),
        (b"{", "JSON"),
        (b"[" * 100_000, "JSON"),
        (b"{}", "inputs: it is missing"),
        ({"inputs": []}, "at least 1"),
        ({"inputs": [IMAGE]}, "either data or binary_data_size"),
        ({"inputs": [{**IMAGE, "data": ["?"]}]}, "base64"),
        ({"inputs": [{**IMAGE, "data": [3]}]}, "base64"),
        ({"inputs": [{**IMAGE, "data": ["aGFsbG8="]}]}, "image 0: "),
        ({"inputs": [{**IMAGE, "shape": [2], "data": ["aGFsbG8="]}]}, "1 images in a shape of 2"),
        ({"inputs": [{**IMAGE, "shape": [0], "data": []}]}, "has no image"),
        ({"inputs": [{**IMAGE, "shape": [-1], "data": []}]}, "has no image"),
        ({"inputs": [{**IMAGE, "shape": [1, 9], "data": []}]}, "must be [N]"),
        ({"inputs": [{**IMAGE, "datatype": "FP32", "data": [1]}]}, "there is no input"),
        ({"inputs": [{**PIXELS, "data": [1, 2, 3]}]}, "3 values in a shape of 6"),
        ({"inputs": [{**PIXELS, "data": [1, 2, 3, 4, 5, 256]}]}, "from 0 to 255"),
        ({"inputs": [{**PIXELS, "data": [1, 2, 3, 4, 5, 0.5]}]}, "from 0 to 255"),
        ({"inputs": [{**PIXELS, "data": [[1, 2, 3], [4]]}]}, "from 0 to 255"),
        ({"inputs": [{**PIXELS, "data": [1, 2, 3, 4, 5, 10**30]}]}, "from 0 to 255"),
        ({"inputs": [{**PIXELS, "data": []}]}, "from 0 to 255"),
        ({"inputs": [{**PIXELS, "shape": [1, 6], "data": []}]}, "[N, height, width, 3]"),
        (
            {"inputs": [{**PIXELS, "data": [0] * 6}], "outputs": [{"name": "x"}]},
            "there is no output 'x'",
        ),
        (
            {"inputs": [{**PIXELS, "data": [0] * 6}], "outputs": [{"name": "embedding"}]},
            "gives no embeddings",
        ),
        ({"inputs": [IMAGE, IMAGE]}, "give one input"),
    ],
)
def test_bad_requests_are_refused_with_a_reason(net: TestClient, request_: Any, said: str) -> None:
    client = net
    body = request_ if isinstance(request_, bytes) else json.dumps(request_).encode()
    response = client.post("/v2/models/net/infer", content=body)
    assert response.status_code == 400, response.text
    assert said in response.json()["error"]


@pytest.mark.parametrize(
    ("length", "cut"),
    [("x", 0), ("-1", 0), ("9" * 30, 0), ("999999999", 0), (None, 3), (None, -3)],
)
def test_a_binary_body_that_does_not_fit_its_header_is_refused(
    net: TestClient, picture: bytes, length: str | None, cut: int
) -> None:
    client = net
    body, headers = binary_request([picture])
    headers["Inference-Header-Content-Length"] = (
        length or headers["Inference-Header-Content-Length"]
    )
    body = body + b"abc" if cut < 0 else body[: len(body) - cut]
    assert client.post("/v2/models/net/infer", content=body, headers=headers).status_code == 400


def test_lengths_within_the_binary_data_are_checked(net: TestClient) -> None:
    client = net
    for data in (b"\x01", b"\xff\xff\xff\xff", struct.pack("<I", 5) + b"four"):
        tensor = {**IMAGE, "parameters": {"binary_data_size": len(data)}}
        text = json.dumps({"inputs": [tensor]}).encode()
        headers = {"Inference-Header-Content-Length": str(len(text))}
        response = client.post("/v2/models/net/infer", content=text + data, headers=headers)
        assert response.status_code == 400
        assert "the binary data end within" in response.json()["error"]


@pytest.mark.parametrize(
    ("path", "content", "kind", "status"),
    [
        ("/classify", b"", "image/jpeg", 400),
        ("/classify", b"no image", "image/jpeg", 400),
        ("/classify", b"<html>", "text/html", 415),
        ("/classify", b"{", "application/json", 400),
        ("/classify", b'{"image": "?"}', "application/json", 400),
        ("/classify", b'{"imag": ""}', "application/json", 400),
        ("/classify", b"--x", "multipart/form-data", 400),
        ("/classify", b"--x", "multipart/form-data; boundary=x", 400),
        ("/classify", b"--y\r\n\r\n", "multipart/form-data; boundary=x", 400),
        ("/classify?top_k=0", b"x", "image/jpeg", 400),
        ("/classify?top_k=many", b"x", "image/jpeg", 400),
        ("/classify?unknown=1", b"x", "image/jpeg", 400),
        ("/classify?model=other", b"x", "image/jpeg", 404),
        ("/classify?model=../../etc", b"x", "image/jpeg", 404),
        ("/classify?version=7", b"x", "image/jpeg", 404),
        ("/classify/", b"x", "image/jpeg", 404),
        ("/v2/models/other/infer", b"{}", "application/json", 400),
        ("/nothing", b"", "image/jpeg", 404),
    ],
)
def test_what_cannot_be_answered_has_a_status_and_a_reason(
    net: TestClient, path: str, content: bytes, kind: str, status: int
) -> None:
    client = net
    response = client.post(path, content=content, headers={"content-type": kind})
    assert response.status_code == status, response.text
    assert response.json()["error"]


def test_limits_on_body_pixels_and_images(serve: Serve, network: Path, picture: bytes) -> None:
    limits = {"body": 20_000, "pixels": 1_000_000, "images": 2}
    client = serve(models={"net": network}, limits=limits)
    response = client.post("/classify", content=bytes(20_001))
    assert response.status_code == 413
    chunked = client.post("/classify", content=iter([bytes(15_000), bytes(15_000)]))
    assert chunked.status_code == 413
    large = client.post("/classify", content=big_picture())
    assert large.status_code == 400
    assert "1001×1000 is more than 1 million pixels" in large.json()["error"]
    form = client.post("/classify", files=[("image", ("a.jpg", picture))] * 3)
    assert form.status_code == 413
    body, headers = binary_request([picture] * 3)
    many = client.post("/v2/models/net/infer", content=body, headers=headers)
    assert many.status_code == 413


def test_a_deadline_that_passed_is_a_504(net: TestClient, picture: bytes) -> None:
    client = net
    headers = {"X-Request-Timeout-Ms": "0"}
    response = client.post("/classify", content=picture, headers=headers)
    assert (response.status_code, response.json()["code"]) == (504, "deadline")
    headers = {"X-Request-Timeout-Ms": "soon"}
    assert client.post("/classify", content=picture, headers=headers).status_code == 400
    assert 'cause="deadline"' in client.get("/metrics").text


def test_the_time_of_a_request_counts_from_its_headers(
    network: Path, picture: bytes, serve: Serve, monkeypatch: pytest.MonkeyPatch
) -> None:
    with served(models={"net": network}) as address:
        head = (
            "POST /classify HTTP/1.1\r\nHost: localhost\r\nX-Request-Timeout-Ms: 30\r\n"
            f"Content-Length: {len(picture)}\r\n\r\n"
        )
        got = asked(address, head, picture[:100])  # and the rest never comes
    assert (statuses(got), b'"deadline"' in got) == ([504], True)

    client = serve(models={"net": network})
    computed: list[int] = []
    loaded = service_of(client).models.find("net").loaded
    monkeypatch.setattr(loaded, "compute", lambda pixels: computed.append(len(pixels)))
    monkeypatch.setattr(app_module, "begun_of", lambda _: time.monotonic() - 1)
    late = {"X-Request-Timeout-Ms": "900"}
    body, headers = binary_request([picture])
    slow, others = binary_request([picture], timeout=900_000)
    for path, content, more in (
        ("/classify", picture, late),
        ("/explain", picture, late),
        ("/v2/models/net/infer", body, {**headers, **late}),
        ("/v2/models/net/infer", slow, others),
    ):
        response = client.post(path, content=content, headers=more)
        assert (response.status_code, response.json()["code"]) == (504, "deadline"), path
    assert computed == []


def test_too_many_images_are_too_large_however_they_are_sent(
    serve: Serve, network: Path, picture: bytes
) -> None:
    client = serve(models={"net": network}, limits={"images": 2})
    encoded = [base64.b64encode(picture).decode()] * 3
    tensor = {"name": "image", "datatype": "BYTES", "shape": [3], "data": encoded}
    for path, values in (
        ("/classify", {"json": {"images": encoded}}),
        ("/classify", {"files": [("image", picture)] * 3}),
        ("/v2/models/net/infer", {"json": {"inputs": [tensor]}}),
    ):
        response = client.post(path, **values)
        assert (response.status_code, response.json()["code"]) == (413, "too-large"), response.text


def test_a_form_has_no_texts(net: TestClient, picture: bytes) -> None:
    response = net.post("/classify", files=[("image", picture)], data={"model": "nope"})
    assert response.status_code == 400
    assert "/classify?top_k=3" in response.json()["error"]


def test_a_full_queue_is_a_429_that_says_when(serve: Serve, network: Path, picture: bytes) -> None:
    client = serve(models={"net": network}, queue={"images": 2})
    lane = service_of(client).models.find("net").lane
    lane.images += 2
    response = client.post("/classify", content=picture)
    assert (response.status_code, response.json()["code"]) == (429, "overloaded")
    assert int(response.headers["retry-after"]) >= 1
    lane.images -= 2
    assert client.post("/classify", content=picture).status_code == 200


def test_tokens_and_roles(serve: Serve, network: Path, tmp_path: Path, picture: bytes) -> None:
    tokens = tmp_path / "tokens"
    tokens.write_text("infer aaaaaaaaaaaaaaaa\nadmin bbbbbbbbbbbbbbbb\n")
    client = serve(models={"net": network}, tokens=tokens)
    user, admin = {"Authorization": "Bearer aaaaaaaaaaaaaaaa"}, {"X-API-Key": "bbbbbbbbbbbbbbbb"}
    assert client.get("/v2/health/ready").status_code == 200
    for headers, status in (({}, 401), ({"X-API-Key": "?"}, 401), (user, 200), (admin, 200)):
        response = client.post("/classify", content=picture, headers=headers)
        assert response.status_code == status
    for headers, status in (({}, 401), (user, 403), (admin, 200)):
        response = client.post("/v2/repository/models/net/load", headers=headers)
        assert response.status_code == status, response.text
    assert client.get("/metrics").status_code == 401


TRAVERSALS = [
    "..",
    "%2e%2e",
    "..%2f..%2fetc",
    "%2fetc%2fpasswd",
    ".hidden",
    "a%00b",
    "a" * 200,
    "a..b",
]


@pytest.mark.parametrize("name", TRAVERSALS)
def test_a_model_comes_only_from_the_folder(serve: Serve, versions: Path, name: str) -> None:
    client = serve(folder=versions)
    for verb in ("load", "unload"):
        response = client.post(f"/v2/repository/models/{name}/{verb}")
        assert response.status_code in (400, 404), response.text
        body = {"parameters": {"version": "../1"}}
        response = client.post(f"/v2/repository/models/shapes/{verb}", json=body)
        assert response.status_code in (400, 404), response.text


@pytest.mark.parametrize("length", ["²", "9" * 5000, "+1", "1 1", "-1", "0x1", "1" * 13, ""])
def test_a_length_of_json_that_is_none_is_refused(net: TestClient, length: str) -> None:
    headers = {b"Inference-Header-Content-Length": length.encode("latin-1")}
    response = net.post("/v2/models/net/infer", content=b"{}", headers=headers)
    assert response.status_code == 400, response.text


def test_numbers_and_truth_values_in_json_are_such(net: TestClient) -> None:
    for path, body in (
        ("/v2/repository/index", {"ready": 0}),
        ("/classify", {"top_k": "5", "image": ""}),
        (
            "/v2/models/net/infer",
            {"inputs": [{"name": "image", "shape": ["1"], "datatype": "BYTES"}]},
        ),
    ):
        response = net.post(path, json=body)
        assert response.status_code == 400
        assert "must be" in response.json()["error"] or "should be" in response.json()["error"]


def test_a_model_cannot_be_sent_to_be_loaded(serve: Serve, versions: Path) -> None:
    client = serve(folder=versions)
    for name in ("config", "file:1/model.onnx"):
        body = {"parameters": {name: "{}"}}
        response = client.post("/v2/repository/models/shapes/load", json=body)
        assert response.status_code == 400


def test_what_nobody_foresaw_tells_nothing(
    net: TestClient, picture: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    client = net
    version = service_of(client).models.find("net")

    def broken(_: object) -> None:
        raise ValueError("a secret")

    monkeypatch.setattr(version.loaded, "compute", broken)
    response = client.post("/classify", content=picture)
    assert (response.status_code, response.json()["code"]) == (500, "internal")
    assert "secret" not in response.text


def test_the_openapi_document_and_its_page(net: TestClient) -> None:
    client = net
    document = client.get("/openapi.json").json()
    assert document["openapi"] == "3.1.0"
    text = json.dumps(document)
    names = document["components"]["schemas"]
    for reference in text.split('"#/components/schemas/')[1:]:
        assert reference.partition('"')[0] in names
    assert isinstance(client.app, Starlette)
    served = {route.path for route in client.app.routes if isinstance(route, Route)}
    served -= {"/docs", "/openapi.json", "/", "/page/{name}"}
    assert set(document["paths"]) == served
    page = client.get("/docs")
    assert page.headers["content-type"].startswith("text/html")
    assert "://" not in page.text


def test_bodies_have_a_limit_together_and_give_back_what_they_took(
    serve: Serve, network: Path, picture: bytes
) -> None:
    client = serve(models={"net": network}, limits={"buffered": len(picture)})
    budget = service_of(client).budget
    for content, status in ((picture, 200), (b"none", 400), (picture, 200)):
        assert client.post("/classify", content=content).status_code == status
        assert budget.held == 0
    budget.take(1)
    response = client.post("/classify", content=picture)
    assert (response.status_code, response.json()["code"]) == (429, "overloaded")
    budget.give_back(1)
    assert client.post("/classify", content=picture).status_code == 200
