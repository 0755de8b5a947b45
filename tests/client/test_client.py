"""Both clients against the server: what it answers, and what it refuses."""

from __future__ import annotations

import asyncio
import io
import itertools
import json
import os
import pickle
import subprocess
import sys
import threading
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from client.conftest import LONG, Connect, reply, served
from fleetnet.classifier import Classifier
from fleetnet.client import (
    AccessError,
    AsyncClient,
    Client,
    ClientError,
    MissingError,
    RefusedError,
    UnreachableError,
)
from fleetnet.conformance.files import ConformanceSet
from fleetnet.errors import FleetnetError, ImageError
from serving.conftest import certificates  # noqa: F401 - a fixture
from serving.test_process import running

TOLERANCE = 1e-6
TOKEN, ADMINS = "a-token-of-a-client", "a-token-of-an-admin"


def test_it_is_quick_to_import_and_brings_nothing_heavy() -> None:
    code = "import sys; from fleetnet.client import Client; print(*sys.modules)"
    ran = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=LONG, check=True
    )
    heavy = {"asyncio", "numpy", "openvino", "onnxruntime", "PIL", "pydantic", "ssl", "torch"}
    assert not heavy & {name.partition(".")[0] for name in ran.stdout.split()}


def test_answers_are_the_classifiers_on_the_conformance_set(
    connect: Connect, server: str, network: Path, conformance: ConformanceSet
) -> None:
    client = connect(server)
    paths = [conformance.path / picture.file for picture in conformance.description.pictures]
    with Classifier(network) as classifier:
        expected = list(classifier.predict(paths))
    found = list(client.classify_many(paths, concurrency=4))
    assert len(found) == len(expected) > 20
    for here, there in zip(expected, found, strict=True):
        assert (there.source, there.error) == (here.source, here.error)
        assert [score.label for score in there.top] == [score.label for score in here.top]
        probabilities = [score.probability for score in there.top]
        assert probabilities == pytest.approx(
            [score.probability for score in here.top], abs=TOLERANCE
        )
        assert there.bundle == (found[0].bundle if here.ok else "")


def forms(picture: Path) -> list[Any]:
    with Image.open(picture) as image:
        image.load()
        return [
            picture,
            str(picture),
            picture.read_bytes(),
            bytearray(picture.read_bytes()),
            io.BytesIO(picture.read_bytes()),
            image,
            np.asarray(image.convert("RGB")),
        ]


def test_every_form_of_an_image_alone_and_together(
    connect: Connect, server: str, picture: Path, network: Path
) -> None:
    client = connect(server)
    together = client.classify(forms(picture), top_k=2)
    assert len(together) == 7
    with Classifier(network) as classifier:
        for form, local, there in zip(
            forms(picture), classifier.predict(forms(picture), 2), together, strict=True
        ):
            alone = client.classify(form, top_k=2)
            for remote in (alone.prediction, there):
                assert remote.label == local.label
                assert remote.probability == pytest.approx(local.probability, abs=TOLERANCE)
                assert len(remote.top) == 2
            assert alone.label == alone.top[0].label
    assert together.predictions[0].source == str(picture)
    assert together.predictions[2].source == "image 2"


def test_many_pixels_are_many_images(connect: Connect, server: str, network: Path) -> None:
    pixels = np.random.default_rng(3).integers(0, 256, (3, 30, 41, 3), np.uint8)
    answer = connect(server).classify(pixels, probabilities=True)
    with Classifier(network) as classifier:
        expected = list(classifier.predict(pixels))
    assert [one.label for one in answer] == [one.label for one in expected]
    for one in answer:
        assert sum(one.probabilities) == pytest.approx(1, abs=1e-4)


def test_an_answer_says_what_answered(connect: Connect, server: str, picture: Path) -> None:
    answer = connect(server).classify(picture, request_id="mine-1", traceparent=TRACE)
    assert (answer.id, answer.model, answer.version) == ("mine-1", "net", "1")
    assert len(answer.bundle) == 64
    assert answer.timing.batch >= 1
    assert answer.timing.compute_ms > 0
    assert answer.prediction.to_json()["image"] == str(picture)


