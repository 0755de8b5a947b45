"""Multiply-adds counted in a deployed graph, for where PyTorch is not installed."""

from __future__ import annotations

import math

from fleetnet.bundle import Bundle
from fleetnet.errors import BundleError, one_line
from fleetnet.inference.engines.openvino import read_onnx
from fleetnet.telemetry import without_telemetry

with without_telemetry():
    import openvino as ov


def count_macs(bundle: Bundle) -> int:
    """Return the multiply-adds of a bundle's fp32 graph for one image of its size.

    Convolutions and matrix products count, each multiply-add as one operation, as in
    :func:`fleetnet.models.network.measure_structure`.

    Raises:
        BundleError: the graph is absent, damaged, or none that OpenVINO reads.
    """
    path, content = bundle.content(format="onnx")
    try:
        model = read_onnx(content)
        _, *rest = model.input(0).partial_shape
        model.reshape(ov.PartialShape([1, *rest]))
        return sum(_macs_of(node) for node in model.get_ordered_ops())
    except Exception as error:
        # OpenVINO's exceptions share no public base class.
        reason = one_line(error)
        raise BundleError(f"OpenVINO cannot read {path}: {reason}") from None


def _macs_of(node: ov.Node) -> int:
    kind = node.get_type_name()
    if kind == "MatMul":
        axis = -2 if node.get_attributes()["transpose_a"] else -1
        return _size(node.output(0)) * int(list(node.input(0).get_shape())[axis])
    if kind in ("Convolution", "GroupConvolution"):
        # Filters are [out, in, height, width], with a dimension of groups before them if grouped:
        # the dimensions after the output channels are the inputs of one output.
        taken = list(node.input(1).get_shape())[1 if kind == "Convolution" else 2 :]
        return _size(node.output(0)) * math.prod(map(int, taken))
    return 0


def _size(output: ov.Output) -> int:
    return math.prod(map(int, output.get_shape()))
