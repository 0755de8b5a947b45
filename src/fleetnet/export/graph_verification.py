"""An exported graph against the network in PyTorch, with each engine that a bundle is made for."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from torch import nn

from fleetnet.amounts import count
from fleetnet.errors import VerificationError
from fleetnet.export.divergence import first_divergence
from fleetnet.export.fixed_batch import InWholeBatches
from fleetnet.inference.comparison import (
    BATCH,
    Comparison,
    ToProbabilities,
    compare,
    run_in_batches,
)
from fleetnet.inference.engines import Pixels, graph_engines, open_graph
from fleetnet.inference.engines.torch import TorchEngine
from fleetnet.preprocess import Preprocess


@dataclass(frozen=True)
class Standard:
    """What the answers of a graph have to be.

    Attributes:
        network: in PyTorch.
        preprocess: how its images are prepared.
        pixels: the images to compare on, ``uint8[N, crop, crop, 3]``.
        tolerance: largest difference of a probability to allow.
        probabilities: how logits become probabilities.
    """

    network: nn.Module
    preprocess: Preprocess
    pixels: Pixels
    tolerance: float
    probabilities: ToProbabilities


def verify_graph(graph: bytes, standard: Standard, batch: int | None = None) -> list[Comparison]:
    """Compare an ONNX graph, in every engine that runs one, with the network in PyTorch.

    Args:
        graph: the content of an ``.onnx`` file.
        standard: what it is compared with.
        batch: the only batch size that the graph takes; None if it takes any.

    Raises:
        VerificationError: a difference is too large; the message names the engine, the figures and
            the first layer that diverges.
    """
    network, preprocess, pixels = standard.network, standard.preprocess, standard.pixels
    with TorchEngine(network, preprocess) as reference:
        expected = run_in_batches(reference, pixels)
    comparisons: list[Comparison] = []
    for name in graph_engines():
        with open_graph(name, graph) as engine:
            whole = InWholeBatches(engine, batch) if batch else engine
            comparison = compare(whole, pixels, expected, standard.probabilities)
        if not comparison.passes(standard.tolerance):
            some = np.resize(pixels, (batch, *pixels.shape[1:])) if batch else pixels[:BATCH]
            layer = first_divergence(graph, name, network, preprocess, some)
            raise VerificationError(
                _divergence(comparison, standard.tolerance, layer),
                tolerance=standard.tolerance,
                layer=layer.layer if layer else None,
                **comparison.facts,
            )
        comparisons.append(comparison)
    return comparisons


def _divergence(comparison: Comparison, tolerance: float, layer: tuple[str, float] | None) -> str:
    """Return the line that says how much an engine differs, and from which layer on."""
    where = (
        f"the first layer that diverges is '{layer[0]}' (by {layer[1]:.2g} of its largest value)"
        if layer
        else "no single layer diverges: the difference builds up gradually"
    )
    return (
        f"{comparison.engine} {comparison.engine_version} does not answer as PyTorch does: "
        f"probabilities differ by up to {comparison.max_abs_diff:.2g} (allowed: {tolerance:g}), "
        f"top-1 agrees on {comparison.top1_agreement:.1%} of "
        f"{count(comparison.images, 'image')}; {where}"
    )
