"""int8 for OpenVINO, by NNCF."""

from __future__ import annotations

from fleetnet.export.quantize.quantizer import ROUNDED, Quantizer, QuantizerKind, Unquantized


def make(network: Unquantized) -> Quantizer:
    """Read the graph; every network in int8 is calibrated anew."""
    if network.recipe == _SHARED:
        from fleetnet.export.quantize.shared import SharedQuantizer

        assert network.shared is not None  # noqa: S101 - for the type checker
        return SharedQuantizer(network.shared())
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


_SHARED = "the graph of ONNX Runtime"
_CORRECTED = "bias correction"
QUANTIZER = QuantizerKind(
    name="openvino",
    make=make,
    recipes=("", ROUNDED, _SHARED, _CORRECTED),
    largest={7: 63.5, 8: 127},
)
