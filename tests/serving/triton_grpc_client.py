"""Run by an environment of its own: the stock gRPC client of the protocol against a server.

Arguments: the server's host and port, and an image. Prints what it got as JSON.
"""

from __future__ import annotations

import asyncio
import json
import queue
import sys
from pathlib import Path
from typing import Any

import numpy as np
import tritonclient.grpc as triton  # type: ignore[import-not-found,unused-ignore]
import tritonclient.grpc.aio as triton_aio  # type: ignore[import-not-found,unused-ignore]


def given(content: bytes) -> Any:
    tensor = triton.InferInput("image", [1], "BYTES")
    tensor.set_data_from_numpy(np.array([content], np.object_))
    return [tensor]


async def answer_of_aio(address: str, content: bytes) -> Any:
    async with triton_aio.InferenceServerClient(address) as client:
        return (await client.infer("net", given(content))).as_numpy("logits")[0].tolist()


def main(address: str, image: str) -> None:
    content, answers = Path(image).read_bytes(), {}
    client = triton.InferenceServerClient(address)
    assert client.is_server_live()
    assert client.is_server_ready()
    assert client.is_model_ready("net")
    metadata = client.get_model_metadata("net", as_json=True)
    got: queue.Queue[Any] = queue.Queue()

    def take(result: Any, error: Any) -> None:
        got.put(error if result is None else result)

    wanted = [triton.InferRequestedOutput("logits")]
    for packed in (None, "gzip", "deflate"):
        result = client.infer("net", given(content), outputs=wanted, compression_algorithm=packed)
        answers[f"infer {packed}"] = result.as_numpy("logits")[0].tolist()
    client.async_infer("net", given(content), callback=take)
    answers["async"] = got.get(timeout=30).as_numpy("logits")[0].tolist()
    answers["aio"] = asyncio.run(answer_of_aio(address, content))

    client.start_stream(take)
    for number in range(20):
        client.async_stream_infer("net", given(content), request_id=str(number))
    client.async_stream_infer("net", given(b"none"), request_id="wrong")
    results = [got.get(timeout=30) for _ in range(21)]
    client.stop_stream()
    (wrong,) = [one for one in results if isinstance(one, triton.InferenceServerException)]
    good = [one for one in results if one is not wrong]
    answers["stream"] = good[-1].as_numpy("logits")[0].tolist()

    best = [triton.InferRequestedOutput("probabilities", class_count=2)]
    texts = client.infer("net", given(content), outputs=best).as_numpy("probabilities")[0]
    pixels = triton.InferInput("pixels", [1, 24, 24, 3], "UINT8")
    pixels.set_data_from_numpy(np.zeros((1, 24, 24, 3), np.uint8))
    black = client.infer("net", [pixels], timeout=20_000_000).as_numpy("probabilities")
    client.unload_model("net")
    unloaded = client.is_model_ready("net")
    client.load_model("net")
    index = client.get_model_repository_index().models
    refusals = []
    for name, options in (("other", {}), ("net", {"timeout": 1})):
        try:
            client.infer(name, given(content), **options)
        except triton.InferenceServerException as error:
            refusals.append(error.status())
    told = {
        "inputs": [one["name"] for one in metadata["inputs"]],
        "answers": answers,
        "streamed": [one.get_response().id for one in good],
        "wrong": wrong.message(),
        "best": [text.decode() for text in texts],
        "black": black.shape,
        "unloaded": unloaded,
        "index": [[one.name, one.version, one.state] for one in index],
        "refusals": refusals,
    }
    json.dump(told, sys.stdout)


main(*sys.argv[1:])
