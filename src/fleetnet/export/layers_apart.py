"""The first layer of converted files whose values are not those of the network.

Targets give what their layers compute in their own runtime, one row for each image; here that is
compared with the bundle's graph, which was verified against the trained network when it was made.
"""

from __future__ import annotations

from dataclasses import replace
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import onnx

from fleetnet.bundle import Bundle
from fleetnet.errors import FleetnetError
from fleetnet.export.converted_engine import ConvertedEngine
from fleetnet.export.quantize.apart import Apart
from fleetnet.export.quantize.layers import layers_of, read_graph
from fleetnet.export.targets import Files, Target
from fleetnet.inference.engines import Pixels, open_graph

IMAGES = 4
"""How many images show it."""
MUCH = {"fp32": 1e-3, "fp16": 0.2, "int8": 0.7}
"""By how much a layer is off at least if something is wrong with it, as
:attr:`fleetnet.export.quantize.apart.Apart.share`.

Rounding leaves less: about 1e-6, 1e-3, and, of eight bits and all layers before, 0.09 in the middle
of EfficientNet-Lite0's layers, and 0.18 at most in LiteRT and ncnn, 0.48 in MNN. A layer that gives
nothing has 1."""
_ENGINE = "onnxruntime"


class _Expected(NamedTuple):
    """What a layer gives: with and without what follows it up to the next layer.

    Runtimes compute an activation together with the layer, or after it.
    """

    layer: str
    rows: list[npt.NDArray[np.float32]]


def first_apart(
    target: Target, bundle: Bundle, files: Files, precision: str, batch: int | None, pixels: Pixels
) -> Apart | None:
    """Compare the values of all layers, in the target's own runtime, with the network's.

    Args:
        target: that the files were converted to.
        bundle: whose network.
        files: the converted network.
        precision: of the files.
        batch: the only batch size that they take; None if they take any.
        pixels: on which their answers differ, ``uint8[N, crop, crop, 3]``.

    Returns:
        The first layer that is off, or None where the runtime does not tell.
    """
    layers = target.layers
    if layers is None or (target.anew and precision != "fp32"):
        return None
    pixels = pixels[:IMAGES]
    giving = replace(target, load=lambda given: layers(bundle, given, batch))
    try:
        with ConvertedEngine(giving, files, precision, batch) as engine:
            found = engine.run(pixels)
    except FleetnetError:
        # That the answers differ is worth more than that this could not be found.
        return None
    return _first(_expected(bundle, pixels), found, MUCH[precision])


def _first(expected: list[_Expected], found: npt.NDArray[np.float32], much: float) -> Apart | None:
    if sum(layer.rows[0].shape[1] for layer in expected) != found.shape[1]:
        return None  # the converter has made other layers of the network's
    start, worst = 0, Apart("", -1.0, much=False)
    for layer, rows in expected:
        end = start + rows[0].shape[1]
        share = min(_share(found[:, start:end], row) for row in rows)
        if not share <= much:
            return Apart(layer, share, much=True)
        worst = max(worst, Apart(layer, share, much=False), key=lambda one: one.share)
        start = end
    return worst


def _share(found: npt.NDArray[np.float32], expected: npt.NDArray[np.float32]) -> float:
    """Return by how much values are off; infinity where they are no numbers."""
    scale = max(float(np.sqrt(np.square(expected, dtype=np.float64).mean())), 1e-6)
    off = float(np.sqrt(np.square(found - expected, dtype=np.float64).mean())) / scale
    return off if np.isfinite(off) else np.inf


def _expected(bundle: Bundle, pixels: Pixels) -> list[_Expected]:
    path, content = bundle.content(format="onnx")
    graph = read_graph(content, str(path))
    layers = layers_of(graph, str(path))
    nodes = {node.name: node.output[0] for node in graph.graph.node}
    present = {output.name for output in graph.graph.output}
    for layer in layers:
        for node in layer.nodes:
            if nodes[node] not in present:
                value = onnx.helper.make_tensor_value_info(
                    nodes[node], onnx.TensorProto.FLOAT, None
                )
                graph.graph.output.append(value)
    with open_graph(_ENGINE, graph.SerializeToString()) as engine:
        found = engine.outputs(pixels)
    return [
        _Expected(layer.name, _alike([found[nodes[node]] for node in layer.nodes]))
        for layer in layers
    ]


def _alike(values: list[npt.NDArray[np.float32]]) -> list[npt.NDArray[np.float32]]:
    """Return the values of the shape of the first as rows."""
    return [value.reshape(len(value), -1) for value in values if value.shape == values[0].shape]