TRACE = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"


def test_what_cannot_be_read_has_its_error_and_the_others_their_answers(
    connect: Connect, server: str, picture: Path, tmp_path: Path
) -> None:
    client = connect(server)
    missing = tmp_path / "missing.jpg"
    good, text, gone = client.classify([picture, b"none", missing])
    assert good.ok
    assert "not an image" in text.error
    assert (gone.source, gone.ok, gone.version) == (str(missing), False, "")
    assert [one.ok for one in client.classify([b"none", b"neither"])] == [False, False]
    assert client.classify(b"none").prediction.code == "not-an-image"
    assert len(client.classify([missing])) == 1
    with pytest.raises(ImageError, match=r"missing\.jpg"):
        _ = client.classify(missing).label
    assert not client.classify(np.zeros((4, 4, 3), np.float32)).prediction.ok
    assert len(client.classify([])) == 0
    for wrong in (None, {"a": 1}, [picture, None]):
        with pytest.raises(FleetnetError, match="is no image"):
            client.classify(wrong)


@pytest.mark.parametrize("size", [100_000, 30_000_000])
def test_a_server_that_refuses_a_body_before_its_end_is_heard(
    connect: Connect, network: Path, picture: Path, size: int
) -> None:
    """Or else, if it closes the connection at a bad moment, it is said that it was cut."""
    told = []
    with served(models={"net": network}, limits={"body": 50_000}) as address:
        client = connect(address)
        for _ in range(5):
            with pytest.raises((RefusedError, UnreachableError)) as caught:
                client.classify(b"x" * size)
            told.append(str(caught.value))
        assert client.classify(picture).prediction.ok
    assert "the body is larger than 50,000 bytes" in told


def test_many_images_are_answered_in_order_and_few_are_taken_ahead(
    connect: Connect, server: str, picture: Path
) -> None:
    client, taken = connect(server), itertools.count()
    last = 0

    def endless() -> Any:
        nonlocal last
        for last in taken:
            yield picture.read_bytes() if last % 3 else b"none"

    for number, one in enumerate(client.classify_many(endless(), concurrency=3)):
        assert one.source == f"image {number}"
        assert one.ok is bool(number % 3)
        assert last <= number + 8
        if number == 40:
            break


def test_a_folder_and_what_ends_an_iteration(
    connect: Connect, server: str, picture: Path, tmp_path: Path
) -> None:
    client = connect(server)
    for name in ("b.jpg", "a.jpg"):
        (tmp_path / name).write_bytes(picture.read_bytes())
    found = [Path(one.source).name for one in client.classify_many(tmp_path)]
    assert found == ["a.jpg", "b.jpg"]

    def ending() -> Any:
        yield picture
        raise KeyError("mine")

    stream = client.classify_many(ending())
    assert next(stream).ok
    with pytest.raises(KeyError, match="mine"):
        next(stream)
    with pytest.raises(MissingError):
        list(client.classify_many([picture], model="other"))
    with pytest.raises(ClientError, match="concurrency="):
        list(client.classify_many([picture], concurrency=0))


def test_the_open_inference_protocol(
    connect: Connect, server: str, picture: Path, conformance: ConformanceSet
) -> None:
    client = connect(server, model="net")
    known = next(one for one in conformance.description.pictures if one.name == "jpeg-baseline")
    answer = client.infer({"image": [picture.read_bytes()] * 2}, request_id="mine")
    assert (answer.model, answer.version, answer.id) == ("net", "1", "mine")
    assert set(answer.outputs) == {"logits", "probabilities"}
    assert answer["logits"].shape == (2, 4)
    tolerance = conformance.description.network.tolerance
    assert answer["logits"][1] == pytest.approx(known.logits, abs=tolerance)
    pixels = np.zeros((1, 24, 24, 3), np.uint8)
    assert set(client.infer({"pixels": pixels}, outputs=["logits"]).outputs) == {"logits"}
    with pytest.raises(RefusedError) as caught:
        client.infer({"image": [b"none"]})
    assert (caught.value.code, caught.value.status) == ("not-an-image", 400)
    assert caught.value.fields["image"] == 0
    for wrong in ({"image": b"alone"}, {"image": ["text"]}, {"image": np.zeros(2, complex)}):
        with pytest.raises(ClientError, match="input 'image'"):
            client.infer(wrong)


