"""An ONNX graph that gives what its layers compute, in place of the logits.

Whatever runs the graph then runs this one as it is: the values of all layers come as one row for
each image, under the name of the logits.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator

import onnx

from fleetnet.export.quantize.layers import WEIGHTED

OUTPUT = "logits"
_OTHER = "logits_of_the_network"
_FOLLOWS = ("Relu", "Clip", "QuantizeLinear", "DequantizeLinear")
"""Operators that runtimes compute together with the layer before them."""


def tapped(content: bytes) -> bytes:
    """Return a graph that gives the values of all layers with weights, in the order they run.

    They are ``float32[N, …]``, channels first, one layer after the other.
    """
    model = onnx.load_from_string(content)
    graph = model.graph
    for node in graph.node:
        for values in (node.input, node.output):
            for index, name in enumerate(values):
                if name == OUTPUT:
                    values[index] = _OTHER
    rows = []
    for number, value in enumerate(list(_values(graph))):
        rows.append(f"row_{number}")
        graph.node.append(onnx.helper.make_node("Flatten", [value], [rows[-1]], axis=1))
    graph.node.append(onnx.helper.make_node("Concat", rows, [OUTPUT], axis=1))
    del graph.output[:]
    graph.output.append(
        onnx.helper.make_tensor_value_info(OUTPUT, onnx.TensorProto.FLOAT, ["N", "values"])
    )
    return bytes(model.SerializeToString())


def _values(graph: onnx.GraphProto) -> Iterator[str]:
    """Yield the name of what each layer with weights gives, activation and rounding included."""
    weights = {tensor.name for tensor in graph.initializer}
    users: dict[str, list[onnx.NodeProto]] = defaultdict(list)
    for node in graph.node:
        if node.op_type == "DequantizeLinear" and node.input[0] in weights:
            weights.add(node.output[0])
        for name in node.input:
            users[name].append(node)
    for node in graph.node:
        if node.op_type in WEIGHTED and len(node.input) > 1 and node.input[1] in weights:
            value = node.output[0]
            while len(users[value]) == 1 and users[value][0].op_type in _FOLLOWS:
                value = users[value][0].output[0]
            yield value
