"""What the inputs of a network's layers look like: their means, and how they vary together.

Rounding a weight disturbs a sum by as much as the values that it multiplies; where these go
together, one weight that is rounded up makes up for another that is rounded down.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import onnx
from onnx import numpy_helper

from fleetnet.export.quantize.layers import WEIGHTED
from fleetnet.export.quantize.values import values_of
from fleetnet.inference.engines import Pixels
from fleetnet.reporting import Advance

Array = npt.NDArray[np.float64]
IMAGES = 128
"""At most so many are looked at."""
POSITIONS = 64
"""Of so many places in an image, a convolution's inputs are compared with each other."""


class Product(NamedTuple):
    """A node that multiplies its input by weights.

    Attributes:
        node: of the graph.
        weight: as it stands there, for a convolution ``[C, C_in / groups, h, w]``.
        axis: of ``weight``, along which the outputs are.
        groups: the outputs' channels are divided into so many, each with inputs of its own.
    """

    node: onnx.NodeProto
    weight: npt.NDArray[np.float32]
    axis: int
    groups: int

    def rows(self, values: npt.NDArray[np.float32]) -> Array:
        """Return weights as ``[groups, outputs, inputs]``."""
        moved = np.moveaxis(values, self.axis, 0).astype(np.float64)
        return moved.reshape(self.groups, len(moved) // self.groups, -1)

    def whole(self, rows: Array) -> npt.NDArray[np.float32]:
        """Return what :meth:`rows` returned as the graph has it."""
        shape = np.moveaxis(self.weight, self.axis, 0).shape
        moved = np.moveaxis(rows.reshape(shape), 0, self.axis)
        return np.ascontiguousarray(moved, np.float32)


class Moments(NamedTuple):
    """Of the inputs that a layer's outputs are sums of.

    Attributes:
        mean: ``float64[groups, inputs]``.
        covariance: ``float64[groups, inputs, inputs]``.
    """

    mean: Array
    covariance: Array

    @property
    def second(self) -> Array:
        """The mean of the products of two inputs, ``float64[groups, inputs, inputs]``."""
        return self.covariance + self.mean[:, :, None] * self.mean[:, None, :]


def products_of(graph: onnx.ModelProto) -> list[Product]:
    """Return a graph's products whose weights are constant, except convolutions of one axis."""
    arrays = {one.name: one for one in graph.graph.initializer}
    found = []
    for node in graph.graph.node:
        if node.op_type in WEIGHTED and len(node.input) > 1 and node.input[1] in arrays:
            weight = numpy_helper.to_array(arrays[node.input[1]])
            given = _attributes(node)
            if node.op_type == "Conv" and weight.ndim == 4:
                found.append(Product(node, weight, 0, given.get("group", 1)))
            elif node.op_type != "Conv" and weight.ndim == 2 and not given.get("transA"):
                found.append(Product(node, weight, 0 if given.get("transB") else 1, 1))
    return found


def measure(
    graph: onnx.ModelProto, products: Sequence[Product], pixels: Pixels, advance: Advance
) -> Iterator[tuple[Product, Moments]]:
    """Yield each product with what its inputs are on some images.

    Args:
        graph: in fp32.
        products: of the graph.
        pixels: real images, ``uint8[N, crop, crop, 3]``, of which :data:`IMAGES` are looked at.
        advance: called with a count as images are done.
    """
    pixels = pixels[:IMAGES]
    random = np.random.default_rng(0)
    sums = [_Sums() for _ in products]
    for values, images in values_of(graph, {one.node.input[0] for one in products}, pixels):
        for product, total in zip(products, sums, strict=True):
            total.add(_columns(product, values[product.node.input[0]], random))
        advance(images)
    yield from zip(products, (total.moments() for total in sums), strict=True)


class _Sums:
    """Sums over places and images."""

    def __init__(self) -> None:
        self._count = 0
        self._first: npt.ArrayLike = 0.0
        self._second: npt.ArrayLike = 0.0

    def add(self, columns: npt.NDArray[np.float32]) -> None:
        """Count ``float32[groups, inputs, places]`` in."""
        self._count += columns.shape[2]
        self._first = np.add(self._first, columns.sum(2, dtype=np.float64))
        self._second = np.add(self._second, columns @ columns.transpose(0, 2, 1), dtype=np.float64)

    def moments(self) -> Moments:
        mean = np.asarray(self._first) / self._count
        second = np.asarray(self._second) / self._count
        return Moments(mean, second - mean[:, :, None] * mean[:, None, :])


def _columns(
    product: Product, x: npt.NDArray[np.float32], random: np.random.Generator
) -> npt.NDArray[np.float32]:
    """Return what is multiplied by the weights, ``float32[groups, inputs, places]``."""
    if product.node.op_type != "Conv":
        return np.ascontiguousarray(x.reshape(-1, x.shape[-1]).T[None])
    given = _attributes(product.node)
    (height, width), groups = product.weight.shape[2:], product.groups
    top, left, bottom, right = given.get("pads", [0] * 4)
    down, along = given.get("dilations", [1, 1])
    padded = np.pad(x, ((0, 0), (0, 0), (top, bottom), (left, right)))
    seen = ((height - 1) * down + 1, (width - 1) * along + 1)
    windows = np.lib.stride_tricks.sliding_window_view(padded, seen, axis=(2, 3))
    rows, columns = given.get("strides", [1, 1])
    windows = windows[:, :, ::rows, ::columns, ::down, ::along]
    places = windows.shape[2] * windows.shape[3]
    chosen = np.sort(random.permutation(places)[:POSITIONS])
    seen_there = windows[:, :, chosen // windows.shape[3], chosen % windows.shape[3]]
    images, channels = x.shape[:2]
    divided = seen_there.reshape(images, groups, channels // groups, len(chosen), height, width)
    inputs = channels // groups * height * width
    return np.ascontiguousarray(divided.transpose(1, 2, 4, 5, 0, 3)).reshape(groups, inputs, -1)


def _attributes(node: onnx.NodeProto) -> dict[str, Any]:
    return {one.name: onnx.helper.get_attribute_value(one) for one in node.attribute}
