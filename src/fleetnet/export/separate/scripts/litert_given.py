"""Ranges that are given, in place of those that were measured, for tensors of a .tflite file."""

import numpy as np
from ai_edge_quantizer.utils import tfl_flatbuffer_utils

LARGEST = 127
"""What the quantiser makes the largest weight of an output."""
MOVING = ("PAD", "PADV2", "RESHAPE", "TRANSPOSE")
"""Operators whose values are those that they get, or zeros."""


def put(ranges, content, layers, settings):
    """Change the ranges of weights, of what layers take, and of what the network gives.

    The quantiser divides what it finds by 127: where the largest integer of an output is to be a
    smaller one, its weights get a range that is wider.

    Args:
        ranges: by the names of tensors, ``min`` and ``max`` of each.
        content: of the file, in fp32.
        layers: their operators, as ``litert_layers.operators_of`` gives them.
        settings: ``largest`` and ``takes`` by the names of layers, ``gives``; None leaves it.
    """
    model = tfl_flatbuffer_utils.read_model(content)
    (graph,) = model.subgraphs
    kinds = tfl_flatbuffer_utils.TFL_OP_CODE_TO_NAME
    makers = {output: operator for operator in graph.operators for output in operator.outputs}

    def name(tensor):
        return tfl_flatbuffer_utils.get_tensor_name(graph.tensors[tensor])

    def largest_of(operator):
        """Return the largest magnitude of an output's weights, with all axes."""
        tensor = graph.tensors[operator.inputs[1]]
        values = np.abs(tfl_flatbuffer_utils.get_tensor_data(tensor, model.buffers))
        outputs = values.ndim - 1 if kind(operator) == "DEPTHWISE_CONV_2D" else 0
        others = tuple(axis for axis in range(values.ndim) if axis != outputs)
        return values.max(others, keepdims=True)

    def kind(operator):
        return kinds.get(model.operatorCodes[operator.opcodeIndex].builtinCode)

    def give(tensor, lowest, highest):
        known = ranges[name(tensor)]
        known["min"] = np.full_like(known["min"], lowest)
        known["max"] = np.full_like(known["max"], highest)

    for layer, operators in layers.items():
        operator = operators[0][0]
        if layer in settings["largest"]:
            most = largest_of(operator) * np.float32(LARGEST / settings["largest"][layer])
            ranges[name(operator.inputs[1])] = {"min": -most, "max": most}
        if layer in settings["takes"]:
            taken = operator.inputs[0]
            give(taken, *settings["takes"][layer])
            while taken in makers and kind(makers[taken]) in MOVING:
                taken = makers[taken].inputs[0]
                give(taken, *settings["takes"][layer])
    if settings["gives"]:
        give(graph.outputs[0], *settings["gives"])
