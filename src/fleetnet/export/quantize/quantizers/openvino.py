"""int8 for OpenVINO, by NNCF."""

from __future__ import annotations

from fleetnet.export.quantize.quantizer import (
    NARROWED,
    ROUNDED,
    Quantizer,
    QuantizerKind,
    Unquantized,
)


def make(network: Unquantized) -> Quantizer:
    """Read the graph; every network in int8 is calibrated anew."""
    if network.recipe in _SHARED:
        from fleetnet.export.quantize.shared import SharedQuantizer

        assert network.shared is not None  # noqa: S101 - for the type checker
        return SharedQuantizer(network.shared(_SHARED[network.recipe]))
    # NNCF takes seconds to import.
    from fleetnet.export.quantize.nncf import OpenVinoQuantizer

    return OpenVinoQuantizer(
        network.content,
        network.where,
        network.calibration,
        network.weight_bits,
        network.begin,
        correct_bias=network.recipe == _CORRECTED,
        rounding=network.rounding,
    )


_NARROWED, _TRAINED = "the graph of ONNX Runtime", "the graph that was trained"
_SHARED = {_NARROWED: NARROWED, _TRAINED: ""}
"""Recipes that take ONNX Runtime's graph, and by which recipe that is made: training rounds weights
one by one, and has the extremes for ranges."""
_CORRECTED = "bias correction"
QUANTIZER = QuantizerKind(
    name="openvino",
    make=make,
    recipes=("", ROUNDED, _NARROWED, _CORRECTED),
    trained=_TRAINED,
    largest={7: 63.5, 8: 127},
)
