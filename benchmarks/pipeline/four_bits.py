"""What weights of four bits save, and what they cost.

    python benchmarks/pipeline/four_bits.py BUNDLE IMAGES [--rounds 5] [--json FILE]

A bundle's network as it is, with weights in eight bits, and in four bits as OpenVINO takes them,
which is in fully connected layers alone: NNCF leaves convolutions in eight. The last row has the
weights of all layers rounded to four bits, one scale to an output channel, and computes in fp32: no
engine here has convolutions in four bits, so it says what such an engine would answer, and has
neither a size nor a time. Activations are fp32 in all rows. Times are processor time of one image
on one thread, in turns.
"""

from __future__ import annotations

import argparse
import functools
import json
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import nncf
import numpy as np
import numpy.typing as npt
import onnx
import openvino as ov
from onnx import numpy_helper

from fleetnet.bundle import Bundle
from fleetnet.export.quantize.layers import WEIGHTED
from fleetnet.image_files import find_images
from fleetnet.inference.engines.openvino import core, read_onnx
from fleetnet.measuring import spread, turns

RUNS = 20
GROUP = 32
"""Weights that share a scale in four bits, as OpenVINO advises."""
LEVELS = 7
"""Largest whole number of four bits, the scale being symmetrical."""

Pixels = npt.NDArray[np.uint8]
Weights = npt.NDArray[np.float32]


def main(words: Sequence[str] | None = None) -> None:
    """Measure and print what the command line, or ``words`` in its place, asks for."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("bundle", type=Path)
    parser.add_argument("images", nargs="+")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--json", type=Path)
    arguments = parser.parse_args(words)
    bundle = Bundle.load(arguments.bundle)
    files = find_images(arguments.images)
    preprocess = bundle.manifest.preprocess
    pixels = np.stack([preprocess.from_bytes(Path(file).read_bytes()) for file in files])
    rows = measured(bundle.content(format="onnx").data, pixels, arguments.rounds)
    print(table(rows, len(pixels)))
    if arguments.json:
        arguments.json.write_text(json.dumps(rows, indent=2) + "\n", "utf-8")


def measured(graph: bytes, pixels: Pixels, rounds: int) -> list[dict[str, Any]]:
    """Return a row for each form of the weights."""
    rows: list[dict[str, Any]] = []
    works: dict[str, Callable[[], object]] = {}
    expected: npt.NDArray[np.float32] | None = None
    for name, model, is_real in forms(graph):
        options = {"INFERENCE_NUM_THREADS": 1, "INFERENCE_PRECISION_HINT": "f32"}
        request = core().compile_model(model, "CPU", options).create_infer_request()
        logits = np.concatenate([request.infer([image[None]])[0].copy() for image in pixels])
        expected = logits if expected is None else expected
        same = float((logits.argmax(1) == expected.argmax(1)).mean())
        row = {
            "weights": name,
            "same": same,
            "rms": float(np.sqrt(np.mean((logits - expected) ** 2))),
        }
        if is_real:
            row["bytes"] = stored(model)
            works[name] = functools.partial(request.infer, [pixels[:1]])
        rows.append(row)
    times = timed(works, rounds)
    for row in rows:
        if row["weights"] in times:
            row["ms"] = times[row["weights"]]
    return rows


def forms(graph: bytes) -> Iterator[tuple[str, ov.Model, bool]]:
    """Yield names and networks, and whether an engine has the weights in so few bits."""
    modes = nncf.CompressWeightsMode
    yield "fp32", read_onnx(graph), True
    yield "8 bits", nncf.compress_weights(read_onnx(graph), mode=modes.INT8_SYM), True
    four = nncf.compress_weights(
        read_onnx(graph), mode=modes.INT4_ASYM, ratio=1.0, group_size=GROUP, all_layers=True
    )
    yield "4 bits where OpenVINO has them, else 8", four, True
    yield "4 bits in all layers, simulated", read_onnx(rounded(graph)), False


def rounded(graph: bytes) -> bytes:
    """Return an ONNX file whose layers' weights are rounded to four bits."""
    model = onnx.load_from_string(graph)
    inputs = {node.input[1]: node for node in model.graph.node if node.op_type in WEIGHTED}
    for tensor in model.graph.initializer:
        if tensor.name in inputs:
            axis = 0 if _rows_first(inputs[tensor.name]) else 1
            values = round_to_four(numpy_helper.to_array(tensor), axis)
            tensor.CopyFrom(numpy_helper.from_array(values, tensor.name))
    return model.SerializeToString()


def round_to_four(weights: Weights, axis: int) -> Weights:
    """Round weights to four bits, one symmetrical scale to an index of ``axis``."""
    others = tuple(place for place in range(weights.ndim) if place != axis)
    largest = np.abs(weights).max(axis=others, keepdims=True)
    scale = np.where(largest > 0, largest / LEVELS, 1)
    return (np.round(weights / scale) * scale).astype(weights.dtype)


def _rows_first(node: onnx.NodeProto) -> bool:
    """Tell whether a layer's weights have the output channels first."""
    turned = any(given.name == "transB" and given.i for given in node.attribute)
    return node.op_type == "Conv" or turned


def stored(model: ov.Model) -> int:
    """Return the bytes of a network's weights in a file."""
    with tempfile.TemporaryDirectory() as folder:
        ov.save_model(model, Path(folder) / "model.xml", compress_to_fp16=False)
        return (Path(folder) / "model.bin").stat().st_size


def timed(works: Mapping[str, Callable[[], object]], rounds: int) -> dict[str, list[float]]:
    """Return the median of each round in milliseconds of processor time."""
    found: dict[str, list[float]] = {name: [] for name in works}
    for name in turns(works, rounds):
        runs = []
        for _ in range(RUNS):
            begun = time.process_time()
            works[name]()
            runs.append(time.process_time() - begun)
        found[name].append(float(np.median(runs)) * 1e3)
    return found


def table(rows: list[dict[str, Any]], images: int) -> str:
    """Return the figures as Markdown."""
    lines = [
        f"| weights | MB | ms | same top-1 of {images} | rms of the logits' differences |",
        "| --- | ---: | ---: | ---: | ---: |",
    ]
    for row in rows:
        size = f"{row['bytes'] / 1e6:.2f}" if "bytes" in row else "–"
        time_ = spread(row["ms"]).with_range(".2f") if "ms" in row else "–"
        lines.append(
            f"| {row['weights']} | {size} | {time_} | {row['same']:.2%} | {row['rms']:.3f} |"
        )
    return "\n".join(lines)


if __name__ == "__main__":
    main()
