"""The layers of an ONNX graph, as far as quantisation is concerned."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass, replace

import onnx

from fleetnet.errors import BundleError, one_line

WEIGHTED = ("Conv", "Gemm", "MatMul")
"""Operators that multiply by weights: they take most of the time, and int8 is for them."""


@dataclass(frozen=True)
class Layer:
    """A convolution or fully connected layer, with what follows it up to the next one.

    Attributes:
        name: the dotted name of the module, such as ``blocks.3.expand``.
        nodes: names of the graph's nodes that belong to it, the one with weights first.
        macs: multiply-adds for one image.
        weights: shape of its weights.
    """

    name: str
    nodes: tuple[str, ...]
    macs: int
    weights: tuple[int, ...] = ()


def read_graph(content: bytes, where: str) -> onnx.ModelProto:
    """Parse an ONNX graph and infer the shapes in it.

    Raises:
        BundleError: not an ONNX graph; ``where`` names the file.
    """
    try:
        return onnx.shape_inference.infer_shapes(onnx.load_from_string(content))
    except Exception as error:
        # protobuf's and onnx's exceptions share no public base class.
        reason = one_line(error)
        raise BundleError(f"{where} is not an ONNX graph that can be read: {reason}") from None


def layers_of(model: onnx.ModelProto, where: str) -> tuple[Layer, ...]:
    """Return the layers of a graph that export wrote, in the order they run.

    The normalisation of pixels, which comes before the first layer, belongs to none.

    Raises:
        BundleError: nodes without names, or no layer with weights; ``where`` names the file.
    """
    names = [node.name for node in model.graph.node]
    if "" in names or len(set(names)) != len(names):
        raise BundleError(f"{where}: its nodes have no names of their own: export the bundle anew")
    weights = {tensor.name: tuple(tensor.dims) for tensor in model.graph.initializer}
    shapes = _shapes(model)
    layers: list[Layer] = []
    for node in model.graph.node:
        if node.op_type in WEIGHTED and len(node.input) > 1 and node.input[1] in weights:
            macs = _macs(node, weights[node.input[1]], shapes.get(node.output[0], ()))
            shape = weights[node.input[1]]
            layers.append(Layer(layer_name(node.name), (node.name,), macs, shape))
        elif layers:
            last = layers[-1]
            layers[-1] = replace(last, nodes=(*last.nodes, node.name))
    if not layers:
        raise BundleError(f"{where} has no layer with weights: there is nothing to quantise")
    if len({layer.name for layer in layers}) != len(layers):
        raise BundleError(f"{where}: two layers have the same name: export the bundle anew")
    return tuple(layers)


def layer_name(node: str) -> str:
    """Return the module that a node's name begins with, less the convolution inside it.

    Export names nodes ``module/operator_number``; ``blocks.3.expand.conv`` is the convolution of
    the layer ``blocks.3.expand``.
    """
    scope = node.partition("/")[0]
    return scope.removesuffix(".conv").removesuffix(".linear")


def macs_share(layers: Iterable[Layer], among: Iterable[Layer]) -> float:
    """Return the share that ``layers`` have of the multiply-adds of ``among``."""
    total = sum(layer.macs for layer in among)
    return sum(layer.macs for layer in layers) / total if total else 0.0


def _shapes(model: onnx.ModelProto) -> dict[str, tuple[int, ...]]:
    values = [*model.graph.value_info, *model.graph.output, *model.graph.input]
    return {
        value.name: tuple(dim.dim_value for dim in value.type.tensor_type.shape.dim)
        for value in values
    }


def _macs(node: onnx.NodeProto, weight: tuple[int, ...], output: tuple[int, ...]) -> int:
    """Count the multiply-adds of one image; a convolution repeats its weights at each position."""
    positions = math.prod(output[2:]) if node.op_type == "Conv" else 1
    return math.prod(weight) * max(positions, 1)
