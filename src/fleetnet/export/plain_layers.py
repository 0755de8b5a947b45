"""Which tensors of a plain graph belong to which layer of the network, for tools that name them."""

from __future__ import annotations

from collections.abc import Sequence

import onnx

from fleetnet.errors import FleetnetError
from fleetnet.export.quantize.layers import WEIGHTED, Layer, layer_name

_INSIDE = "network."
"""Where the network is in the module that :func:`fleetnet.export.plain_onnx.plain_graph` writes."""


def tensors_of(graph: bytes, layers: Sequence[Layer]) -> dict[str, list[str]]:
    """Return the names of the results of each layer, by its name.

    A layer has the nodes up to the next one with weights. What comes before the first, the
    normalisation of pixels, belongs to none.

    Args:
        graph: of :func:`fleetnet.export.plain_onnx.plain_graph`.
        layers: of the same network.

    Raises:
        FleetnetError: the graph's layers are not those.
    """
    model = onnx.load_from_string(graph)
    weights = {tensor.name for tensor in model.graph.initializer}
    found: dict[str, list[str]] = {}
    tensors: list[str] = []
    for node in model.graph.node:
        if node.op_type in WEIGHTED and len(node.input) > 1 and node.input[1] in weights:
            module = node.input[1].removeprefix(_INSIDE).removesuffix(".weight")
            tensors = found.setdefault(layer_name(module), [])
        if node.op_type != "Constant":
            tensors.extend(node.output)
    if wrong := set(found) ^ {layer.name for layer in layers}:
        raise FleetnetError(f"the plain graph has other layers than the network: {min(wrong)}")
    return found
