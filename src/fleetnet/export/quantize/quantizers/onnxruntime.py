"""int8 for ONNX Runtime, by its own tools."""

from __future__ import annotations

from fleetnet.export.quantize.quantizer import (
    NARROWED,
    ROUNDED,
    Quantizer,
    QuantizerKind,
    Unquantized,
)


def make(network: Unquantized) -> Quantizer:
    """Measure the ranges, from which every network in int8 is made."""
    # Here, so that quantisers can be listed where onnx is not installed.
    from fleetnet.export.quantize.qdq import OnnxRuntimeQuantizer

    return OnnxRuntimeQuantizer(
        network.graph,
        network.layers,
        network.calibration,
        network.weight_bits,
        network.begin,
        network.rounding,
        least_error=network.recipe == NARROWED,
    )


QUANTIZER = QuantizerKind(name="onnxruntime", make=make, recipes=("", ROUNDED, NARROWED))