def test_models_metadata_and_health(connect: Connect, network: Path) -> None:
    with served(models={"net": network}) as address:
        client = connect(address)
        assert client.live()
        assert client.ready()
        assert client.ready("net")
        assert not client.ready("other")
        assert [(one.name, one.state) for one in client.models()] == [("net", "READY")]
        about = client.metadata("net")
        assert [one.name for one in about.inputs] == ["image", "pixels"]
        assert about.inputs[1].shape == (-1, -1, -1, 3)
        assert len(about.classes) == 4
        with pytest.raises(ClientError, match="model="):
            client.metadata()
        with pytest.raises(MissingError):
            client.metadata("net", "9")
        client.unload("net")
        assert not client.ready("net")
        client.load("net", "1", default=True)
        assert client.ready("net", "1")
        with pytest.raises(MissingError):
            client.load("../net")
    assert not client.live()
    assert not client.ready()


def test_tokens(connect: Connect, network: Path, picture: Path, tmp_path: Path) -> None:
    tokens = tmp_path / "tokens"
    tokens.write_text(f"infer {TOKEN}\nadmin {ADMINS}\n")
    with served(models={"net": network}, tokens=tokens) as address:
        with pytest.raises(AccessError) as caught:
            connect(address).classify(picture)
        assert (caught.value.status, caught.value.code) == (401, "unauthenticated")
        client = connect(address, token=TOKEN)
        assert client.classify(picture).prediction.ok
        with pytest.raises(AccessError) as caught:
            client.unload("net")
        assert caught.value.status == 403
        connect(address, api_key=ADMINS).load("net")
        assert TOKEN not in repr(Client(address, token=TOKEN))


@pytest.mark.slow
def test_tls_and_our_own_certificate(
    connect: Connect,
    certificates: Path,  # noqa: F811
    network: Path,
    picture: Path,
) -> None:
    certificate, key = certificates / "cert.pem", certificates / "key.pem"
    tls = {"TLS_CERTIFICATE": certificate, "TLS_KEY": key, "TLS_CLIENT_CA": certificate}
    with running(f"net={network}", **tls) as process:
        client = connect(process.address, ca=certificate, cert=(certificate, key))
        assert client.classify(picture).prediction.ok
        assert client.classify(picture).prediction.ok
        for options in ({}, {"ca": certificate}):
            with pytest.raises(UnreachableError):
                connect(process.address, **options).classify(picture)


