"""ncnn's two files: the layers in ``.param``, a line each, and their numbers in ``.bin``.

The format is that of ncnn's ``src/modelbin.cpp`` and of its layers' ``load_model``.
"""

from __future__ import annotations

import math
import struct
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from fleetnet.errors import FleetnetError

PARAMETERS, NUMBERS = "model.ncnn.param", "model.ncnn.bin"
IN_INT8 = 0x000D4B38
"""What precedes weights in int8."""
_MAGIC = "7767517"
_IN_FP32, _IN_FP16 = 0, 0x01306B47
_BYTES = {_IN_FP32: 4, _IN_FP16: 2, IN_INT8: 1}
_WEIGHTS = {"Convolution": 6, "ConvolutionDepthWise": 6, "InnerProduct": 2}
"""Layers that multiply by weights, and which of their settings says how many those are."""
_BIAS = {"Convolution": 5, "ConvolutionDepthWise": 5, "InnerProduct": 1}
_ROUNDED = 8
"""The setting of a layer in int8: 1, or 101 where it gives int8 too."""
_GIVES_INT8 = 100


@dataclass(frozen=True)
class NcnnLayer:
    """A layer, as its line has it.

    Attributes:
        kind: its type.
        name: its own.
        inputs: names of the values that it takes.
        outputs: names of the values that it gives.
        settings: by their numbers, as text; those of arrays have a number below -23300.
        numbers: its part of ``.bin``.
    """

    kind: str
    name: str
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    settings: Mapping[int, str]
    numbers: bytes

    def setting(self, number: int, otherwise: int = 0) -> int:
        """Return a setting that is a whole number."""
        return int(self.settings.get(number, otherwise))

    @property
    def weighted(self) -> bool:
        """Whether it multiplies by weights."""
        return self.kind in _WEIGHTS

    @property
    def weights(self) -> npt.NDArray[np.float32]:
        """The weights, in a row.

        Raises:
            FleetnetError: they are not in fp32.
        """
        (form,) = struct.unpack_from("<I", self.numbers)
        if form != _IN_FP32:
            raise FleetnetError(f"the weights of ncnn's layer '{self.name}' are not in fp32")
        return np.frombuffer(self.numbers, "<f4", self.setting(_WEIGHTS[self.kind]), 4)

    @property
    def bias(self) -> bytes:
        """What is added to each channel, in fp32; empty if nothing is."""
        start = 4 + self.weights.nbytes
        return self.numbers[start : start + 4 * self.setting(0) * self.setting(_BIAS[self.kind])]

    @property
    def gives_scale(self) -> float:
        """What its values are multiplied by: other than 1 where it gives them in int8."""
        if self.weighted and self.setting(_ROUNDED) > _GIVES_INT8:
            return float(struct.unpack("<f", self.numbers[-4:])[0])
        return 1.0


def read_layers(files: Mapping[str, bytes]) -> list[NcnnLayer]:
    """Return the layers, in the order they run.

    Raises:
        FleetnetError: the files are not such, or a layer is not known here.
    """
    magic, _, *lines = files[PARAMETERS].decode().splitlines()
    numbers, start = files[NUMBERS], 0
    if magic.strip() != _MAGIC:
        raise FleetnetError(f"{PARAMETERS} is no network of ncnn's")
    layers = []
    for line in lines:
        kind, name, taken, given, *rest = line.split()
        ends = int(taken), int(taken) + int(given)
        settings = dict(word.split("=", 1) for word in rest[ends[1] :])
        one = NcnnLayer(
            kind,
            name,
            tuple(rest[: ends[0]]),
            tuple(rest[ends[0] : ends[1]]),
            {int(number): value for number, value in settings.items()},
            b"",
        )
        end = start + _size(one, numbers, start)
        layers.append(NcnnLayer(**{**vars(one), "numbers": numbers[start:end]}))
        start = end
    if start != len(numbers):
        # A layer of another kind has numbers too.
        raise FleetnetError(
            f"{NUMBERS} has {len(numbers)} bytes, and the layers that are known here take {start}"
        )
    return layers


def write_layers(layers: Sequence[NcnnLayer]) -> dict[str, bytes]:
    """Return the files of layers."""
    values = {name for layer in layers for name in layer.outputs}
    lines = [_MAGIC, f"{len(layers)} {len(values)}"]
    for layer in layers:
        ends = f"{len(layer.inputs)} {len(layer.outputs)}"
        settings = (f"{number}={value}" for number, value in layer.settings.items())
        names = (*layer.inputs, *layer.outputs, *settings)
        lines.append(" ".join((f"{layer.kind:24} {layer.name:24} {ends}", *names)))
    text = "".join(f"{line}\n" for line in lines)
    return {PARAMETERS: text.encode(), NUMBERS: b"".join(layer.numbers for layer in layers)}


def _size(layer: NcnnLayer, numbers: bytes, start: int) -> int:
    """Return how many bytes a layer has, of those that begin at ``start``."""
    if layer.weighted:
        return _size_of_weighted(layer, numbers, start)
    if layer.kind == "MemoryData":
        if layer.setting(21, 1) != 1:
            raise FleetnetError(f"the numbers of ncnn's layer '{layer.name}' are not in fp32")
        sides = [layer.setting(number) for number in (0, 1, 11, 2)]
        return 4 * math.prod(side for side in sides if side) if any(sides) else 0
    if layer.kind not in ("BatchNorm", "PReLU", "Scale"):
        return 0  # of other layers, settings need not be whole numbers
    each = {"BatchNorm": 4, "PReLU": 1, "Scale": 1 + layer.setting(1)}[layer.kind]
    return 4 * max(layer.setting(0), 0) * each


def _size_of_weighted(layer: NcnnLayer, numbers: bytes, start: int) -> int:
    if start + 4 > len(numbers):
        raise FleetnetError(f"{NUMBERS} was cut off before ncnn's layer '{layer.name}'")
    (form,) = struct.unpack_from("<I", numbers, start)
    if form not in _BYTES:
        raise FleetnetError(f"ncnn's layer '{layer.name}' has weights of an unknown form")
    outputs, rounded = layer.setting(0), layer.setting(_ROUNDED)
    weights = -(-layer.setting(_WEIGHTS[layer.kind]) * _BYTES[form] // 4) * 4
    scales = 0
    if rounded:
        rows = layer.setting(7, 1) if layer.kind == "ConvolutionDepthWise" else outputs
        scales = rows + 1 + (rounded > _GIVES_INT8)
    return 4 + weights + 4 * (outputs * layer.setting(_BIAS[layer.kind]) + scales)
