"""Which operators of a .tflite file belong to which layer of the network."""

import sys

from ai_edge_quantizer.utils import tfl_flatbuffer_utils

WEIGHTED = ("CONV_2D", "DEPTHWISE_CONV_2D", "FULLY_CONNECTED")


def operators_of(content, layers):
    """Return the operators before the first layer, and those of each layer, by its name.

    A layer has the operators up to the next one with weights. Names of tensors do not tell: the
    converter gives those that it merges the names of several layers.

    Args:
        content: of the file, in fp32.
        layers: their names with the shapes of their weights, in the order that they run.
    """
    (graph,) = tfl_flatbuffer_utils.read_model(content).subgraphs
    codes = tfl_flatbuffer_utils.read_model(content).operatorCodes
    kinds = tfl_flatbuffer_utils.TFL_OP_CODE_TO_NAME
    before, found = [], []
    for operator in graph.operators:
        kind = kinds.get(codes[operator.opcodeIndex].builtinCode)
        if kind in WEIGHTED and _sides(graph.tensors[operator.inputs[1]].shape):
            found.append([])
        (found[-1] if found else before).append((operator, graph))
    shapes = [_sides(graph.tensors[part[0][0].inputs[1]].shape) for part in found]
    if shapes != [_sides(shape) for _, shape in layers]:
        sys.exit("the layers that LiteRT's converter made are not those of the network, in order")
    return before, dict(zip((name for name, _ in layers), found, strict=True))


def scope(operator, graph):
    """Return what the quantiser knows an operator by."""
    return tfl_flatbuffer_utils.get_op_scope(operator, graph.tensors)


def _sides(shape):
    return sorted(int(side) for side in shape if side != 1)
