"""A graph in int8 as a module that trains: its rounding is kept, its weights are not integers yet.

A ``QuantizeLinear`` and the ``DequantizeLinear`` behind it round activations to the steps of the
graph; weights are rounded to steps that follow from the largest of each channel, as the quantiser
computes them. Gradients pass the rounding unchanged, and end where values are clipped (Jacob et al.
2018, section 3).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import onnx
import torch
from onnx import numpy_helper
from torch import Tensor, nn

from fleetnet.errors import ModelError
from fleetnet.export.finetune.operators import OPERATORS, Attributes
from fleetnet.export.onnx import LOGITS
from fleetnet.export.quantize.layers import WEIGHTED
from fleetnet.export.quantize.quantizer import LARGEST
from fleetnet.telemetry import without_telemetry

with without_telemetry():
    from onnxruntime.quantization.quant_utils import DEQUANT_OP_NAME, QUANT_OP_NAME

Arrays = Mapping[str, npt.NDArray[Any]]
SUFFIX = "_quantized"
"""The quantiser adds it to the name of what it has rounded."""


class _Node(NamedTuple):
    operator: str
    attributes: Attributes
    inputs: tuple[str, ...]
    output: str


class TrainableGraph(nn.Module):
    """A graph with rounding in it, of which the weights train.

    Maps ``uint8[N, crop, crop, 3]`` to logits, ``float32[N, K]``. Its parameters say how far the
    weights have moved, in units of their output channel's root mean square: folding batch norm
    leaves channels of very different sizes, for which no learning rate would do.

    Args:
        network: in fp32: gives the weights to begin with.
        quantized: the same with ``QuantizeLinear`` and ``DequantizeLinear``, as
            :class:`fleetnet.export.quantize.qdq.OnnxRuntimeQuantizer` makes it.
        weight_bits: 7 or 8, with which that was made.

    Raises:
        ModelError: an operator that is not known here.
    """

    def __init__(
        self, network: onnx.ModelProto, quantized: onnx.ModelProto, weight_bits: int
    ) -> None:
        super().__init__()
        self._largest = int(LARGEST[weight_bits])
        whole = {one.name: numpy_helper.to_array(one) for one in network.graph.initializer}
        stored = {one.name: numpy_helper.to_array(one) for one in quantized.graph.initializer}
        self._input = quantized.graph.input[0].name
        self._nodes = [_read(node) for node in _needed(quantized.graph.node, LOGITS)]
        self._weights: dict[str, int] = {}
        """Places in ``self.moved`` of what the graph has as integers, by their names in fp32."""
        self._start: list[Tensor] = []
        self._units: list[Tensor] = []
        self._of: dict[str, str] = {}
        self._axes: dict[str, int] = {}
        self.moved = nn.ParameterList()
        self._fixed: dict[str, Tensor] = {}
        self._ranges: dict[str, tuple[float, int, int, int]] = {}
        self._find_weights(whole, stored)
        self._load(stored)

    def _find_weights(self, whole: Arrays, stored: Arrays) -> None:
        weighted = [node for node in self._nodes if node.operator in WEIGHTED]
        wanted = {name for node in weighted for name in node.inputs[1:]}
        for node in self._nodes:
            source = node.inputs[0]
            plain = source.removesuffix(SUFFIX)
            if node.output in wanted and source in stored and plain in whole:
                self._of[source] = plain
                self._axes[source] = -1 if stored[source].ndim < 2 else node.attributes["axis"]
                self._weights[plain] = len(self._start)
                self._start.append(torch.from_numpy(whole[plain].copy()))
                self._units.append(_unit(self._start[-1], self._axes[source]))
                self.moved.append(nn.Parameter(torch.zeros_like(self._start[-1])))

    def _load(self, stored: Arrays) -> None:
        """Take the constants, and the ranges of the activations."""
        self._fixed = {
            name: torch.from_numpy(np.array(value))
            for name, value in stored.items()
            if value.dtype in (np.float32, np.int64)
        }
        for node in self._nodes:
            if node.operator == DEQUANT_OP_NAME and node.inputs[0] in stored:
                # One that several layers share has a name for each, and does not train.
                number, scale, zero = (stored[name].astype(np.float32) for name in node.inputs)
                if node.inputs[0] not in self._of:
                    self._fixed[node.output] = torch.as_tensor((number - zero) * scale)
            if node.operator == QUANT_OP_NAME:
                scale, zero = (stored[name] for name in node.inputs[1:3])
                limits = np.iinfo(zero.dtype.name)
                self._ranges[node.output] = (float(scale), int(zero), limits.min, limits.max)

    def set_ranges(self, quantized: onnx.ModelProto) -> None:
        """Take the ranges of the same graph, quantised again."""
        self._load({one.name: numpy_helper.to_array(one) for one in quantized.graph.initializer})

    def forward(self, pixels: Tensor) -> Tensor:
        """Return the logits."""
        values: dict[str, Tensor] = {self._input: pixels}
        for node in self._nodes:
            if node.operator == QUANT_OP_NAME:
                values[node.output] = self._rounded(self._value(values, node.inputs[0]), node)
            elif node.operator == DEQUANT_OP_NAME:
                values[node.output] = self._restored(values, node)
            else:
                inputs = [self._value(values, name) if name else None for name in node.inputs]
                values[node.output] = OPERATORS[node.operator](node.attributes, inputs)
        return values[LOGITS]

    def _value(self, values: Mapping[str, Tensor], name: str) -> Tensor:
        return values[name] if name in values else self._fixed[name]

    def _rounded(self, x: Tensor, node: _Node) -> Tensor:
        """Return what is left of activations that were rounded and restored."""
        return torch.fake_quantize_per_tensor_affine(x, *self._ranges[node.output])

    def _restored(self, values: Mapping[str, Tensor], node: _Node) -> Tensor:
        name = node.inputs[0]
        if node.output in self._fixed:
            return self._fixed[node.output]
        if name not in self._of:
            return values[name]  # rounded and restored in one step, see above
        weight = self._weight(self._of[name])
        axis = self._axes[name]
        if axis < 0:
            return weight  # a bias: with 32 bits, rounding it changes nothing
        largest = self._largest
        others = [place for place in range(weight.ndim) if place != axis]
        tiny = torch.finfo(torch.float32).tiny
        scale = weight.detach().abs().amax(others).clamp_min(tiny * largest) / largest
        zero = torch.zeros_like(scale, dtype=torch.int32)
        return torch.fake_quantize_per_channel_affine(weight, scale, zero, axis, -largest, largest)

    def _weight(self, name: str) -> Tensor:
        place = self._weights[name]
        moved: Tensor = self._start[place] + self._units[place] * self.moved[place]
        return moved

    def trained(self, network: onnx.ModelProto) -> onnx.ModelProto:
        """Return a network in fp32 with the weights as they are now in place of its own."""
        copy = onnx.ModelProto()
        copy.CopyFrom(network)
        for tensor in copy.graph.initializer:
            if tensor.name in self._weights:
                value = self._weight(tensor.name).detach().numpy()
                tensor.CopyFrom(numpy_helper.from_array(np.ascontiguousarray(value), tensor.name))
        return copy


def _unit(weight: Tensor, axis: int) -> Tensor:
    """Return the root mean square of each output channel; of biases, the median of the sizes.

    Few biases are much larger than the others.
    """
    if axis < 0:
        return weight.abs().median()
    others = [place for place in range(weight.ndim) if place != axis]
    return weight.square().mean(others, keepdim=True).sqrt()


def _read(node: onnx.NodeProto) -> _Node:
    if node.op_type not in (*OPERATORS, QUANT_OP_NAME, DEQUANT_OP_NAME):
        raise ModelError(
            f"the network has the operator {node.op_type} ('{node.name}'), which cannot be "
            "trained here: quantise it without train=",
            arguments=["train"],
        )
    attributes = {one.name: onnx.helper.get_attribute_value(one) for one in node.attribute}
    return _Node(node.op_type, attributes, tuple(node.input), node.output[0])


def _needed(nodes: Iterable[onnx.NodeProto], output: str) -> list[onnx.NodeProto]:
    """Return the nodes that an output is computed by, in an order in which they can run."""
    makers = {name: node for node in nodes for name in node.output}
    ordered: dict[str, onnx.NodeProto] = {}
    waiting = [output]
    while waiting:
        name = waiting[-1]
        node = makers.get(name)
        missing = [] if node is None else [one for one in node.input if one in makers]
        missing = [one for one in missing if one not in ordered]
        if missing and name not in ordered:
            waiting.extend(missing)
            continue
        waiting.pop()
        if node is not None:
            ordered.setdefault(name, node)
    return list(ordered.values())
