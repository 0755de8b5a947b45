"""Tensors of the Open Inference Protocol, in its binary extension."""

from __future__ import annotations

import json
import math
import struct
from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from fleetnet.client.errors import ClientError, ResponseError
from fleetnet.client.http import Response
from fleetnet.client.replies import Fields, parsed
from fleetnet.client.results import Inference

LENGTH_HEADER = "Inference-Header-Content-Length"
MAX_DIMENSIONS = 32
_LENGTH = struct.Struct("<I")
_DTYPES = {
    "BOOL": "?",
    "UINT8": "<u1",
    "UINT16": "<u2",
    "UINT32": "<u4",
    "UINT64": "<u8",
    "INT8": "<i1",
    "INT16": "<i2",
    "INT32": "<i4",
    "INT64": "<i8",
    "FP16": "<f2",
    "FP32": "<f4",
    "FP64": "<f8",
}
_DATATYPES = {np.dtype(dtype): name for name, dtype in _DTYPES.items()}

Array = npt.NDArray[np.generic]
Tensor = Array | Iterable[bytes]


def write_request(
    inputs: Mapping[str, Tensor], outputs: Iterable[str] | None, identity: str | None
) -> tuple[bytes, int]:
    """Return a request's body, and how many bytes of it are JSON.

    Args:
        inputs: arrays, or lists of ``bytes``, by name.
        outputs: names of those to return; None for what the server gives unasked.
        identity: of the request.

    Raises:
        ClientError: an input is of a type that the protocol does not have.
    """
    described, blobs = [], []
    for name, tensor in inputs.items():
        datatype, shape, blob = _packed(name, tensor)
        size = {"binary_data_size": len(blob)}
        described.append({"name": name, "datatype": datatype, "shape": shape, "parameters": size})
        blobs.append(blob)
    request: dict[str, Any] = {"inputs": described, "parameters": {"binary_data_output": True}}
    if outputs is not None:
        wanted = {"parameters": {"binary_data": True}}
        request["outputs"] = [{"name": name, **wanted} for name in outputs]
    if identity is not None:
        request["id"] = identity
    text = json.dumps(request).encode()
    return b"".join([text, *blobs]), len(text)


def _packed(name: str, tensor: Tensor) -> tuple[str, list[int], bytes]:
    if not isinstance(tensor, np.ndarray):
        if isinstance(tensor, str | bytes | bytearray):
            raise ClientError(f"input '{name}': give a list of bytes, also for one")
        tensor = np.fromiter(tensor, np.object_)
    if tensor.dtype.kind in "OS":
        elements = tensor.reshape(-1).tolist()
        if not all(isinstance(element, bytes) for element in elements):
            raise ClientError(f"input '{name}': its elements are not all bytes")
        blob = b"".join(piece for one in elements for piece in (_LENGTH.pack(len(one)), one))
        return "BYTES", list(tensor.shape), blob
    little = tensor.dtype.newbyteorder("<")
    datatype = _DATATYPES.get(little)
    if datatype is None:
        raise ClientError(f"input '{name}': the protocol has no {tensor.dtype}")
    return datatype, list(tensor.shape), np.ascontiguousarray(tensor, little).tobytes()


def read_response(response: Response) -> Inference:
    """Return the answer in a response.

    Raises:
        ResponseError: it is none.
    """
    body, length = response.body, len(response.body)
    said = response.headers.get(LENGTH_HEADER.lower())
    if said is not None:
        if not said.isascii() or not said.isdigit() or int(said[:18]) > length:
            raise _wrong("the length of its JSON")
        length = int(said)
    told = Fields(parsed(body[:length]))
    outputs: dict[str, Array] = {}
    place = length
    for value in told.items("outputs"):
        output = Fields(value, "an output")
        name = output.text("name")
        parameters = output.mapping("parameters")
        size = Fields(parameters, name).whole("binary_data_size", 0)
        if place + size > len(body) or name in outputs:
            raise _wrong(f"output '{name[:100]}'")
        binary = "binary_data_size" in parameters
        outputs[name] = _array(output, memoryview(body)[place : place + size] if binary else None)
        place += size
    if place != len(body):
        raise _wrong("what comes behind the outputs")
    return Inference(
        told.text("model_name"),
        told.text("model_version", ""),
        outputs,
        told.text("id", ""),
        told.mapping("parameters"),
    )


def _array(output: Fields, blob: memoryview | None) -> Array:
    name, datatype, shape = (
        output.text("name")[:100],
        output.text("datatype"),
        output.items("shape"),
    )
    sides = [side for side in shape if isinstance(side, int) and 0 <= side < 2**40]
    if len(sides) != len(shape) or len(shape) > MAX_DIMENSIONS or not _known(datatype):
        raise _wrong(f"output '{name}'")
    try:
        flat = _from_list(output.items("data"), datatype) if blob is None else _from(blob, datatype)
        if flat.size != math.prod(sides):
            raise _wrong(f"output '{name}'")
        return flat.reshape(sides)
    except (ValueError, TypeError, OverflowError):
        raise _wrong(f"output '{name}'") from None


def _known(datatype: str) -> bool:
    return datatype == "BYTES" or datatype in _DTYPES


def _from(blob: memoryview, datatype: str) -> Array:
    if datatype != "BYTES":
        return np.frombuffer(blob, _DTYPES[datatype])
    elements, place = [], 0
    while place < len(blob):
        if place + _LENGTH.size > len(blob):
            raise ValueError
        (size,) = _LENGTH.unpack_from(blob, place)
        place += _LENGTH.size + size
        if place > len(blob):
            raise ValueError
        elements.append(bytes(blob[place - size : place]))
    return _objects(elements)


def _from_list(values: list[Any], datatype: str) -> Array:
    if datatype == "BYTES":
        return _objects([value.encode() for value in values if isinstance(value, str)])
    return np.array(values, _DTYPES[datatype]).reshape(-1)


def _objects(elements: list[bytes]) -> Array:
    array = np.empty(len(elements), np.object_)
    array[:] = elements
    return array


def _wrong(what: str) -> ResponseError:
    return ResponseError(f"the server's answer is not what it should be: {what} is wrong")
