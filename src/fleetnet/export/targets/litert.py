"""LiteRT, formerly TensorFlow Lite: Android, iOS, boards with Linux."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from fleetnet.bundle import Bundle
from fleetnet.export.android_project import kotlin
from fleetnet.export.python_program import program
from fleetnet.export.reweighted import weights_in
from fleetnet.export.separate import Environment, Worker, convert
from fleetnet.export.targets.target import Files, Int8, Quantize, Run, Target, as_npy
from fleetnet.inference.engines import Pixels

if TYPE_CHECKING:  # targets are listed where onnx is not installed
    from fleetnet.export.quantize.layers import Layer

ENVIRONMENT = Environment("litert", megabytes=2200)
FILE = "model.tflite"
_HOW = (
    """\
In Python (`pip install ai-edge-litert fleetnet`), in this folder:

"""
    + program(
        "from ai_edge_litert.interpreter import Interpreter",
        """\
        interpreter = Interpreter("model.tflite")
        interpreter.allocate_tensors()
        (given,), (wanted,) = interpreter.get_input_details(), interpreter.get_output_details()
        interpreter.set_tensor(given["index"], pixels)
        interpreter.invoke()
        logits = interpreter.get_tensor(wanted["index"])""",
    )
    + """

`android/` is for an app of your own, in Kotlin, with `com.google.ai.edge.litert:litert` of Maven:
copy its `.kt` files to the sources, `cpp/` to `app/src/main/cpp`, and name its `CMakeLists.txt` in
`externalNativeBuild`. Then, with `model` as the file mapped into memory and `rgb` as an upright
picture in rows, of any size:

    val classifier = Classifier(LiteRtNetwork(model))
    classifier.classify(rgb, width, height).forEach { println("${it.name} ${it.probability}") }

It resizes by Fleetnet's C core, which gives the pixels that Python gives, to the bit.
`fleetnet export --to android` writes a whole project of these, with the camera."""
)


def to_tflite(bundle: Bundle, precision: str, batch: int | None, *, floats: bool = False) -> Files:
    """Convert the network by ``litert-torch``, which needs no TensorFlow.

    In fp16 the weights are stored in half the space, and computed with in fp32. The pixels are
    bytes, or, where ``floats`` are asked for, floating-point numbers from 0 to 255.
    """
    # Here, so that targets can be listed where PyTorch is not installed.
    import torch

    from fleetnet.export.program import PROGRAM, exported_program

    crop = bundle.manifest.preprocess.crop
    settings = {"precision": precision, "batch": batch, "crop": crop, "floats": floats}
    program = exported_program(bundle, batch or 1, dtype=torch.float32 if floats else torch.uint8)
    return convert(ENVIRONMENT, "litert_convert", {PROGRAM: program}, (FILE,), settings)


def calibrate(
    bundle: Bundle,
    batch: int | None,
    pixels: Pixels,
    layers: Sequence[Layer],
    *,
    whole: bool = False,
) -> Quantize:
    """Measure the ranges once, by ``ai-edge-quantizer``, for every network in int8.

    Where the bundle has weights of a graph in int8, its ranges are taken for what layers take and
    for the logits; others are measured.

    Where that is asked for, the ``whole`` is rounded, from input to output: the pixels less 128 go
    in as ``int8``, and normalisation is rounded too.
    """
    network = to_tflite(bundle, "fp32", batch, floats=whole)
    given = {**network, "images.npy": as_npy(pixels)}
    ranges = convert(
        ENVIRONMENT,
        "litert_calibrate",
        given,
        ("ranges.json",),
        {"batch": batch or 1, "floats": whole},
    )
    weights = weights_in(bundle)
    found = {
        "layers": [(layer.name, layer.weights) for layer in layers],
        "largest": dict.fromkeys(weights.rounded, weights.largest) if weights else {},
        "takes": dict(weights.ranges) if weights else {},
        "gives": weights.logits if weights else None,
        "whole": whole,
    }

    def quantize(kept: Sequence[str]) -> Files:
        settings = {**found, "kept": list(kept)}
        return convert(ENVIRONMENT, "litert_quantize", {**network, **ranges}, (FILE,), settings)

    return quantize


def load(files: Files) -> Run:
    """Run a file in LiteRT's interpreter, with XNNPACK, on one thread."""
    return Worker(ENVIRONMENT, "litert_run", files)


def layers(_bundle: Bundle, files: Files, _batch: int | None) -> Run:
    """Run a file without XNNPACK, which keeps no values, for what its layers compute."""
    return Worker(ENVIRONMENT, "litert_run", files, {"layers": True})


TARGET = Target(
    name="litert",
    title="LiteRT",
    format="litert",
    precisions=("fp32", "fp16", "int8"),
    package="ai-edge-litert",
    command="",
    convert=to_tflite,
    load=load,
    layers=layers,
    needs={"torch": "fleetnet[export]"},
    environment=ENVIRONMENT,
    made_by=("litert-torch", "ai-edge-quantizer", "torch"),
    one_size=True,
    int8=Int8("ai-edge-quantizer", calibrate, weight_bits=(7, 8)),
    beside=kotlin,
    how=_HOW,
)
