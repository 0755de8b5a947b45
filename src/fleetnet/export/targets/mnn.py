"""MNN: Alibaba's engine for phones and boards."""

from __future__ import annotations

import io
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
from PIL import Image

from fleetnet.bundle import Bundle
from fleetnet.export.native_program import built, program
from fleetnet.export.python_program import program as in_python
from fleetnet.export.separate import Environment, Worker, convert
from fleetnet.export.targets.target import Files, Int8, Quantize, Run, Target, only_one_image
from fleetnet.inference.engines import Pixels

if TYPE_CHECKING:  # targets are listed where onnx is not installed
    from fleetnet.export.quantize.layers import Layer

ENVIRONMENT = Environment("mnn", megabytes=155)
FILE = "model.mnn"
CALIBRATION = 64
"""Images to measure ranges on, at most: MNN's tool takes long for each, and anew for each choice of
layers."""
_HOW = (
    """\
The input is `pixels`, the output `logits`. In Python (`pip install MNN fleetnet`), in this folder:

"""
    + in_python(
        "import MNN",
        """\
        settings = {"backend": 0, "precision": "high", "numThread": 1}
        network = MNN.nn.load_module_from_file(
            "model.mnn", ["pixels"], ["logits"],
            runtime_manager=MNN.nn.create_runtime_manager((settings,)),
        )
        given = MNN.expr.const(pixels, list(pixels.shape), MNN.expr.NCHW, MNN.expr.uint8)
        answers = network.forward([given])  # what is read is copied while they are held
        logits = np.array(answers[0].read())""",
    )
    + """

`NCHW` is what MNN calls every tensor whose axes are those of the ONNX graph; the pixels stay in
rows of R, G and B. It was verified with the precision `high`; where a processor computes with 16
bits, `normal` and `low` are faster, and their answers are other ones.

"""
    + built("MNN's headers and library (`include`, `lib`) in a folder PREFIX")
)


def to_mnn(bundle: Bundle, precision: str, batch: int | None) -> Files:
    """Convert the ONNX graph by MNN's own converter.

    With fewer bits the weights are stored in less space, and computed with in what arithmetic the
    user's settings say.
    """
    # Here, so that targets can be listed where onnx is not installed.
    from fleetnet.export.fixed_batch import graph_of

    graph = {"model.onnx": graph_of(bundle, batch)}
    return convert(ENVIRONMENT, "mnn_convert", graph, (FILE,), {"precision": precision})


def calibrate(
    bundle: Bundle, batch: int | None, pixels: Pixels, layers: Sequence[Layer]
) -> Quantize:
    """Return what has MNN's own tool measure the ranges and round.

    Raises:
        FleetnetError: more than one image at a time was asked for.
    """
    only_one_image(batch, "MNN in int8")
    # Here, so that targets can be listed where onnx is not installed.
    from fleetnet.export.plain_layers import tensors_of
    from fleetnet.export.plain_onnx import plain_graph

    graph = plain_graph(bundle, 1)
    tensors = tensors_of(graph, layers)
    spread = np.linspace(0, len(pixels) - 1, min(CALIBRATION, len(pixels))).astype(int)
    given = {f"{number:03}.png": _png(image) for number, image in enumerate(pixels[spread])}
    crop = bundle.manifest.preprocess.crop

    def quantize(kept: Sequence[str]) -> Files:
        names = [tensor for layer in kept for tensor in tensors[layer]]
        settings = {"crop": crop, "kept": names}
        files = {"plain.onnx": graph, **given}
        return convert(ENVIRONMENT, "mnn_quantize", files, (FILE,), settings)

    return quantize


def _png(image: Pixels) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(image).save(buffer, "PNG")
    return buffer.getvalue()


def load(files: Files) -> Run:
    """Run a file in MNN, in fp32 arithmetic on one thread."""
    return Worker(ENVIRONMENT, "mnn_run", files)


def layers(_bundle: Bundle, files: Files, _batch: int | None) -> Run:
    """Run a file for what its layers compute."""
    return Worker(ENVIRONMENT, "mnn_run", files, {"layers": True})


TARGET = Target(
    name="mnn",
    title="MNN",
    format="mnn",
    precisions=("fp32", "fp16", "int8"),
    package="MNN",
    command="",
    convert=to_mnn,
    load=load,
    layers=layers,
    needs={"onnx": "fleetnet[export]"},
    environment=ENVIRONMENT,
    made_by=("MNN",),
    how=_HOW,
    beside=program("mnn"),
    int8=Int8("MNN", calibrate, one_size=True, weight_bits=(8,)),
)
