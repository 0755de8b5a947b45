"""The protocol's messages as requests and results, whatever carries them."""

from __future__ import annotations

import base64
import contextlib
import re
from typing import Any

import numpy as np
import pytest
from google.protobuf import json_format
from hypothesis import given
from hypothesis import strategies as st

from fleetnet.serving.errors import RequestError, TooLargeError
from fleetnet.serving.messages import InferTensorContents, ModelInferRequest
from fleetnet.serving.open_inference import parse_inference
from fleetnet.serving.parsing import MAX_FIELDS, parsed
from samples import ROOT
from serving.messages_of import raw_of

LIMIT = 4


def request(
    name: str = "image", datatype: str = "BYTES", shape: tuple[int, ...] = (1,), **values: Any
) -> ModelInferRequest:
    tensor = ModelInferRequest.InferInputTensor(name=name, datatype=datatype, shape=shape)
    return ModelInferRequest(inputs=[tensor], **values)


def images(message: ModelInferRequest, **beside: Any) -> tuple[Any, ...]:
    return parse_inference(message.SerializeToString(), LIMIT, **beside).images


def test_images_come_raw_typed_or_beside_the_message() -> None:
    assert images(request(shape=(2,), raw_input_contents=[raw_of(b"a", b"bc")])) == (b"a", b"bc")
    assert images(request(shape=(2, 1)), attached=[raw_of(b"a", b"bc")]) == (b"a", b"bc")
    typed = request(shape=(2,))
    typed.inputs[0].contents.bytes_contents.extend([b"a", b"bc"])
    assert images(typed) == (b"a", b"bc")


def test_pixels_come_raw_and_typed() -> None:
    pixels = np.arange(2 * 1 * 3 * 3, dtype=np.uint8).reshape(2, 1, 3, 3)
    raw = request("pixels", "UINT8", pixels.shape, raw_input_contents=[pixels.tobytes()])
    typed = request("pixels", "UINT8", pixels.shape)
    typed.inputs[0].contents.uint_contents.extend(pixels.reshape(-1).tolist())
    for message in (raw, typed):
        np.testing.assert_array_equal(np.stack(images(message)), pixels)


def test_what_is_asked_for_besides_the_images() -> None:
    message = request(model_name="net", model_version="2", id="7", raw_input_contents=[raw_of(b"")])
    message.parameters["timeout"].int64_param = 1_500_000
    message.outputs.add(name="embedding")
    message.outputs.add(name="probabilities").parameters["classification"].int64_param = 3
    asked = parse_inference(message.SerializeToString(), LIMIT)
    assert (asked.model, asked.version, asked.id) == ("net", "2", "7")
    assert asked.wanted == (("embedding", None), ("probabilities", 3))
    assert asked.timeout == 1.5
    assert asked.probabilities
    assert asked.embeddings


def both() -> ModelInferRequest:
    message = request(raw_input_contents=[raw_of(b"a")])
    message.inputs[0].contents.bytes_contents.append(b"a")
    return message


def two_inputs() -> ModelInferRequest:
    message = request(raw_input_contents=[raw_of(b"a")])
    message.inputs.add(name="image", datatype="BYTES", shape=[1])
    return message


def with_parameter(name: str, output: bool = False, **value: Any) -> ModelInferRequest:
    message = request(raw_input_contents=[raw_of(b"a")])
    parameters = message.outputs.add(name="logits").parameters if output else message.parameters
    for kind, number in value.items():
        setattr(parameters[name], kind, number)
    return message


def with_pixels(*numbers: int) -> ModelInferRequest:
    message = request("pixels", "UINT8", (1, 1, 1, 3))
    message.inputs[0].contents.uint_contents.extend(numbers)
    return message


def many_outputs() -> ModelInferRequest:
    message = request(raw_input_contents=[raw_of(b"a")])
    for _ in range(17):
        message.outputs.add(name="logits")
    return message


