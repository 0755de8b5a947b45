"""int8 for OpenVINO from the graph that ONNX Runtime gets: the same integers and ranges in both."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import onnx

from fleetnet.errors import BundleError, one_line
from fleetnet.export.openvino_ir import to_ir
from fleetnet.export.quantize.layers import Layer
from fleetnet.export.quantize.quantizer import Quantized, Quantizer
from fleetnet.inference.engines import Setup
from fleetnet.inference.engines.openvino import OpenVinoEngine, read_onnx
from fleetnet.inference.engines.runtime import Runtime

if TYPE_CHECKING:
    import openvino as ov
    from openvino import opset13
else:
    opset13 = Runtime("openvino.opset13")


class SharedQuantizer:
    """Gives OpenVINO what another quantiser made, which OpenVINO computes in int8 as well.

    Args:
        other: makes QDQ graphs, an ONNX file each.
    """

    engine = "openvino"

    def __init__(self, other: Quantizer) -> None:
        self._other = other
        self.tool = other.tool

    def quantize(self, kept: Sequence[Layer]) -> Quantized:
        """Return the network with all layers but ``kept`` in int8.

        Raises:
            BundleError: OpenVINO cannot read the graph.
        """
        ((name, content),) = self._other.quantize(kept).contents.items()
        try:
            model = read_onnx(with_whole_silu(content))
            join_silu(model)
        except Exception as error:
            # The reader's exceptions share no public base class.
            raise BundleError(f"OpenVINO cannot read {name}: {one_line(error)}") from None
        graph, weights = to_ir(model)
        return of_ir(graph, weights)


def with_whole_silu(content: bytes) -> bytes:
    """Return a QDQ graph without rounding inside of ``x * sigmoid(x)``.

    ONNX Runtime computes both in int8, with ``x`` and its sigmoid rounded. OpenVINO computes the
    whole behind the convolution that ``x`` comes from, in less time, if nothing is rounded between.
    """
    model = onnx.load_from_string(content)
    nodes = model.graph.node
    makers = {output: node for node in nodes for output in node.output}
    users = Counter(name for node in nodes for name in node.input)
    for product in nodes:
        if product.op_type != "Mul" or len(product.input) != 2:
            continue
        for x, gate in (tuple(product.input), tuple(reversed(product.input))):
            sigmoid = makers.get(_before_rounding(gate, makers))
            if sigmoid is None or sigmoid.op_type != "Sigmoid" or sigmoid.input[0] != x:
                continue
            # What others use as well stays rounded for all of them.
            whole = _before_rounding(x, makers) if users[x] == 2 else x
            sigmoid.input[0] = whole
            product.input[:] = [whole, sigmoid.output[0]]
            break
    return bytes(model.SerializeToString())


def _before_rounding(name: str, makers: Mapping[str, onnx.NodeProto]) -> str:
    """Return what a value was before ``QuantizeLinear`` and ``DequantizeLinear``, or itself."""
    last = makers.get(name)
    first = makers.get(last.input[0]) if last and last.op_type == "DequantizeLinear" else None
    return first.input[0] if first and first.op_type == "QuantizeLinear" else name


def join_silu(model: ov.Model) -> None:
    """Make one operation of ``x * sigmoid(x)``, in place.

    Otherwise NNCF would quantise ``x`` and the sigmoid separately. Then OpenVINO could not fuse
    them into the convolution before: ReXNet would take a third more time, with one more rounding.
    """
    for product in model.get_ordered_ops():
        if product.get_type_name() != "Multiply":
            continue
        first, second = (entry.get_source_output() for entry in product.inputs())
        for x, gate in ((first, second), (second, first)):
            sigmoid = gate.get_node()
            if sigmoid.get_type_name() == "Sigmoid" and sigmoid.input(0).get_source_output() == x:
                silu = opset13.swish(x)
                silu.set_friendly_name(product.get_friendly_name())
                product.output(0).replace(silu.output(0))
                break


def of_ir(graph: bytes, weights: bytes) -> Quantized:
    """Return a network in int8 in the two files of OpenVINO's own format."""
    return Quantized(
        "openvino-ir",
        {"model.int8.xml": graph, "model.int8.bin": weights},
        lambda threads: OpenVinoEngine.of_ir(graph, weights, Setup("int8", threads)),
    )
