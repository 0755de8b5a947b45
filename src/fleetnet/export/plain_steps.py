"""The plain graph as steps and numbers, for converters whose environment has no ONNX.

A step is an operator of ONNX's opset 11, of fixed shapes; what it takes beside other steps' results
are the names of weights, or numbers that stand in the step itself.
"""

from __future__ import annotations

import io
import json
from typing import Any

import numpy as np
import onnx

STEPS, WEIGHTS = "steps.json", "weights.npz"
_NUMBERS = {"Clip": (1, 2), "Pad": (1, 2), "Reshape": (1,), "Slice": (1, 2, 3, 4)}
"""Which inputs of operators are numbers, by their places."""


def steps_of(graph: bytes) -> dict[str, bytes]:
    """Return the files of a graph that :func:`fleetnet.export.plain_onnx.plain_graph` gave.

    :data:`STEPS` has ``input``, ``output``, and ``steps``, each with ``op``, ``takes`` (names, with
    None where something is left out), ``numbers`` (what the operator takes as numbers, by place),
    ``gives`` and ``with``, the attributes. :data:`WEIGHTS` has the weights by the names in
    ``takes``, without the slashes and dots that no file's name should have.
    """
    model = onnx.load_from_string(graph)
    known = {one.name: onnx.numpy_helper.to_array(one) for one in model.graph.initializer}
    for node in model.graph.node:
        if node.op_type == "Constant":
            known[node.output[0]] = onnx.numpy_helper.to_array(node.attribute[0].t)
    needed = dict.fromkeys(name for node in model.graph.node for name in node.input)
    named = {
        name: f"w{number:06}"
        for number, name in enumerate(name for name in needed if name in known)
    }
    steps, used = [], set()
    for node in model.graph.node:
        if node.op_type == "Constant":
            continue
        places = _NUMBERS.get(node.op_type, ())
        numbers = {
            place: known[name].tolist()
            for place, name in enumerate(node.input)
            if place in places and name
        }
        taken = [name for place, name in enumerate(node.input) if place not in places]
        used |= {name for name in taken if name in known}
        steps.append(
            {
                "op": node.op_type,
                "takes": [named.get(name, name) or None for name in taken],
                "numbers": numbers,
                "gives": list(node.output),
                "with": {one.name: _value(one) for one in node.attribute},
            }
        )
    text = json.dumps(
        {"input": model.graph.input[0].name, "output": model.graph.output[0].name, "steps": steps}
    )
    buffer = io.BytesIO()
    weights: dict[str, Any] = {named[name]: known[name] for name in named if name in used}
    np.savez(buffer, **weights)
    return {STEPS: text.encode(), WEIGHTS: buffer.getvalue()}


def _value(attribute: onnx.AttributeProto) -> Any:
    value = onnx.helper.get_attribute_value(attribute)
    return value.decode() if isinstance(value, bytes) else value
