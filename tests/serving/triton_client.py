"""Run by an environment of its own: the stock client of the protocol against a server.

Arguments: the server's address without its scheme, and an image. Prints what it got as JSON.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

import numpy as np
import tritonclient.http as triton  # type: ignore[import-not-found,unused-ignore]


def main(address: str, image: str) -> None:
    client = triton.InferenceServerClient(address)
    assert client.is_server_live()
    assert client.is_server_ready()
    assert client.is_model_ready("net")
    metadata = client.get_model_metadata("net")
    content = np.array([Path(image).read_bytes()], np.object_)
    answers = {}
    for name, binary, packed in (("binary", True, None), ("gzip", True, "gzip")):
        given = triton.InferInput("image", [1], "BYTES")
        given.set_data_from_numpy(content, binary_data=binary)
        wanted = [triton.InferRequestedOutput("logits", binary_data=binary)]
        result = client.infer("net", [given], outputs=wanted, request_compression_algorithm=packed)
        answers[name] = result.as_numpy("logits")[0].tolist()
    pixels = triton.InferInput("pixels", [1, 24, 24, 3], "UINT8")
    pixels.set_data_from_numpy(np.zeros((1, 24, 24, 3), np.uint8), binary_data=False)
    black = client.infer("net", [pixels], timeout=20_000_000).as_numpy("probabilities")
    client.unload_model("net")
    unloaded = client.is_model_ready("net")
    client.load_model("net")
    index = client.get_model_repository_index()
    try:
        client.infer("other", [given])
        refusal = ""
    except triton.InferenceServerException as error:
        refusal = error.message()
    told = {
        "inputs": [one["name"] for one in metadata["inputs"]],
        "answers": answers,
        "black": black.shape,
        "unloaded": unloaded,
        "index": index,
        "refusal": refusal,
    }
    json.dump(told, sys.stdout)


main(*sys.argv[1:])
