"""Messages of the protocol, and arrays out of them, written from its description."""

from __future__ import annotations

import struct
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from fleetnet.serving.messages import ModelInferRequest, ModelInferResponse


def raw_of(*images: bytes) -> bytes:
    return b"".join(struct.pack("<I", len(image)) + image for image in images)


def request_of(
    images: Sequence[bytes], *outputs: str, name: str = "", model: str = "net"
) -> ModelInferRequest:
    tensor = ModelInferRequest.InferInputTensor(name="image", datatype="BYTES", shape=[len(images)])
    return ModelInferRequest(
        model_name=model,
        id=name,
        inputs=[tensor],
        outputs=[ModelInferRequest.InferRequestedOutputTensor(name=name) for name in outputs],
        raw_input_contents=[raw_of(*images)],
    )


def typed_of(images: Sequence[bytes], *outputs: str) -> ModelInferRequest:
    request = request_of(images, *outputs)
    request.ClearField("raw_input_contents")
    request.inputs[0].contents.bytes_contents.extend(images)
    return request


def arrays_of(response: ModelInferResponse) -> dict[str, npt.NDArray[np.float32]]:
    found = {}
    for number, output in enumerate(response.outputs):
        if response.raw_output_contents:
            values = np.frombuffer(response.raw_output_contents[number], "<f4")
        else:
            values = np.asarray(output.contents.fp32_contents, np.float32)
        found[output.name] = values.reshape(output.shape)
    return found