@pytest.mark.parametrize(
    ("message", "said"),
    [
        (ModelInferRequest(), "give one input"),
        (two_inputs(), "give one input"),
        (request(), "the input needs one"),
        (both(), "the input needs one"),
        (request(raw_input_contents=[b"", b""]), "the input needs one"),
        (request("video", raw_input_contents=[b"a"]), "no input 'video'"),
        (request("image", "FP32", raw_input_contents=[b"abcd"]), "no input 'image' of FP32"),
        (request(shape=(), raw_input_contents=[b""]), "1 to 8 dimensions"),
        (request(shape=(1,) * 9, raw_input_contents=[b""]), "1 to 8 dimensions"),
        (request(shape=(0,), raw_input_contents=[b""]), "has no image"),
        (request(shape=(-1,), raw_input_contents=[b""]), "has no image"),
        (request(shape=(1, 2), raw_input_contents=[b""]), "must be [N] or [N, 1]"),
        (request(shape=(2,), raw_input_contents=[raw_of(b"a")]), "1 images in a shape of 2"),
        (request(raw_input_contents=[raw_of(b"abc")[:-1]]), "end within an image"),
        (request(raw_input_contents=[raw_of(b"abc") + b"\0"]), "end within a length"),
        (request(raw_input_contents=[b"\xff\xff\xff\xff"]), "end within an image"),
        (request("pixels", "UINT8", (1, 2, 3), raw_input_contents=[b"a"]), "must be [N, height"),
        (request("pixels", "UINT8", (1, 1, 1, 3), raw_input_contents=[b"a"]), "1 values in"),
        (request("pixels", "UINT8", (1, 2**62, 2**62, 3), raw_input_contents=[b""]), "0 values"),
        (with_pixels(1, 2, 256), "from 0 to 255"),
        (with_pixels(1, 2), "2 values in a shape of 3"),
        (with_parameter("timeout", int64_param=-1), "timeout is -1"),
        (with_parameter("timeout", string_param="1"), "must be a whole number"),
        (with_parameter("classification", output=True, int64_param=0), "at least 1"),
        (with_parameter("classification", output=True, bool_param=True), "must be a whole number"),
        (many_outputs(), "more than 16"),
    ],
)  # fmt: skip
def test_what_is_wrong_is_said(message: ModelInferRequest, said: str) -> None:
    with pytest.raises(RequestError, match=said.replace("[", r"\[")):
        images(message)


def test_too_many_images_are_refused() -> None:
    with pytest.raises(TooLargeError, match="5 images are more than 4"):
        images(request(shape=(5,), raw_input_contents=[raw_of(*[b"a"] * 5)]))


def field(number: int, content: bytes) -> bytes:
    length, coded = len(content), b""
    while length > 0x7F:
        coded, length = coded + bytes([length & 0x7F | 0x80]), length >> 7
    return bytes([number << 3 | 2]) + coded + bytes([length]) + content


@pytest.mark.parametrize(
    "data",
    [
        field(5, b"") * (MAX_FIELDS + 1),
        field(5, field(5, field(8, b"") * (MAX_FIELDS + 1))),
        field(5, field(3, b"\x01" * (MAX_FIELDS + 1))),
        field(5, field(5, field(5, b"\x01" * (MAX_FIELDS + 1)))),
        field(4, b"") * (MAX_FIELDS + 1),
        field(15, b"") * (MAX_FIELDS + 1),
    ],
    ids=["inputs", "contents", "shape", "numbers", "parameters", "unknown"],
)
def test_what_would_grow_in_memory_is_refused_before_it_is_read(data: bytes) -> None:
    with pytest.raises(RequestError, match="too many fields"):
        parsed(ModelInferRequest, data)


def test_many_pixels_are_no_many_fields() -> None:
    contents = InferTensorContents(uint_contents=[7] * (MAX_FIELDS + 1))
    assert len(parsed(InferTensorContents, contents.SerializeToString()).uint_contents) > MAX_FIELDS


@pytest.mark.parametrize(
    "data", [b"\x0a", b"\x0a\x05a", b"\xff" * 11, b"\x0b\x0c", b"\x0d\0", field(1, b"\xff")]
)
def test_what_is_no_message_is_refused(data: bytes) -> None:
    with pytest.raises(RequestError, match="no ModelInferRequest"):
        parsed(ModelInferRequest, data)


def test_the_documents_give_grpcurl_a_message_of_the_protocol() -> None:
    page = (ROOT / "docs" / "serving.md").read_text("utf-8")
    (text,) = re.findall(r"""printf '({"inputs".*)' "\$\(base64""", page)
    message = json_format.Parse(text % base64.b64encode(b"image").decode(), ModelInferRequest())
    assert images(message) == (b"image",)


BYTES = st.binary(max_size=64)
TENSORS = st.builds(
    ModelInferRequest.InferInputTensor,
    name=st.sampled_from(["image", "pixels", "é"]),
    datatype=st.sampled_from(["BYTES", "UINT8", "FP32"]),
    shape=st.lists(st.integers(-(2**63), 2**63 - 1) | st.integers(0, 5), max_size=9),
    contents=st.none()
    | st.builds(
        InferTensorContents,
        bytes_contents=st.lists(BYTES, max_size=5),
        uint_contents=st.lists(st.integers(0, 2**32 - 1) | st.integers(0, 255), max_size=30),
    ),
)
REQUESTS = st.builds(
    ModelInferRequest,
    inputs=st.lists(TENSORS, max_size=2),
    raw_input_contents=st.lists(BYTES | BYTES.map(raw_of), max_size=2),
)


@given(REQUESTS.map(lambda message: message.SerializeToString()) | BYTES)
def test_whatever_comes_is_read_or_refused_with_a_reason(data: bytes) -> None:
    with contextlib.suppress(RequestError, TooLargeError):
        parse_inference(data, LIMIT)


@given(REQUESTS)
def test_every_message_of_the_protocol_is_read_as_it_is(message: ModelInferRequest) -> None:
    assert parsed(ModelInferRequest, message.SerializeToString()) == message