def test_threads_share_a_client(server: str, picture: Path) -> None:
    labels: list[str] = []
    with Client(server, connections=3) as client:

        def ask() -> None:
            labels.extend(client.classify(picture).label for _ in range(5))

        threads = [threading.Thread(target=ask) for _ in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(LONG)
    assert len(labels) == 40
    assert len(set(labels)) == 1


@pytest.mark.skipif(not hasattr(os, "fork"), reason="there is no fork")
@pytest.mark.filterwarnings("ignore:.*fork")
def test_a_fork_does_not_use_its_parents_connections(scripted: Any) -> None:
    script = scripted(reply(b'{"live": true}'), reply(b'{"live": true}', 200, "Connection: close"))
    with Client(script.url) as client:
        assert client.live()
        child = os.fork()
        if not child:
            os._exit(0 if client._session._idle.take() is None else 1)
        assert os.waitpid(child, 0)[1] == 0
        assert client.live()
    assert script.connections == 1


@pytest.mark.parametrize(
    ("url", "options"),
    [
        ("127.0.0.1:8000", {}),
        ("ftp://127.0.0.1", {}),
        ("http://", {}),
        ("http://127.0.0.1:99999", {}),
        ("http://user:secret@127.0.0.1", {}),
        ("http://127.0.0.1/?a=b", {}),
        ("http://127.0.0.1/a b", {}),
        ("http://" + "a" * 300, {}),
        ("http://127.0.0.1", {"ca": "x.pem"}),
        ("https://127.0.0.1", {"ca": "missing.pem"}),
        ("https://127.0.0.1", {"cert": "missing.pem"}),
        ("http://127.0.0.1", {"token": "a\r\nb"}),
        ("http://127.0.0.1", {"api_key": ""}),
        ("http://127.0.0.1", {"timeout": 0}),
        ("http://127.0.0.1", {"timeout": float("nan")}),
        ("http://127.0.0.1", {"retries": -1}),
        ("http://127.0.0.1", {"connections": 0}),
    ],
)
def test_arguments_that_are_none(connect: Connect, url: str, options: dict[str, Any]) -> None:
    with pytest.raises(ClientError) as caught:
        connect(url, **options)
    assert "\n" not in str(caught.value)
    assert "secret" not in str(caught.value)


def test_what_is_wanted_is_asked_for_and_given(connect: Connect, scripted: Any) -> None:
    one: dict[str, Any] = {"top": [{"class": "a", "index": 0, "probability": 1.0}], "error": None}
    one |= {"probabilities": [1.0, 0], "embedding": [0.5, -2, 1e-9]}
    script = scripted(reply(json.dumps({"predictions": [one]}).encode()))
    client = connect(script.url, model="a b", token=TOKEN)
    (prediction,) = client.classify(b"x", top_k=1, probabilities=True, embeddings=True, version="2")
    assert prediction.probabilities == (1.0, 0.0)
    assert prediction.embedding == (0.5, -2.0, 1e-9)
    head = script.requests[0][0]
    assert head.startswith(
        "POST /classify?top_k=1&model=a+b&version=2&probabilities=true&embeddings=true HTTP/1.1"
    )
    assert f"Authorization: Bearer {TOKEN}" in head


def test_images_may_come_from_an_asynchronous_stream(server: str, picture: Path) -> None:
    async def images() -> AsyncIterator[Path]:
        for _ in range(5):
            await asyncio.sleep(0)
            yield picture

    async def all_of_it() -> list[bool]:
        async with AsyncClient(server) as client:
            return [one.ok async for one in client.classify_many(images(), concurrency=2)]

    assert asyncio.run(all_of_it()) == [True] * 5


def test_what_cannot_be_in_a_header_or_an_address(connect: Connect, scripted: Any) -> None:
    script = scripted(reply(b"{}", 404, "Connection: close"))
    client = connect(script.url + "/base/")
    for options in ({"request_id": "a\r\nb"}, {"traceparent": "x"}, {"timeout": -1}):
        with pytest.raises(ClientError):
            client.classify(b"x", **options)
    with pytest.raises(MissingError):
        client.infer({"image": [b"x"]}, model="../a b?", version="1/2")
    assert script.requests[0][0].splitlines()[0] == (
        "POST /base/v2/models/..%2Fa%20b%3F/versions/1%2F2/infer HTTP/1.1"
    )


def test_errors_keep_what_the_server_said(connect: Connect, scripted: Any) -> None:
    told = {"error": "why\n\nnot", "code": "mine", "fields": {"a": 1, "arguments": 5}}
    script = scripted(reply(json.dumps(told).encode(), 418))
    with pytest.raises(RefusedError, match=r"^why not$") as caught:
        connect(script.url).classify(b"x")
    for error in (caught.value, pickle.loads(pickle.dumps(caught.value))):  # noqa: S301 - our own
        assert (error.code, error.status, error.fields) == ("mine", 418, {"a": 1})
