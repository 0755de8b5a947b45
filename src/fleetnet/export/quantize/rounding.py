"""Weights rounded so that a layer's sums stay what they were, not each weight by itself.

Rounded one by one, weights are off by a few thousandths each, all in the same way for every image:
the values that they multiply are never negative and go together. So the mean of the errors, which
is the larger part, is taken off the bias (Nagel et al. 2019, section 4.2), and what one weight
loses by rounding is made up for by those of the same sum that are not rounded yet (Frantar et al.
2022, algorithm 1, with the inputs' covariance in place of their second moments, as the mean is
seen to).

What comes of it is a network in fp32 whose weights are multiples of the step that the quantisers
compute for them, from the largest of each output channel: every one of them finds the integers
chosen here. So it serves all engines.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Collection, Mapping
from dataclasses import dataclass

import numpy as np
import onnx
from onnx import numpy_helper

from fleetnet.export.quantize.moments import Array, measure, products_of
from fleetnet.inference.engines import Pixels
from fleetnet.reporting import Advance

TOLD = "with weights rounded for their sums"
"""What a manifest says of it, after the tool's name."""
_DAMPING = 0.01
"""Added to each input's variance, as a share of their mean: images are few, and inputs that were
never seen to vary might."""
_BLOCK = 32
"""After so many inputs, what they are off by is passed on to all that follow, in one product."""


@dataclass(frozen=True)
class Rounding:
    """Weights and biases to take the place of a network's own.

    Attributes:
        tensors: by their names in the graph.
        nodes: names of the nodes that have them.
    """

    tensors: Mapping[str, onnx.TensorProto]
    nodes: Mapping[str, tuple[str, ...]]

    def applied(self, graph: onnx.ModelProto, kept: Collection[str] = ()) -> onnx.ModelProto:
        """Return a copy of the network with these, except in the nodes that are kept in fp32."""
        untouched = {name for node in kept for name in self.nodes.get(node, ())}
        made = onnx.ModelProto()
        made.CopyFrom(graph)
        for tensor in made.graph.initializer:
            if tensor.name in self.tensors and tensor.name not in untouched:
                tensor.CopyFrom(self.tensors[tensor.name])
        return made


def rounding_of(
    graph: onnx.ModelProto, pixels: Pixels, largest: float, advance: Advance = lambda _: None
) -> Rounding:
    """Choose the integers of a network's weights, and correct its biases.

    A layer without a bias keeps the mean of its errors; a convolution of one axis stays as it is.

    Args:
        graph: in fp32; it is not changed.
        pixels: real images, ``uint8[N, crop, crop, 3]``, that show what layers get.
        largest: what an output's largest weight is in the quantiser's steps, see
            :class:`fleetnet.export.quantize.quantizer.QuantizerKind`.
        advance: called with a count as images are done.

    Raises:
        FleetnetError: ONNX Runtime cannot run the graph.
    """
    constants = {one.name: one for one in graph.graph.initializer}
    uses = Counter(name for node in graph.graph.node for name in node.input)
    tensors: dict[str, onnx.TensorProto] = {}
    nodes: dict[str, tuple[str, ...]] = {}
    for product, moments in measure(graph, products_of(graph), pixels, advance):
        names = [name for name in product.node.input[1:3] if name]
        if any(uses[name] > 1 for name in names):
            continue  # what several layers share cannot be rounded for the inputs of one
        if not (np.isfinite(moments.mean).all() and np.isfinite(moments.covariance).all()):
            continue  # nor for inputs that are no numbers, of a network that overflows
        rows = product.rows(product.weight)
        bias = names[1] if len(names) > 1 and names[1] in constants else None
        # Without a bias to take it off, the mean counts as an error like any other.
        seen = moments.second if bias is None else moments.covariance
        found = _nearest_sums(rows, seen, largest)
        tensors[names[0]] = numpy_helper.from_array(product.whole(found), names[0])
        if bias is not None:
            old = numpy_helper.to_array(constants[bias])
            mean = ((found - rows) @ moments.mean[:, :, None]).reshape(old.shape)
            tensors[bias] = numpy_helper.from_array((old - mean).astype(np.float32), bias)
        nodes[product.node.name] = tuple(name for name in names if name in tensors)
    return Rounding(tensors, nodes)


