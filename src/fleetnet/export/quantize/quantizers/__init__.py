"""The quantisers there are, one file each, and those of other packages."""

from __future__ import annotations

from fleetnet.export.quantize.quantizer import QuantizerKind
from fleetnet.inference.engines import DEFAULT_ENGINE
from fleetnet.registration import Registry

QUANTIZERS = Registry(
    "quantiser",
    QuantizerKind,
    package=__name__,
    attribute="QUANTIZER",
    group="fleetnet.quantizers",
    order=lambda kind: (kind.name != DEFAULT_ENGINE, kind.name),
)
"""Every quantiser by the name of the engine that it is for; the default engine's is first."""
