"""A server says which answers its bundle rejects, by every protocol."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from fleetnet.bundle import ONNX_METADATA_KEY, onnx_metadata, with_onnx_metadata
from fleetnet.client.replies import prediction_of
from fleetnet.conformance.files import ConformanceSet
from fleetnet.errors import FleetnetError
from fleetnet.inference.classifier import Classifier, Prediction
from fleetnet.serving.messages import ModelInferRequest
from fleetnet.serving.open_inference import parse_inference, write_response
from fleetnet.serving.requests import Answer, Result, Timing
from serving.conftest import Serve


@pytest.fixture(scope="module")
def pictures(conformance: ConformanceSet, network: Path) -> list[tuple[bytes, Prediction]]:
    """Readable pictures with their answers."""
    found = []
    with Classifier(network) as classifier:
        for picture in conformance.description.pictures[:20]:
            content = conformance.read(picture.file, picture.sha256, picture.bytes)
            (answer,) = classifier.predict(content)
            if answer.ok:
                found.append((content, answer))
    return found


@pytest.fixture(scope="module")
def rejecting(
    network: Path,
    pictures: list[tuple[bytes, Prediction]],
    tmp_path_factory: pytest.TempPathFactory,
) -> Path:
    """The network with a threshold in the largest gap between the scores of the pictures."""
    scores = np.sort([answer.logits.max() for _, answer in pictures if answer.logits is not None])
    gap = int(np.diff(scores).argmax())
    data = network.read_bytes()
    values = json.loads(onnx_metadata(data)[ONNX_METADATA_KEY])
    values["format_version"] = "3.0"
    values["rejection"] = {
        "score": "max-logit",
        "threshold": float(scores[gap : gap + 2].mean()),
        "coverage": 0.5,
        "risk": 0.1,
        "images": 20,
        "source": "made up",
    }
    path = tmp_path_factory.mktemp("rejecting") / "net.onnx"
    path.write_bytes(with_onnx_metadata(data, ONNX_METADATA_KEY, json.dumps(values)))
    return path


def test_answers_over_http_are_the_classifiers(
    serve: Serve, rejecting: Path, pictures: list[tuple[bytes, Prediction]]
) -> None:
    net = serve(models={"net": rejecting})
    told = net.get("/v2/models/net").json()
    assert {"name": "rejected", "datatype": "FP32", "shape": [-1, 1]} in told["outputs"]
    assert net.get("/models/net/card").json()["rejection"]["score"] == "max-logit"
    decisions = set()
    with Classifier(rejecting) as classifier:
        for content, plain in pictures:
            (expected,) = classifier.predict(content)
            decisions.add(expected.rejected)
            assert expected.top == plain.top
            answered = net.post("/classify", content=content, headers={"content-type": "image/*"})
            (one,) = answered.json()["predictions"]
            assert one["rejected"] == expected.rejected
            assert one["score"] == pytest.approx(expected.score, abs=1e-4)
            read = prediction_of(one, "a.jpg", {})
            assert (read.rejected, read.score) == (expected.rejected, one["score"])
    assert decisions == {True, False}


def inferred(net: Any, content: bytes, *outputs: str) -> Any:
    import base64

    tensor = {"name": "image", "datatype": "BYTES", "shape": [1]}
    tensor["data"] = [base64.b64encode(content).decode()]
    asked = {"inputs": [tensor], "outputs": [{"name": name} for name in outputs]}
    return net.post("/v2/models/net/infer", json=asked)


def test_the_open_inference_protocol_has_outputs_for_it(
    serve: Serve, rejecting: Path, pictures: list[tuple[bytes, Prediction]]
) -> None:
    net = serve(models={"net": rejecting})
    with Classifier(rejecting) as classifier:
        for content, _ in pictures[:4]:
            (expected,) = classifier.predict(content)
            answer = inferred(net, content, "rejected", "score").json()
            rejected, score = (output["data"] for output in answer["outputs"])
            assert rejected == [float(expected.rejected)]
            assert score == pytest.approx([expected.score], abs=1e-4)
            # Whoever asks for something else hears of it too.
            told = inferred(net, content, "probabilities").json()["parameters"]
            assert told["rejected"] == int(expected.rejected)


def test_a_model_without_a_threshold_says_so(serve: Serve, network: Path, picture: bytes) -> None:
    net = serve(models={"net": network})
    answer = inferred(net, picture, "rejected")
    assert answer.status_code == 400
    assert "rejects nothing" in answer.json()["error"]
    assert "rejected" not in inferred(net, picture, "logits").json()["parameters"]
    (one,) = net.post("/classify", content=picture).json()["predictions"]
    assert "rejected" not in one


@pytest.mark.parametrize("typed", [False, True])
def test_messages_of_grpc_and_brpc_have_them(typed: bool) -> None:
    message = ModelInferRequest(model_name="net")
    tensor = message.inputs.add(name="image", datatype="BYTES", shape=[2])
    if typed:
        tensor.contents.bytes_contents.extend([b"one", b"other"])
    else:
        message.raw_input_contents.append(b"\3\0\0\0one\5\0\0\0other")
    for name in ("rejected", "score"):
        message.outputs.add(name=name)
    inference = parse_inference(message.SerializeToString(), 8)
    assert inference.scores
    logits = np.zeros(3, np.float32)
    answers = (
        Answer(logits=logits, rejected=True, score=-1.5),
        Answer(logits=logits, rejected=False, score=2.5),
    )
    result = Result("id", "net", "1", "hash", ("a", "b", "c"), answers, Timing())
    response = write_response(inference, result)
    assert response.parameters["rejected"].int64_param == 1
    if typed:
        found = [list(output.contents.fp32_contents) for output in response.outputs]
    else:
        found = [np.frombuffer(raw, "<f4").tolist() for raw in response.raw_output_contents]
    assert found == [[1, 0], [-1.5, 2.5]]
    assert [list(output.shape) for output in response.outputs] == [[2, 1], [2, 1]]


@pytest.mark.parametrize("wrong", [{"rejected": "yes"}, {"score": True}, {"rejected": 1}])
def test_a_client_refuses_what_is_no_answer(wrong: dict[str, Any]) -> None:
    answer = {"top": [{"class": "a", "index": 0, "probability": 1.0}], "error": None, **wrong}
    with pytest.raises(FleetnetError):
        prediction_of(answer, "a.jpg", {})
