"""The Open Inference Protocol's tensors, in JSON and in its binary extension."""

from __future__ import annotations

import base64
import binascii
import math
import struct
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from pydantic import ValidationError

from fleetnet.json_text import json_text
from fleetnet.schema import first_problem
from fleetnet.serving.errors import RequestError, TooLargeError
from fleetnet.serving.loaded import EMBEDDING, LOGITS
from fleetnet.serving.requests import Answer, Picture, Result
from fleetnet.serving.rest.schema import (
    InferRequest,
    InferResponse,
    InputTensor,
    OutputTensor,
    WantedOutput,
)

IMAGE, PIXELS = "image", "pixels"
PROBABILITIES = "probabilities"
OUTPUTS = (LOGITS, PROBABILITIES, EMBEDDING)
LENGTH_HEADER = "inference-header-content-length"
_LENGTH = struct.Struct("<I")


@dataclass(frozen=True)
class Inference:
    """A request of the protocol, checked, with its images."""

    request: InferRequest
    images: tuple[Picture, ...]

    @property
    def wanted(self) -> list[WantedOutput]:
        """The outputs that are asked for; logits and probabilities if none are."""
        return self.request.outputs or [WantedOutput(name=name) for name in (LOGITS, PROBABILITIES)]

    def is_binary(self, output: WantedOutput) -> bool:
        """Tell whether an output goes after the JSON."""
        asked = output.parameters.binary_data
        return self.request.parameters.binary_data_output if asked is None else asked


def parse_inference(body: bytes, json_length: str | None, max_images: int) -> Inference:
    """Read a request of the protocol.

    Args:
        body: JSON, and then the binary data of the inputs that have some.
        json_length: how many bytes of it are JSON, as the header says; None for all.
        max_images: in a request.

    Raises:
        RequestError: it is not what the protocol says, or what the models take.
        TooLargeError: too many images.
    """
    length = len(body)
    if json_length is not None:
        if not json_length.isascii() or not json_length.isdigit() or len(json_length) > 12:
            raise RequestError(f"{LENGTH_HEADER} must be a whole number")
        length = int(json_length)
        if length > len(body):
            raise RequestError(f"{LENGTH_HEADER} is {length}, the body has {len(body)} bytes")
    request = _parsed(body[:length])
    if len(request.inputs) != 1:
        raise RequestError(f"give one input, '{IMAGE}' or '{PIXELS}', not {len(request.inputs)}")
    for output in request.outputs:
        if output.name not in OUTPUTS:
            raise RequestError(f"there is no output '{output.name}' (known: {', '.join(OUTPUTS)})")
    tensor, rest = request.inputs[0], memoryview(body)[length:]
    size = tensor.parameters.binary_data_size
    if len(rest) != (size or 0):
        raise RequestError(
            f"there are {len(rest)} bytes after the JSON, the inputs need {size or 0}"
        )
    if (size is None) == (tensor.data is None):
        raise RequestError(f"input '{tensor.name}': give either data or binary_data_size")
    if tensor.shape[0] > max_images:
        raise TooLargeError(f"{tensor.shape[0]} images are more than {max_images} in a request")
    if min(tensor.shape) < 1:
        raise RequestError(f"input '{tensor.name}': its shape {tensor.shape} has no image")
    return Inference(request, _images(tensor, None if size is None else rest))


def _parsed(text: bytes) -> InferRequest:
    try:
        return InferRequest.model_validate_json(text)
    except ValidationError as error:
        place, said = first_problem(error)
        raise RequestError(f"{place + ': ' if place else ''}{said}") from None


def _images(tensor: InputTensor, binary: memoryview | None) -> tuple[Picture, ...]:
    kind = (tensor.name, tensor.datatype)
    if kind == (IMAGE, "BYTES"):
        number = math.prod(tensor.shape)
        if number != tensor.shape[0]:
            raise RequestError(f"input '{IMAGE}': its shape must be [N] or [N, 1]")
        found = _elements(binary) if binary is not None else _from_base64(tensor.data or [])
        if len(found) != number:
            raise RequestError(f"input '{IMAGE}': {len(found)} images in a shape of {number}")
        return tuple(found)
    if kind == (PIXELS, "UINT8"):
        if len(tensor.shape) != 4 or tensor.shape[3] != 3:
            raise RequestError(f"input '{PIXELS}': its shape must be [N, height, width, 3]")
        return tuple(_pixels(tensor, binary))
    raise RequestError(
        f"there is no input '{tensor.name}' of {tensor.datatype}: give '{IMAGE}', BYTES, or "
        f"'{PIXELS}', UINT8"
    )