def _nearest_sums(rows: Array, covariance: Array, largest: float) -> Array:
    """Return weights ``[groups, outputs, inputs]`` as multiples of their output's step.

    Of the two ways to round an output's weights, one by one and in sequence, it is the one with
    the smaller mean square of the sum's error: with few inputs the sequence may do worse.
    """
    size = np.abs(rows).max(2, keepdims=True)
    step = np.where(size > 0, size, 1) / largest
    nearest = np.clip(np.rint(rows / step), -largest, largest)
    try:
        compensated = _in_sequence(rows / step, covariance, largest)
    except np.linalg.LinAlgError:
        # Inputs so large that nothing is left of their differences tell nothing.
        return np.asarray(step * nearest, np.float64)
    errors = [_square(found - rows / step, covariance) for found in (nearest, compensated)]
    better = (errors[1] < errors[0])[:, :, None]
    return step * np.where(better, compensated, nearest)


def _passed_on(covariance: Array) -> Array:
    """Return how an input's error is passed on to those after it, upper triangular.

    It is the factor of the damped inverse, ``float64[groups, inputs, inputs]`` as the covariance.
    """
    eye = np.eye(covariance.shape[1])
    damping = _DAMPING * np.einsum("gii->gi", covariance).mean(1).clip(0)
    damping += np.finfo(np.float32).tiny
    try:
        return _factor(covariance + damping[:, None, None] * eye)
    except np.linalg.LinAlgError:
        # Inputs that hardly vary: what is left of their variance is rounding, even below zero.
        size = np.abs(covariance).sum(2).max(1) + 1
        damping += np.clip(-2 * np.linalg.eigvalsh(covariance)[:, 0], 0, None) + 1e-6 * size
        return _factor(covariance + damping[:, None, None] * eye)


def _factor(damped: Array) -> Array:
    """Return the upper triangular factor of the inverse of each matrix, ``[groups, n, n]``."""
    lower = np.asarray(np.linalg.cholesky(np.linalg.inv(damped)), np.float64)
    return lower.transpose(0, 2, 1)


def _in_sequence(weights: Array, covariance: Array, largest: float) -> Array:
    """Round one input after the other, and let the inputs that follow make up for the error.

    The inputs that vary most come first. A row's largest weight stays what it is: the step
    follows from it.

    Args:
        weights: in steps, ``float64[groups, outputs, inputs]``.
        covariance: of the inputs, ``float64[groups, inputs, inputs]``.
        largest: what a row's largest weight is, in size; no integer is larger.
    """
    inputs = weights.shape[2]
    variance = np.einsum("gii->gi", covariance)
    order = np.argsort(-variance, axis=1, kind="stable")
    ordered = np.take_along_axis(covariance, order[:, :, None], 1)
    passed_on = _passed_on(np.take_along_axis(ordered, order[:, None, :], 2))
    left = np.take_along_axis(weights, order[:, None, :], 2)
    most = math.floor(largest)
    first = np.abs(left).argmax(2)
    extreme = largest * np.sign(np.take_along_axis(left, first[:, :, None], 2))[:, :, 0]
    found, errors = np.empty_like(left), np.empty_like(left)
    for start in range(0, inputs, _BLOCK):
        end = min(start + _BLOCK, inputs)
        for place in range(start, end):
            near = np.clip(np.rint(left[:, :, place]), -most, most)
            found[:, :, place] = np.where(first == place, extreme, near)
            error = (left[:, :, place] - found[:, :, place]) / passed_on[:, place, place, None]
            errors[:, :, place] = error
            left[:, :, place + 1 : end] -= (
                error[:, :, None] * passed_on[:, place, None, place + 1 : end]
            )
        left[:, :, end:] -= errors[:, :, start:end] @ passed_on[:, start:end, end:]
    return np.take_along_axis(found, np.argsort(order, axis=1)[:, None, :], 2)


def _square(error: Array, covariance: Array) -> Array:
    """Return the variance of the errors of sums, ``[groups, outputs]``."""
    return np.asarray(((error @ covariance) * error).sum(2))
