"""ONNX files that carry a manifest, of networks that runtimes cannot compute."""

from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

NETWORK = Path(__file__).parents[1] / "conformance" / "network.onnx"


def with_last_nodes(
    path: Path, *more: tuple[str, list[str]], change: str = "", value: object = ()
) -> Path:
    """Write the network with other nodes between it and its logits.

    Args:
        path: of the file to make, which is returned.
        more: each node's kind and inputs; the first gets ``numbers``, each later one ``step``.
        change: the name of a constant that they may take.
        value: of that constant.
    """
    model = onnx.load(str(NETWORK))
    if change:
        model.graph.initializer.append(numpy_helper.from_array(np.array(value, np.int64), change))
    nodes = list(model.graph.node)
    (last,) = (place for place, node in enumerate(nodes) if "logits" in node.output)
    nodes[last].output[0] = "numbers"
    outputs = ["step"] * (len(more) - 1) + ["logits"]
    nodes[last + 1 : last + 1] = [
        helper.make_node(kind, given, [output])
        for (kind, given), output in zip(more, outputs, strict=True)
    ]
    del model.graph.node[:]
    model.graph.node.extend(nodes)
    onnx.save(model, str(path))
    return path


def with_two_inputs(path: Path) -> Path:
    """Write the network with a second input, which is added to its logits."""
    with_last_nodes(path, ("Add", ["numbers", "more"]))
    model = onnx.load(str(path))
    model.graph.input.append(helper.make_tensor_value_info("more", TensorProto.FLOAT, [1]))
    onnx.save(model, str(path))
    return path


def with_a_class_that_is_not_there(path: Path) -> Path:
    """Write the network with a choice of four of its logits, one of them far beyond the end."""
    return with_last_nodes(
        path, ("Gather", ["numbers", "far"]), change="far", value=[[0, 1, 2, 700]]
    )


def with_logits_of_another_shape(path: Path) -> Path:
    """Write the network with its logits in a shape that takes more numbers than there are."""
    return with_last_nodes(path, ("Reshape", ["numbers", "seven"]), change="seven", value=[7, 4])


def with_answers_that_are_no_numbers(path: Path) -> Path:
    """Write the network with zero by zero in place of each logit."""
    return with_last_nodes(path, ("Sub", ["numbers", "numbers"]), ("Div", ["step", "step"]))
