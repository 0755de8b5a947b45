"""Weights that take the place of a network's own, by layer: those that a graph in int8 has.

Quantisers compute the step of an output from its largest weight. So a network in fp32 whose weights
are the integers of another one, times their steps, gives the same integers and steps again.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
import onnx
from onnx import numpy_helper

from fleetnet.errors import BundleError
from fleetnet.export.quantize.layers import Layer, layers_of
from fleetnet.export.quantize.quantizer import LARGEST
from fleetnet.export.quantize.rounding import TOLD, Rounding

Array = npt.NDArray[np.float32]
Range = tuple[float, float]
LOGITS = "logits"
_QUANTIZE, _DEQUANTIZE = "QuantizeLinear", "DequantizeLinear"
_PARAMETERS = (("weight", 1), ("bias", 2))
"""Names of a module's parameters, and their places among a node's inputs."""


@dataclass(frozen=True)
class Weights:
    """Weights and biases of a network's layers, in fp32, and what is known of their rounding.

    Attributes:
        tensors: by the names of the parameters in the network, such as ``stem.conv.weight``.
        bits: those of the integers that the weights are multiples for: of 7, an output's largest is
            64, of 8 it is 127.
        rounded: names of the layers whose weights are such multiples.
        told: what a manifest says of them, after the tool's name.
        ranges: what each layer takes, smallest and largest value, by the layers' names, as far as
            that is known.
        logits: the same of what the network gives.
    """

    tensors: Mapping[str, Array]
    bits: Literal[7, 8]
    rounded: frozenset[str]
    told: str
    ranges: Mapping[str, Range] = field(default_factory=dict)
    logits: Range | None = None

    @property
    def largest(self) -> int:
        """The integer that an output's largest weight is."""
        return int(LARGEST[self.bits])

    def applied(self, network: onnx.ModelProto) -> onnx.ModelProto:
        """Return a copy of a network's graph with these weights."""
        made = onnx.ModelProto()
        made.CopyFrom(network)
        values = {
            name: self.tensors[key]
            for node in made.graph.node
            for (parameter, _), name in zip(_PARAMETERS, _constants(node), strict=False)
            if (key := f"{_module(node.name)}.{parameter}") in self.tensors
        }
        for tensor in made.graph.initializer:
            if tensor.name in values:
                tensor.CopyFrom(numpy_helper.from_array(values[tensor.name], tensor.name))
        return made

    def rounded_to(self, rounding: Rounding, layers: Sequence[Layer]) -> Weights:
        """Return the same with weights that were rounded for their sums, to 8 bits."""
        again = weights_of_rounding(rounding, layers)
        told = f"{self.told}, rounded anew for their sums"
        return replace(again, tensors={**self.tensors, **again.tensors}, told=told,
                       ranges=self.ranges, logits=self.logits)  # fmt: skip


def weights_of_rounding(rounding: Rounding, layers: Sequence[Layer]) -> Weights:
    """Return weights that were rounded for their sums, to 8 bits."""
    tensors = {
        f"{_module(node)}.{parameter}": numpy_helper.to_array(rounding.tensors[name])
        for node, names in rounding.nodes.items()
        for (parameter, _), name in zip(_PARAMETERS, names, strict=False)
    }
    rounded = frozenset(layer.name for layer in layers if layer.nodes[0] in rounding.nodes)
    return Weights(tensors, 8, rounded, TOLD)


