"""What a quantisation made, and of which images."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from fleetnet.bundle import Bundle
from fleetnet.export.quantize.samples import Samples
from fleetnet.export.quantize.session import Result


@dataclass(frozen=True)
class QuantizationReport:
    """A bundle with its network in int8, and what was measured of that.

    Attributes:
        bundle: that was written.
        samples: that it was made and compared with.
        results: of each engine.
    """

    bundle: Bundle
    samples: Samples
    results: Sequence[Result]

    def to_json(self) -> dict[str, Any]:
        """Return everything as JSON values."""
        return {
            "bundle": str(self.bundle.path),
            **self.samples.to_json(),
            "engines": [result.to_json() for result in self.results],
        }
