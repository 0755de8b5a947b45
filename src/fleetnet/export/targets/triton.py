"""Triton: a model of its repository, with the graph in version 1 for the ONNX Runtime backend."""

from __future__ import annotations

from collections.abc import Sequence

from fleetnet.bundle import Bundle, Manifest, TensorInfo
from fleetnet.export.targets.target import Files, Run, Target, any_batch
from fleetnet.inference.engines import Setup
from fleetnet.inference.engines.onnxruntime import OnnxRuntimeEngine
from fleetnet.labels import printable
from fleetnet.text import quoted

MAX_BATCH = 32
DELAY_US = 2000
"""How long a batch waits for others, in microseconds."""
LABELS = "labels.txt"
_TYPES = {"uint8": "TYPE_UINT8", "float32": "TYPE_FP32"}
_HOW = """\
This folder is one model of a Triton repository, and its name is the model's. Put it into the
repository, such as `models/shapes`, and start the server:

    tritonserver --model-repository=models

`config.pbtxt` batches requests by itself. Without an `instance_group`, Triton takes a GPU if there
is one. Triton gets pixels, not files: the client decodes, resizes and crops, as `preprocess` in the
manifest says, and makes probabilities of the logits. `1/` is a bundle, so Fleetnet does both:

    from pathlib import Path

    import numpy as np
    import tritonclient.http as triton
    from fleetnet.bundle import Bundle
    from fleetnet.inference.probabilities import to_probabilities

    manifest = Bundle.load("models/shapes/1").manifest
    pixels = manifest.preprocess.from_bytes(Path("photo.jpg").read_bytes())[np.newaxis]
    given = triton.InferInput("pixels", list(pixels.shape), "UINT8")
    given.set_data_from_numpy(pixels)
    answer = triton.InferenceServerClient("127.0.0.1:8000").infer("shapes", [given])
    logits = answer.as_numpy("logits")
    print(to_probabilities(logits, manifest.model.activation, manifest.temperature))

In another language, `docs/preprocess.md` of Fleetnet says each step, and its conformance set checks
it. `labels.txt` names the classes for Triton's classification extension, whose values are logits.

For the OpenVINO backend, put `model.xml` and `model.bin` of `fleetnet export --to openvino` into
`1/` in place of `model.onnx`, and write `backend: "openvino"`."""


def convert(bundle: Bundle, _precision: str, batch: int | None) -> Files:
    """Take the graph as it is: Triton makes batches of any size.

    Raises:
        FleetnetError: one size of batch was asked for.
    """
    any_batch(batch, "Triton makes batches of any size")
    return {"model.onnx": bundle.content(format="onnx").data}


def load(files: Files) -> Run:
    """Open the graph in ONNX Runtime, which Triton's backend computes with."""
    return OnnxRuntimeEngine(files["model.onnx"], Setup()).run


def layers(_bundle: Bundle, files: Files, _batch: int | None) -> Run:
    """Run the graph with its layers as its output."""
    from fleetnet.export.tapped_graph import tapped

    return load({"model.onnx": tapped(files["model.onnx"])})


def configuration(manifest: Manifest) -> str:
    """Return ``config.pbtxt``; the model's name is left to the folder's."""
    tensors = "\n".join(
        [_tensor("input", manifest.input)]
        + [
            _tensor("output", output, LABELS if output.name == "logits" else "")
            for output in manifest.outputs
        ]
    )
    shape = _dims(manifest.input)
    return f"""\
backend: "onnxruntime"
max_batch_size: {MAX_BATCH}
{tensors}
dynamic_batching {{ max_queue_delay_microseconds: {DELAY_US} }}
version_policy {{ latest {{ num_versions: 1 }} }}
model_warmup {{
  name: "black"
  batch_size: 1
  inputs {{
    key: {quoted(manifest.input.name)}
    value {{ data_type: {_TYPES[manifest.input.dtype]} dims: [{shape}] zero_data: true }}
  }}
}}
"""


def _tensor(kind: str, tensor: TensorInfo, labels: str = "") -> str:
    label = f" label_filename: {quoted(labels)}" if labels else ""
    return (
        f"{kind} {{ name: {quoted(tensor.name)} data_type: {_TYPES[tensor.dtype]} "
        f"dims: [{_dims(tensor)}]{label} }}"
    )


def _dims(tensor: TensorInfo) -> str:
    """Return the shape without the batch, as Triton wants it."""
    sides: Sequence[int | None] = tensor.shape[1:]
    return ", ".join("-1" if side is None else str(side) for side in sides)


def around(manifest: Manifest) -> Files:
    """Return the configuration, and the classes' names, one a line."""
    labels = "".join(f"{printable(name)}\n" for name in manifest.classes)
    return {"config.pbtxt": configuration(manifest).encode(), LABELS: labels.encode()}


TARGET = Target(
    name="triton",
    title="Triton Inference Server",
    format="onnx",
    precisions=("fp32",),
    package="onnxruntime",
    command="tritonserver --model-repository=models",
    convert=convert,
    load=load,
    layers=layers,
    needs={"onnxruntime": "fleetnet[onnxruntime]"},
    version_folder="1",
    around=around,
    how=_HOW,
)
