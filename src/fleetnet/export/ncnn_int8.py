"""An ncnn network in int8, in ncnn's own format; its tools for that come in no package.

As those do it: weights have a scale for each output channel (or group), what a layer takes has one
scale, and a layer whose values one other layer in int8 takes gives them in int8.
"""

from __future__ import annotations

import struct
from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace

import numpy as np
import numpy.typing as npt

from fleetnet.errors import FleetnetError
from fleetnet.export.ncnn_files import IN_INT8, NcnnLayer, read_layers, write_layers

_LARGEST = 127
_LARGEST_OF_WINOGRAD = 31
"""Of weights that ncnn transforms for its fast 3x3 convolution (Winograd's F(4, 3)): beyond it, the
sums of the transform do not fit into 16 bits."""
_CONVOLUTIONS = ("Convolution", "ConvolutionDepthWise")


def in_int8(
    files: Mapping[str, bytes],
    largest: Sequence[float],
    kept: Collection[int],
    integers: Mapping[int, int] | None = None,
) -> dict[str, bytes]:
    """Return the files of the same network with its layers with weights in int8.

    Args:
        files: of a network in fp32.
        largest: magnitude of the values that each layer with weights takes, in the order they run,
            that 127 stands for.
        kept: places of those layers that stay in fp32.
        integers: by the places of layers, what the largest weight of an output is there, where that
            is not 127; of no use to those that ncnn computes by Winograd's algorithm.

    Raises:
        FleetnetError: the files are not understood, or have another number of layers.
    """
    layers = read_layers(files)
    weighted = [layer for layer in layers if layer.weighted]
    if len(weighted) != len(largest):
        raise FleetnetError(f"ncnn has {len(weighted)} layers with weights, not {len(largest)}")
    takes = {
        layer.name: _LARGEST / most if most > 0 else 1.0
        for place, (layer, most) in enumerate(zip(weighted, largest, strict=True))
        if place not in kept
    }
    gives = _handed_on(layers, takes)
    most = {
        layer.name: (integers or {}).get(place, _LARGEST) for place, layer in enumerate(weighted)
    }
    return write_layers(
        [
            _rounded(layer, most[layer.name], takes[layer.name], gives.get(layer.name))
            if layer.name in takes
            else layer
            for layer in layers
        ]
    )


def _handed_on(layers: Sequence[NcnnLayer], takes: Mapping[str, float]) -> dict[str, float]:
    """Return the scales of layers that give int8: those of the only layer that takes it."""
    users = Counter(name for layer in layers for name in layer.inputs)
    makers = {name: layer for layer in layers for name in layer.outputs}
    found = {}
    for layer in layers:
        if layer.name not in takes or layer.kind not in _CONVOLUTIONS:
            continue
        (value,) = layer.inputs
        maker = makers[value]
        if users[value] == 1 and maker.name in takes and maker.kind in _CONVOLUTIONS:
            found[maker.name] = takes[layer.name]
    return found


def _rounded(layer: NcnnLayer, most: int, takes: float, gives: float | None) -> NcnnLayer:
    rows = layer.setting(7, 1) if layer.kind == "ConvolutionDepthWise" else layer.setting(0)
    weights = layer.weights.reshape(rows, -1)
    magnitude = np.abs(weights).max(axis=1, initial=0)
    most = min(most, _LARGEST_OF_WINOGRAD) if _is_winograd(layer) else most
    scales = np.divide(most, magnitude, out=np.zeros_like(magnitude), where=magnitude > 0)
    numbers = _whole(weights * scales[:, None]).tobytes()
    behind = [*scales.tolist(), takes, *([] if gives is None else [gives])]
    return replace(
        layer,
        settings={**layer.settings, 8: "1" if gives is None else "101"},
        numbers=struct.pack("<I", IN_INT8)
        + numbers
        + bytes(-len(numbers) % 4)
        + layer.bias
        + np.asarray(behind, "<f4").tobytes(),
    )


def _is_winograd(layer: NcnnLayer) -> bool:
    width, step, apart = (layer.setting(number, 1) for number in (1, 3, 2))
    return (
        layer.kind == "Convolution"
        and (width, layer.setting(11, width)) == (3, 3)
        and (step, layer.setting(13, step)) == (1, 1)
        and (apart, layer.setting(12, apart)) == (1, 1)
    )


def _whole(values: npt.NDArray[np.float32]) -> npt.NDArray[np.int8]:
    """Round half away from zero, as ncnn does."""
    return np.trunc(values + np.copysign(np.float32(0.5), values)).astype(np.int8)
