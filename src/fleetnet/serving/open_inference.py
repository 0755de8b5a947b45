"""Inference in the messages of the Open Inference Protocol, which gRPC and bRPC carry."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from fleetnet.serving.errors import RequestError
from fleetnet.serving.loaded import EMBEDDING
from fleetnet.serving.logs import id_of
from fleetnet.serving.messages import (
    InferParameter,
    InferTensorContents,
    ModelInferRequest,
    ModelInferResponse,
)
from fleetnet.serving.parsing import parsed
from fleetnet.serving.requests import Picture, Result
from fleetnet.serving.tensors import (
    DEFAULT_OUTPUTS,
    MAX_OUTPUTS,
    PIXELS,
    PROBABILITIES,
    SCORES,
    Input,
    facts_of,
    known_outputs,
    only_input,
    output_of,
)

MAX_TIMEOUT = 3600.0


class Wanted(NamedTuple):
    """An output that is asked for.

    Attributes:
        top: how many classes to give as texts; None for all values.
    """

    name: str
    top: int | None = None


@dataclass(frozen=True, slots=True)
class Inference:
    """A request of the protocol, checked, with its images.

    Attributes:
        id: the client's, as it is.
        timeout: seconds that the answer may take; None if the request says nothing.
        typed: whether the tensors have values of their own type, and not bytes beside them.
    """

    model: str
    version: str
    id: str
    images: tuple[Picture, ...]
    wanted: tuple[Wanted, ...]
    timeout: float | None
    typed: bool

    @property
    def log_id(self) -> str | None:
        """The client's id, if a log can hold it."""
        return id_of(self.id)

    @property
    def probabilities(self) -> bool:
        """Whether probabilities are asked for."""
        return any(one.name == PROBABILITIES for one in self.wanted)

    @property
    def embeddings(self) -> bool:
        """Whether embeddings are asked for."""
        return any(one.name == EMBEDDING for one in self.wanted)

    @property
    def scores(self) -> bool:
        """Whether it is asked for what is rejected."""
        return any(one.name in SCORES for one in self.wanted)


def parse_inference(
    data: bytes, max_images: int, attached: Sequence[bytes | memoryview] = ()
) -> Inference:
    """Read a request of the protocol.

    Args:
        data: a ``ModelInferRequest``.
        max_images: in a request.
        attached: contents of inputs that came beside the message, after those within it. Of a
            single image it may be the file alone, without its length.

    Raises:
        RequestError: it is not what the protocol says, or what the models take.
        TooLargeError: too many images.
    """
    message = parsed(ModelInferRequest, data, max_images)
    only_input(len(message.inputs))
    if len(message.outputs) > MAX_OUTPUTS:
        raise RequestError(f"{len(message.outputs)} outputs are more than {MAX_OUTPUTS}")
    known_outputs(output.name for output in message.outputs)
    raw = [*message.raw_input_contents, *attached]
    typed = message.inputs[0].HasField("contents")
    if len(raw) + typed != 1:
        raise RequestError(
            f"{len(raw)} raw contents and {int(typed)} of their own type: the input needs one"
        )
    tensor = _input(message.inputs[0], memoryview(raw[0]) if raw else None, bare=bool(attached))
    asked = tuple(Wanted(one.name, _top(one.parameters)) for one in message.outputs)
    return Inference(
        model=message.model_name,
        version=message.model_version,
        id=message.id,
        images=tensor.images(max_images),
        wanted=asked or tuple(map(Wanted, DEFAULT_OUTPUTS)),
        timeout=_timeout(message.parameters),
        typed=typed,
    )


def _input(
    tensor: ModelInferRequest.InferInputTensor, raw: memoryview | None, *, bare: bool
) -> Input:
    return Input(
        name=tensor.name,
        datatype=tensor.datatype,
        shape=tuple(tensor.shape),
        raw=raw,
        files=lambda: list(tensor.contents.bytes_contents),
        numbers=lambda: _bytes_of(tensor.contents),
        bare=bare,
    )


def _bytes_of(contents: InferTensorContents) -> npt.NDArray[np.uint8]:
    try:
        return np.frombuffer(bytes(contents.uint_contents), np.uint8)
    except ValueError:
        raise RequestError(f"input '{PIXELS}': its contents must be from 0 to 255") from None


def _top(parameters: Mapping[str, InferParameter]) -> int | None:
    top = _whole(parameters, "classification")
    if top is not None and top < 1:
        raise RequestError(f"classification is {top}; it must be at least 1")
    return top


def _timeout(parameters: Mapping[str, InferParameter]) -> float | None:
    micros = _whole(parameters, "timeout")
    if micros is not None and micros < 0:
        raise RequestError(f"timeout is {micros}; it must be microseconds")
    return min(micros / 1e6, MAX_TIMEOUT) if micros else None


def _whole(parameters: Mapping[str, InferParameter], name: str) -> int | None:
    if name not in parameters:
        return None
    parameter = parameters[name]
    kind = parameter.WhichOneof("parameter_choice")
    if kind not in ("int64_param", "uint64_param"):
        raise RequestError(f"the parameter '{name}' must be a whole number")
    return parameter.int64_param if kind == "int64_param" else parameter.uint64_param


def write_response(inference: Inference, result: Result) -> ModelInferResponse:
    """Return a result as a message, whose tensors are in the form in which the request's were.

    Args:
        inference: what was asked.
        result: of which every image has an answer.
    """
    response = ModelInferResponse(
        model_name=result.model, model_version=result.version, id=inference.id
    )
    for name, fact in facts_of(result).items():
        parameter = response.parameters[name]
        if isinstance(fact, str):
            parameter.string_param = fact
        elif isinstance(fact, int):
            parameter.int64_param = fact
        else:
            parameter.double_param = fact
    for wanted in inference.wanted:
        output = output_of(result, wanted.name, wanted.top)
        tensor = response.outputs.add(
            name=output.name, datatype=output.datatype, shape=output.shape
        )
        if not inference.typed:
            response.raw_output_contents.append(output.raw())
        elif output.rows is not None:
            tensor.contents.fp32_contents.extend(output.rows.reshape(-1))
        else:
            tensor.contents.bytes_contents.extend(text.encode() for text in output.texts)
    return response