def _elements(binary: memoryview) -> list[bytes]:
    """Return the elements of a BYTES tensor, each after its length."""
    found, place = [], 0
    while place < len(binary):
        if place + _LENGTH.size > len(binary):
            raise RequestError(f"input '{IMAGE}': the binary data end within a length")
        (length,) = _LENGTH.unpack_from(binary, place)
        place += _LENGTH.size
        if place + length > len(binary):
            raise RequestError(f"input '{IMAGE}': the binary data end within an image")
        found.append(bytes(binary[place : place + length]))
        place += length
    return found


def _from_base64(data: list[Any]) -> list[bytes]:
    flat: list[Any] = []
    for value in data:
        flat.extend(value if isinstance(value, list) else [value])
    return [from_base64(value) for value in flat]


def from_base64(value: Any) -> bytes:
    """Return the bytes of a text in base64; a data URL's beginning is passed over.

    Raises:
        RequestError: it is none.
    """
    if not isinstance(value, str):
        raise RequestError("an image in JSON must be a text in base64")
    text = value.partition(",")[2] if value.startswith("data:") else value
    try:
        return base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        raise RequestError("an image in JSON must be a text in base64") from None


def _pixels(tensor: InputTensor, binary: memoryview | None) -> Sequence[Picture]:
    number = math.prod(tensor.shape)
    flat = np.frombuffer(binary, np.uint8) if binary is not None else _bytes_of(tensor.data)
    if flat.size != number:
        raise RequestError(f"input '{PIXELS}': {flat.size} values in a shape of {number}")
    return list(flat.reshape(tensor.shape))


def _bytes_of(data: Any) -> Any:
    """Return a list of numbers, nested or not, as ``uint8[size]``."""
    try:
        numbers = np.asarray(data)
    except (ValueError, TypeError, OverflowError):
        numbers = np.empty(0)
    if numbers.dtype.kind not in "iu" or numbers.min() < 0 or numbers.max() > 255:
        raise RequestError(f"input '{PIXELS}': its data must be whole numbers from 0 to 255")
    return numbers.astype(np.uint8).reshape(-1)


def write_inference(inference: Inference, result: Result) -> tuple[bytes, int | None]:
    """Return a response's body, and how many bytes of it are JSON if others follow.

    Args:
        inference: that was asked for.
        result: with an answer for every image.
    """
    outputs, blobs = [], []
    for wanted in inference.wanted:
        tensor, blob = _output(wanted, result, binary=inference.is_binary(wanted))
        outputs.append(tensor)
        blobs.append(blob)
    response = InferResponse(
        id=inference.request.id,
        model_name=result.model,
        model_version=result.version,
        parameters={"bundle": result.bundle, **result.timing.to_json()},
        outputs=outputs,
    )
    text = json_text(response.model_dump(exclude_none=True), indent=None).encode()
    rest = b"".join(blobs)
    return text + rest, len(text) if any(_is_binary(output) for output in outputs) else None


def _is_binary(output: OutputTensor) -> bool:
    return output.data is None


def _output(wanted: WantedOutput, result: Result, *, binary: bool) -> tuple[OutputTensor, bytes]:
    rows = np.stack([_row(answer, wanted.name) for answer in result.answers])
    top = wanted.parameters.classification
    if top is not None:
        texts = [_best(row, result.classes, top) for row in rows]
        values: list[Any] = [text for row in texts for text in row]
        blob = b"".join(_LENGTH.pack(len(text.encode())) + text.encode() for text in values)
        kind, shape = "BYTES", [len(rows), len(texts[0])]
    else:
        values = [] if binary else rows.reshape(-1).tolist()
        blob = np.ascontiguousarray(rows, "<f4").tobytes() if binary else b""
        kind, shape = "FP32", list(rows.shape)
    tensor = OutputTensor.model_validate(
        {
            "name": wanted.name,
            "datatype": kind,
            "shape": shape,
            "parameters": {"binary_data_size": len(blob)} if binary else None,
            "data": None if binary else values,
        }
    )
    return tensor, blob if binary else b""


def _row(answer: Answer, name: str) -> Any:
    row = {
        LOGITS: answer.logits,
        PROBABILITIES: answer.probabilities,
        EMBEDDING: answer.embedding,
    }[name]
    assert row is not None  # noqa: S101 - it was asked for
    return row


def _best(row: Any, classes: tuple[str, ...], top: int) -> list[str]:
    best = np.argsort(-row, kind="stable")[:top]
    named = len(classes) == len(row)
    return [f"{row[i]:f}:{i}" + (f":{classes[i]}" if named else "") for i in map(int, best)]
