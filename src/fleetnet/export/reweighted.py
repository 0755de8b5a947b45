"""A bundle whose network has other weights, as converters of devices take it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from fleetnet.bundle import Bundle

if TYPE_CHECKING:  # targets are listed where onnx is not installed
    from fleetnet.export.quantize.weights import Weights


class Reweighted(Bundle):
    """A view of a bundle: all is the bundle's own, but not what is converted.

    :mod:`fleetnet.export.program` gives its network with batch norm folded, the scale of the pixels
    too, channels padded, and these weights in the place of those that came of it.

    Args:
        bundle: whose network.
        weights: of its layers.
    """

    def __init__(self, bundle: Bundle, weights: Weights) -> None:
        vars(self).update(vars(bundle))
        self.weights = weights


def weights_in(bundle: Bundle) -> Weights | None:
    """Return the weights in the place of a bundle's own; None if it has its own."""
    return bundle.weights if isinstance(bundle, Reweighted) else None
