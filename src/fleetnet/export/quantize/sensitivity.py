"""Which layers are sensitive to int8?"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from fleetnet.bundle import Activation
from fleetnet.export.quantize.layers import Layer
from fleetnet.export.quantize.quantizer import Quantizer
from fleetnet.inference.comparison import run_in_batches
from fleetnet.inference.engines import Logits, Pixels
from fleetnet.reporting import Advance

IMAGES = 32
"""How many images show how much a layer changes the logits: it is a mean, so a few suffice."""


def rank(
    layers: Sequence[Layer],
    quantizer: Quantizer,
    pixels: Pixels,
    expected: Logits,
    activation: Activation,
    advance: Advance = lambda _: None,
) -> list[Layer]:
    """Order layers by how much quantising only that one changes the logits, the worst first.

    Done in one engine for all, ONNX Runtime. There the ranges are measured once, and a network with
    one quantised layer is made quickly. Which activations have too wide a range for 8 bits depends
    on the network, not on the engine.

    Args:
        layers: of the quantiser's graph.
        quantizer: makes a graph with one layer in int8.
        pixels: real images, ``uint8[N, crop, crop, 3]``.
        expected: logits of the network in fp32, ``float32[N, K]``.
        activation: how logits become probabilities.
        advance: called with a count as layers are done.
    """
    disturbance: dict[str, float] = {}
    for layer in layers:
        others = [other for other in layers if other.name != layer.name]
        with quantizer.quantize(others).open(1) as engine:
            found = run_in_batches(engine, pixels)
        disturbance[layer.name] = _disturbance(found, expected, activation)
        advance(1)
    return sorted(layers, key=lambda layer: -disturbance[layer.name])


def _disturbance(found: Logits, expected: Logits, activation: Activation) -> float:
    """Return the mean square of the difference of the logits.

    For ``softmax`` without the mean over the classes, which changes no probability. Logits that are
    not numbers count as the largest difference.
    """
    difference = found.astype(np.float64) - expected
    if activation == "softmax":
        difference -= difference.mean(1, keepdims=True)
    return float(np.nan_to_num(np.square(difference).mean(), nan=np.inf))
