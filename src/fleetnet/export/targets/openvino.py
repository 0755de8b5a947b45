"""OpenVINO's own format: a graph in XML and its weights beside it, in fp32 or half as large."""

from __future__ import annotations

from fleetnet.bundle import Bundle
from fleetnet.export.openvino_ir import tapped, to_ir
from fleetnet.export.python_program import program
from fleetnet.export.targets.target import Files, Run, Target
from fleetnet.inference.engines import Setup
from fleetnet.inference.engines.openvino import OpenVinoEngine, core, read_onnx

_HOW = (
    """\
The input is `pixels`, the outputs are `logits` and `probabilities`, which are made with the
manifest's temperature. In Python (`pip install openvino fleetnet`), in this folder:

"""
    + program(
        "import openvino",
        """\
        settings = {"INFERENCE_PRECISION_HINT": "f32"}
        network = openvino.compile_model("{file}", "CPU", settings)
        logits = network(pixels)["logits"]""",
    )
    + """

`INFERENCE_PRECISION_HINT` asks for 32 bits: a processor that has bf16 would compute in that
unasked. OpenVINO's C++, C and JavaScript take the same names and setting."""
)


def convert(bundle: Bundle, precision: str, batch: int | None) -> Files:
    """Write the graph in OpenVINO's format; fp16 is what the weights are kept in."""
    # Here, so that targets can be listed where onnx is not installed.
    from fleetnet.export.fixed_batch import graph_of

    graph, weights = to_ir(read_onnx(graph_of(bundle, batch)), fp16=precision == "fp16")
    return {"model.xml": graph, "model.bin": weights}


def load(files: Files) -> Run:
    """Compile the graph for the processor, in fp32, as any user of the files can."""
    return OpenVinoEngine.of_ir(files["model.xml"], files["model.bin"], Setup()).run


def layers(bundle: Bundle, files: Files, _batch: int | None) -> Run:
    """Compile the graph with its layers as its output."""
    from fleetnet.export.quantize.layers import layers_of, read_graph

    path, content = bundle.content(format="onnx")
    model = read_graph(content, str(path))
    outputs = {node.name: node.output[0] for node in model.graph.node}
    names = [layer.nodes[0] for layer in layers_of(model, str(path))]
    graph = core().read_model(files["model.xml"], files["model.bin"])
    return OpenVinoEngine(tapped(graph, [(name, outputs[name]) for name in names]), Setup()).run


TARGET = Target(
    name="openvino",
    title="OpenVINO IR",
    format="openvino-ir",
    precisions=("fp32", "fp16"),
    package="openvino",
    command="",
    convert=convert,
    load=load,
    layers=layers,
    how=_HOW,
    needs={"onnx": "fleetnet[export]"},
)
