"""Static QDQ quantisation by ONNX Runtime.

The graph stays in floating point, with pairs of ``QuantizeLinear`` and ``DequantizeLinear`` around
what is to be computed in int8. ONNX Runtime fuses these pairs when it loads the graph.
"""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import numpy as np
import onnx

from fleetnet.errors import BundleError, one_line, reason_of
from fleetnet.export.quantize.layers import Layer
from fleetnet.export.quantize.quantizer import Quantized
from fleetnet.export.quantize.quiet import quiet
from fleetnet.export.quantize.ranges import IMAGES, narrowed
from fleetnet.export.quantize.ranges import TOLD as TOLD_OF_RANGES
from fleetnet.export.quantize.rounding import TOLD, Rounding
from fleetnet.inference.comparison import BATCH
from fleetnet.inference.engines import Pixels, Setup
from fleetnet.inference.engines.onnxruntime import OnnxRuntimeEngine
from fleetnet.reporting import Advance, Begin
from fleetnet.telemetry import without_telemetry

_PATH = [*sys.path]
with without_telemetry():
    import onnxruntime as ort
    from onnxruntime.quantization import CalibrationDataReader, CalibrationMethod, QuantType
    from onnxruntime.quantization.calibrate import TensorsData, create_calibrator
    from onnxruntime.quantization.qdq_quantizer import QDQQuantizer
# It appends a folder of scripts to the path, which a later ``import benchmark`` would find.
sys.path[:] = _PATH

OPERATORS = ["Conv", "Gemm", "MatMul", "Clip", "Relu", "Add", "Mul", "Sigmoid", "Concat"]
"""What is quantised. Means are not: rounding errors would add up in them."""


class OnnxRuntimeQuantizer:
    """Quantises a graph with ranges that are measured once.

    Weights are symmetric in 8 bits with a scale for each channel. Activations are asymmetric in
    unsigned 8 bits, which x86 multiplies by signed weights in one instruction.

    Args:
        graph: with its shapes inferred.
        layers: of the graph.
        calibration: real images, ``uint8[N, crop, crop, 3]``.
        weight_bits: 8, or 7, which is exact also on processors without VNNI.
        begin: called with the calibration.
        rounding: of the weights, where they are not to be rounded one by one.
        least_error: whether ranges may cut off the few largest values, where that rounds all others
            so much finer that the error is less.

    Raises:
        BundleError: ONNX Runtime cannot run the graph.
    """

    engine = "onnxruntime"
    tool = f"onnxruntime {ort.__version__}"

    def __init__(
        self,
        graph: onnx.ModelProto,
        layers: Sequence[Layer],
        calibration: Pixels,
        weight_bits: int,
        begin: Begin,
        rounding: Rounding | None = None,
        *,
        least_error: bool = False,
    ) -> None:
        self._reduce_range = weight_bits == 7
        self._graph = graph
        self._rounding = rounding
        if rounding is not None:
            self.tool = f"{self.tool} {TOLD}"
            graph = rounding.applied(graph)
        inside = {node for layer in layers for node in layer.nodes}
        self._before = [node.name for node in graph.graph.node if node.name not in inside]
        self._ranges = _measure(
            graph, calibration, begin("onnxruntime: calibrating", len(calibration))
        )
        if least_error:
            self.tool = f"{self.tool} and {TOLD_OF_RANGES}"
            self._ranges = _narrowed(graph, self._ranges, calibration, begin)

    def quantize(self, kept: Sequence[Layer]) -> Quantized:
        """Return the network with all layers but ``kept`` in int8.

        Raises:
            BundleError: as :meth:`graph_without`.
        """
        content = self.graph_without([node for layer in kept for node in layer.nodes])
        return Quantized(
            "onnx",
            {"model.int8.onnx": content},
            lambda threads: OnnxRuntimeEngine(content, Setup("int8", threads)),
        )

    def graph_without(self, nodes: Sequence[str]) -> bytes:
        """Return the ONNX graph in int8 except for these nodes.

        Raises:
            BundleError: ONNX Runtime cannot quantise it.
        """
        if self._rounding is None:
            graph = onnx.ModelProto()
            graph.CopyFrom(self._graph)
        else:
            graph = self._rounding.applied(self._graph, nodes)
        try:
            with quiet():
                quantizer = QDQQuantizer(
                    graph,
                    per_channel=True,
                    reduce_range=self._reduce_range,
                    weight_qType=QuantType.QInt8,
                    activation_qType=QuantType.QUInt8,
                    tensors_range=self._ranges,
                    nodes_to_quantize=[],
                    nodes_to_exclude=[*self._before, *nodes],
                    op_types_to_quantize=OPERATORS,
                    extra_options={"WeightSymmetric": True},
                )
                quantizer.quantize_model()
        except Exception as error:
            # Its exceptions share no public base class.
            reason = reason_of(error)
            raise BundleError(f"ONNX Runtime cannot quantise the graph: {reason}") from None
        content: bytes = quantizer.model.model.SerializeToString()
        return content


class _Batches(CalibrationDataReader):  # type: ignore[misc]
    """Calibration images, one batch after another."""

    def __init__(self, name: str, pixels: Pixels, advance: Advance) -> None:
        self._batches = self._read(name, pixels, advance)

    @staticmethod
    def _read(name: str, pixels: Pixels, advance: Advance) -> Iterator[dict[str, Pixels]]:
        for start in range(0, len(pixels), BATCH):
            batch = pixels[start : start + BATCH]
            yield {name: np.ascontiguousarray(batch)}
            advance(len(batch))

    def get_next(self) -> Mapping[str, Pixels] | None:
        """Return the next batch, None after the last."""
        return next(self._batches, None)


def _measure(graph: onnx.ModelProto, calibration: Pixels, advance: Advance) -> TensorsData:
    """Return the smallest and largest value of each activation."""
    with tempfile.TemporaryDirectory(prefix="fleetnet-") as folder, quiet():
        path = Path(folder) / "model.onnx"
        path.write_bytes(graph.SerializeToString())
        try:
            calibrator = create_calibrator(
                path,
                OPERATORS,
                augmented_model_path=str(Path(folder) / "augmented.onnx"),
                calibrate_method=CalibrationMethod.MinMax,
            )
            calibrator.collect_data(_Batches(graph.graph.input[0].name, calibration, advance))
            return calibrator.compute_data()
        except Exception as error:
            # ONNX Runtime's exceptions share no public base class.
            reason = one_line(error)
            raise BundleError(f"ONNX Runtime cannot run the bundle's graph: {reason}") from None


def _narrowed(
    graph: onnx.ModelProto, ranges: TensorsData, calibration: Pixels, begin: Begin
) -> TensorsData:
    """Return the ranges with the least error."""
    extremes = {
        name: (float(np.min(one.range_value[0])), float(np.max(one.range_value[1])))
        for name, one in ranges.items()
    }
    advance = begin("onnxruntime: narrowing ranges", min(len(calibration), IMAGES))
    found = narrowed(graph, extremes, calibration, advance)
    return TensorsData(
        CalibrationMethod.MinMax,
        {name: (np.float32(low), np.float32(high)) for name, (low, high) in found.items()},
    )
