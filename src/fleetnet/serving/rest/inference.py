"""Requests and responses of the Open Inference Protocol, in JSON and its binary extension."""

from __future__ import annotations

import base64
import binascii
from dataclasses import dataclass
from typing import Any

from pydantic import ValidationError

from fleetnet.json_text import json_text
from fleetnet.schema import first_problem
from fleetnet.serving.errors import RequestError
from fleetnet.serving.requests import Picture, Result
from fleetnet.serving.rest.schema import (
    InferRequest,
    InferResponse,
    InputTensor,
    OutputTensor,
    WantedOutput,
)
from fleetnet.serving.tensors import (
    DEFAULT_OUTPUTS,
    Input,
    byte_values,
    facts_of,
    known_outputs,
    only_input,
    output_of,
)

LENGTH_HEADER = "inference-header-content-length"


@dataclass(frozen=True)
class Inference:
    """A request of the protocol, checked, with its images."""

    request: InferRequest
    images: tuple[Picture, ...]

    @property
    def wanted(self) -> list[WantedOutput]:
        """The outputs that are asked for; logits and probabilities if none are."""
        return self.request.outputs or [WantedOutput(name=name) for name in DEFAULT_OUTPUTS]

    def is_binary(self, output: WantedOutput) -> bool:
        """Tell whether an output goes after the JSON."""
        asked = output.parameters.binary_data
        return self.request.parameters.binary_data_output if asked is None else asked


def length_of_json(header: str | None, size: int) -> int:
    """Return how many bytes of a body are JSON.

    Args:
        header: that says it; None for all of them.
        size: of the body.

    Raises:
        RequestError: it is no number, or more than there are.
    """
    if header is None:
        return size
    if not header.isascii() or not header.isdigit() or len(header) > 12:
        raise RequestError(f"{LENGTH_HEADER} must be a whole number")
    length = int(header)
    if length > size:
        raise RequestError(f"{LENGTH_HEADER} is {length}, the body has {size} bytes")
    return length


def parse_inference(body: bytes, length: int, max_images: int) -> Inference:
    """Read a request of the protocol.

    Args:
        body: JSON, and then the binary data of the inputs that have some.
        length: how many bytes of it are JSON.
        max_images: in a request.

    Raises:
        RequestError: it is not what the protocol says, or what the models take.
        TooLargeError: too many images.
    """
    request = _parsed(body[:length])
    only_input(len(request.inputs))
    known_outputs(output.name for output in request.outputs)
    tensor, rest = request.inputs[0], memoryview(body)[length:]
    size = tensor.parameters.binary_data_size
    if len(rest) != (size or 0):
        raise RequestError(
            f"there are {len(rest)} bytes after the JSON, the inputs need {size or 0}"
        )
    if (size is None) == (tensor.data is None):
        raise RequestError(f"input '{tensor.name}': give either data or binary_data_size")
    return Inference(request, _input(tensor, None if size is None else rest).images(max_images))


def _parsed(text: bytes) -> InferRequest:
    try:
        return InferRequest.model_validate_json(text, strict=True)
    except ValidationError as error:
        place, said = first_problem(error)
        raise RequestError(f"{place + ': ' if place else ''}{said}") from None


def _input(tensor: InputTensor, binary: memoryview | None) -> Input:
    return Input(
        name=tensor.name,
        datatype=tensor.datatype,
        shape=tensor.shape,
        raw=binary,
        files=lambda: _from_base64(tensor.data or []),
        numbers=lambda: byte_values(tensor.data),
    )


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
        parameters=facts_of(result),
        outputs=outputs,
    )
    text = json_text(response.model_dump(exclude_none=True), indent=None).encode()
    rest = b"".join(blobs)
    return text + rest, len(text) if any(output.data is None for output in outputs) else None


def _output(wanted: WantedOutput, result: Result, *, binary: bool) -> tuple[OutputTensor, bytes]:
    output = output_of(result, wanted.name, wanted.parameters.classification)
    blob = output.raw() if binary else b""
    tensor = OutputTensor.model_validate(
        {
            "name": output.name,
            "datatype": output.datatype,
            "shape": output.shape,
            "parameters": {"binary_data_size": len(blob)} if binary else None,
            "data": None if binary else output.values(),
        }
    )
    return tensor, blob
