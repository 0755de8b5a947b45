"""TNN, and other readers of ONNX that take floats and know older operators only."""

from __future__ import annotations

from fleetnet.bundle import Bundle
from fleetnet.export.native_program import built, program
from fleetnet.export.targets.target import Files, Run, Target
from fleetnet.inference.engines import Logits, Pixels, Setup
from fleetnet.inference.engines.onnxruntime import OnnxRuntimeEngine

FILE = "model.onnx"
PLANES = "`float32[{batch}, 3, {crop}, {crop}]`, the planes R, G and B of an image, from 0 to 255"

_HOW = """\
The graph is ONNX of opset 11 with fixed shapes and no operator beyond ONNX's own. TNN's converter,
in `tools/convert2tnn` of its sources, makes its `.tnnproto` and `.tnnmodel` of it:

    python3 converter.py onnx2tnn model.onnx -optimize -v=v1.0 -o .

Then give an instance of TNN a `Mat` of the type `N8UC3` with the bytes of a picture, RGB, in rows;
the `MatConvertParam` keeps its scale of 1 and its bias of 0. This page's figures are from ONNX
Runtime, which reads the same file: TNN itself was not run.

""" + built(
    "TNN's headers and library (`include`, `lib`) in a folder PREFIX, and the converter's files"
)


def convert(bundle: Bundle, _precision: str, batch: int | None) -> Files:
    """Write the network anew, in opset 11 and for fixed shapes."""
    # Here, so that targets can be listed where PyTorch is not installed.
    from fleetnet.export.plain_onnx import plain_graph

    return {FILE: plain_graph(bundle, batch or 1)}


def load(files: Files) -> Run:
    """Open the graph in ONNX Runtime."""
    engine = OnnxRuntimeEngine(files[FILE], Setup())

    def run(pixels: Pixels) -> Logits:
        return engine.run(pixels.transpose(0, 3, 1, 2).astype("float32"))

    return run


TARGET = Target(
    name="tnn",
    title="TNN",
    format="plain-onnx",
    precisions=("fp32",),
    package="onnxruntime",
    command="",
    convert=convert,
    load=load,
    how=_HOW,
    needs={"torch": "fleetnet[export]", "onnxruntime": "fleetnet[onnxruntime]"},
    one_size=True,
    beside=program("tnn"),
    takes=PLANES,
)
