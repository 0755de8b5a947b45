"""ONNX: the bundle's own graph, for any batch size or for only one."""

from __future__ import annotations

from fleetnet.bundle import Bundle
from fleetnet.export.python_program import program
from fleetnet.export.targets.target import Files, Run, Target
from fleetnet.inference.engines import Setup
from fleetnet.inference.engines.onnxruntime import OnnxRuntimeEngine

_HOW = (
    """\
The input is `pixels`, the outputs are `logits` and `probabilities`, which are made with the
manifest's temperature. In Python (`pip install onnxruntime fleetnet`), in this folder:

"""
    + program(
        "import onnxruntime",
        """\
        network = onnxruntime.InferenceSession("{file}")
        (logits,) = network.run(["logits"], {"pixels": pixels})""",
    )
    + """

Other languages: ONNX Runtime's own interfaces take the same names."""
)


def convert(bundle: Bundle, _precision: str, batch: int | None) -> Files:
    """Take the graph, and fix its batch if that is asked for."""
    # Here, so that targets can be listed where onnx is not installed.
    from fleetnet.export.fixed_batch import file_name, graph_of

    return {file_name(batch): graph_of(bundle, batch)}


def load(files: Files) -> Run:
    """Open the graph in ONNX Runtime."""
    (graph,) = files.values()
    return OnnxRuntimeEngine(graph, Setup()).run


def layers(_bundle: Bundle, files: Files, _batch: int | None) -> Run:
    """Open the graph with its layers as its output."""
    from fleetnet.export.tapped_graph import tapped

    return load({name: tapped(graph) for name, graph in files.items()})


TARGET = Target(
    name="onnx",
    title="ONNX",
    format="onnx",
    precisions=("fp32",),
    package="onnxruntime",
    command="",
    convert=convert,
    load=load,
    layers=layers,
    how=_HOW,
    needs={"onnx": "fleetnet[export]", "onnxruntime": "fleetnet[onnxruntime]"},
)
