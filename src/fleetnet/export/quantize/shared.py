"""int8 for OpenVINO from the graph that ONNX Runtime gets: the same integers and ranges in both."""

from __future__ import annotations

from collections.abc import Sequence

from fleetnet.errors import BundleError, one_line
from fleetnet.export.openvino_ir import to_ir
from fleetnet.export.quantize.layers import Layer
from fleetnet.export.quantize.quantizer import Quantized, Quantizer
from fleetnet.inference.engines import Setup
from fleetnet.inference.engines.openvino import OpenVinoEngine, read_onnx


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
            model = read_onnx(content)
        except Exception as error:
            # The reader's exceptions share no public base class.
            raise BundleError(f"OpenVINO cannot read {name}: {one_line(error)}") from None
        graph, weights = to_ir(model)
        return of_ir(graph, weights)


def of_ir(graph: bytes, weights: bytes) -> Quantized:
    """Return a network in int8 in the two files of OpenVINO's own format."""
    return Quantized(
        "openvino-ir",
        {"model.int8.xml": graph, "model.int8.bin": weights},
        lambda threads: OpenVinoEngine.of_ir(graph, weights, Setup("int8", threads)),
    )