def weights_of_int8(
    network: onnx.ModelProto, quantized: onnx.ModelProto, where: str, told: str
) -> Weights:
    """Return the weights that a network's graph in int8 has, as numbers, and its ranges.

    Layers that it computes in fp32 have the weights that stand there.

    Args:
        network: in fp32, as export wrote it.
        quantized: the same in int8, with ``QuantizeLinear`` and ``DequantizeLinear``.
        where: names the latter in errors.
        told: see :class:`Weights`.

    Raises:
        BundleError: its layers are not those of the network, or their weights are no integers of 7
            or 8 bits with a step for each output.
    """
    own, other = _Graph(network, where), _Graph(quantized, where)
    tensors: dict[str, Array] = {}
    ranges: dict[str, Range] = {}
    sizes: dict[str, int] = {}
    for layer in layers_of(network, where):
        node, found = own.nodes[layer.nodes[0]], other.nodes.get(layer.nodes[0])
        if found is None or _kind(found) != _kind(node):
            raise _strange(where, layer.name)
        for (parameter, place), name in zip(_PARAMETERS, _constants(node), strict=False):
            value = other.constant(found.input[place], layer.name)
            if value.shape != own.constant(name, layer.name).shape:
                raise _strange(where, layer.name)
            tensors[f"{_module(node.name)}.{parameter}"] = value
        integers = other.integers(found.input[1])
        if integers is not None:
            sizes[layer.name] = int(np.abs(integers.astype(np.int16)).max())
        if (taken := other.range_of(found.input[0])) is not None:
            ranges[layer.name] = taken
    if not sizes or max(sizes.values()) > LARGEST[8]:
        raise BundleError(f"{where}: its weights are no integers of 7 or 8 bits")
    return Weights(
        tensors,
        7 if max(sizes.values()) <= LARGEST[7] else 8,
        frozenset(sizes),
        told,
        ranges,
        other.range_of(LOGITS),
    )


def _strange(where: str, layer: str) -> BundleError:
    return BundleError(
        f"{where}: its layer '{layer}' is not that of the bundle's network in fp32: "
        "'fleetnet quantize' makes int8 anew"
    )


def _module(node: str) -> str:
    """Return the module that a node is of."""
    return node.partition("/")[0]


def _constants(node: onnx.NodeProto) -> list[str]:
    return [name for name in node.input[1:3] if name]


def _kind(node: onnx.NodeProto) -> tuple[Any, ...]:
    """Return what a node computes, but for the names of its inputs."""
    attributes = sorted(one.SerializeToString(deterministic=True) for one in node.attribute)
    return node.op_type, len(_constants(node)), attributes


class _Graph:
    """A graph, for looking things up."""

    def __init__(self, model: onnx.ModelProto, where: str) -> None:
        self._where = where
        self.nodes = {node.name: node for node in model.graph.node}
        self._makers = {name: node for node in model.graph.node for name in node.output}
        self._stored = {one.name: one for one in model.graph.initializer}

    def constant(self, name: str, layer: str) -> Array:
        """Return what is stored as numbers, or as integers with their steps.

        Raises:
            BundleError: it is neither, or not symmetric about 0.
        """
        if name in self._stored:
            return np.asarray(numpy_helper.to_array(self._stored[name]), np.float32)
        found = self._stored_of(name, _DEQUANTIZE)
        if found is None or found[2].any():
            raise _strange(self._where, layer)
        integers, step, _ = found
        given = {
            one.name: onnx.helper.get_attribute_value(one) for one in self._makers[name].attribute
        }
        if step.ndim:
            axis = given.get("axis", 1)
            if (
                step.ndim > 1
                or not -integers.ndim <= axis < integers.ndim
                or len(step) != integers.shape[axis]
            ):
                raise _strange(self._where, layer)
            places = [1] * integers.ndim
            places[axis] = -1
            step = step.reshape(places)
        return np.asarray(integers.astype(np.float32) * step, np.float32)

    def integers(self, name: str) -> npt.NDArray[np.int8] | None:
        """Return the integers that are stored for a constant; None if there are none."""
        found = self._stored_of(name, _DEQUANTIZE)
        return found[0] if found and found[0].dtype == np.int8 else None

    def range_of(self, name: str) -> Range | None:
        """Return the range of a value that is rounded to bytes; None of another one."""
        restored = self._makers.get(name)
        if restored is None or restored.op_type != _DEQUANTIZE:
            return None
        found = self._stored_of(restored.input[0], _QUANTIZE, first=1)
        if found is None or found[1].dtype != np.uint8 or found[0].size != 1:
            return None
        step, zero = found
        return (0 - int(zero)) * float(step), (255 - int(zero)) * float(step)

    def _stored_of(self, name: str, operator: str, first: int = 0) -> list[npt.NDArray[Any]] | None:
        """Return the integers, steps and zero points that give a value, from one on.

        None if another operator gives it, or one of them is computed; no quantiser writes that.
        """
        maker = self._makers.get(name)
        if maker is None or maker.op_type != operator:
            return None
        names = maker.input[first:3]
        if any(one not in self._stored for one in names):
            return None
        found = [numpy_helper.to_array(self._stored[one]) for one in names]
        return found if len(maker.input) > 2 else [*found, np.zeros(1, np.int8)]
