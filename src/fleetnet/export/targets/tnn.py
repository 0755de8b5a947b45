"""TNN, and other readers of ONNX that take floats and know older operators only."""

from __future__ import annotations

from fleetnet.bundle import Bundle
from fleetnet.export.agreeing import Agreeing
from fleetnet.export.native_program import built, program
from fleetnet.export.targets.target import Files, Run, Target
from fleetnet.inference.engines import Logits, Pixels, Setup
from fleetnet.inference.engines.onnxruntime import OnnxRuntimeEngine

FILE, OF_BYTES = "model.onnx", "model.uint8.onnx"
_TAKES = """\
`float32[{batch}, 3, {crop}, {crop}]`, the planes R, G and B of an image, from 0 to 255, as
`model.onnx`, or `uint8[{batch}, {crop}, {crop}, 3]`, its bytes in rows, as `model.uint8.onnx`"""

_HOW = """\
Both graphs are ONNX of opset 11 with fixed shapes and no operator beyond ONNX's own, and gave the
same answers here: take the one whose input your reader knows. For TNN that is `model.onnx`. The
converter, in `tools/convert2tnn` of TNN's sources, makes a `.tnnproto` and a `.tnnmodel` of it:

    python3 converter.py onnx2tnn model.onnx -optimize -v=v1.0 -o .

Then give an instance of TNN a `Mat` of the type `N8UC3` with the bytes of a picture, RGB, in rows;
the `MatConvertParam` keeps its scale of 1 and its bias of 0. This page's figures are from ONNX
Runtime, which reads the same files: TNN itself was not run.

""" + built(
    "TNN's headers and library (`include`, `lib`) in a folder PREFIX, and the converter's files"
)


def convert(bundle: Bundle, _precision: str, batch: int | None) -> Files:
    """Write the network anew, in opset 11 and for fixed shapes."""
    # Here, so that targets can be listed where PyTorch is not installed.
    from fleetnet.export.plain_onnx import plain_graph

    size = batch or 1
    return {FILE: plain_graph(bundle, size), OF_BYTES: plain_graph(bundle, size, planes=False)}


def run_planes(graph: bytes) -> Run:
    """Open a graph that takes planes in ONNX Runtime."""
    engine = OnnxRuntimeEngine(graph, Setup())

    def run(pixels: Pixels) -> Logits:
        return engine.run(pixels.transpose(0, 3, 1, 2).astype("float32"))

    return run


def load(files: Files) -> Run:
    """Open both graphs in ONNX Runtime, whose answers have to agree."""
    of_bytes = OnnxRuntimeEngine(files[OF_BYTES], Setup())
    return Agreeing(run_planes(files[FILE]), of_bytes.run, "the two graphs")


def layers(_bundle: Bundle, files: Files, _batch: int | None) -> Run:
    """Run the first graph with its layers as its output."""
    from fleetnet.export.tapped_graph import tapped

    return run_planes(tapped(files[FILE]))


TARGET = Target(
    name="tnn",
    title="TNN",
    format="plain-onnx",
    precisions=("fp32",),
    package="onnxruntime",
    command="",
    convert=convert,
    load=load,
    layers=layers,
    how=_HOW,
    needs={"torch": "fleetnet[export]", "onnxruntime": "fleetnet[onnxruntime]"},
    one_size=True,
    beside=program("tnn"),
    takes=_TAKES,
)
