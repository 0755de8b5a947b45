"""A graph of OpenVINO's as the contents of the two files of its own format."""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from fleetnet.errors import FleetnetError
from fleetnet.inference.engines.runtime import Runtime

if TYPE_CHECKING:
    import openvino as ov
    from openvino import opset13
else:
    ov = Runtime("openvino")
    opset13 = Runtime("openvino.opset13")


def to_ir(model: ov.Model, *, fp16: bool = False) -> tuple[bytes, bytes]:
    """Return the contents of the ``.xml`` file and of the ``.bin`` file.

    Args:
        model: the graph.
        fp16: whether weights in fp32 are kept in half as many bits.
    """
    with tempfile.TemporaryDirectory(prefix="fleetnet-") as folder:
        path = Path(folder) / "model.xml"
        ov.save_model(model, path, compress_to_fp16=fp16)
        return path.read_bytes(), path.with_suffix(".bin").read_bytes()


def tapped(model: ov.Model, nodes: Sequence[tuple[str, str]]) -> ov.Model:
    """Return a graph that gives the values of these nodes, named as the logits.

    They are ``float32[N, …]``, channels first, one node after the other.

    Args:
        model: read from ONNX, whose nodes keep their names; its results are taken from it.
        nodes: the name of each in the ONNX graph, and of its output, which results are known by.

    Raises:
        FleetnetError: it lacks one of these.
    """
    known = {node.get_friendly_name(): node for node in model.get_ordered_ops()}
    taken = [known.get(name) or known.get(output) for name, output in nodes]
    if None in taken:
        raise FleetnetError(f"OpenVINO has no node '{nodes[taken.index(None)][0]}' in this graph")
    for result in model.get_results():
        result.input_value(0).get_tensor().set_names(set())
    flat = opset13.constant(np.array([0, -1], np.int64))
    rows = [opset13.reshape(node, flat, special_zero=True) for node in taken]
    together = opset13.concat(rows, 1)
    together.output(0).get_tensor().set_names({"logits"})
    return ov.Model([opset13.result(together)], model.get_parameters(), "layers")
