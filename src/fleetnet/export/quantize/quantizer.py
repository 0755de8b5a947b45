"""What every quantiser offers."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Protocol

from fleetnet.amounts import count
from fleetnet.inference.engines import Engine, Pixels
from fleetnet.reporting import Begin

if TYPE_CHECKING:  # quantisers are listed where onnx is not installed
    import onnx

    from fleetnet.export.quantize.layers import Layer
    from fleetnet.export.quantize.rounding import Rounding


LARGEST: Mapping[int, float] = {7: 64, 8: 127}
"""Of the integers that weights are rounded to, by their bits, on either side of 0."""
ROUNDED = "rounded sums"
"""A recipe for every quantiser: weights rounded for what their layer's sums come to."""
NARROWED = "rounded sums, ranges of least error"
"""The same, and ranges of activations that may cut off the few largest values."""


@dataclass(frozen=True)
class Unquantized:
    """A network in fp32, and what to quantise it with.

    Attributes:
        content: of its ONNX file.
        where: names the file in errors.
        graph: the same, with its shapes inferred.
        layers: of the graph.
        calibration: real images, ``uint8[N, crop, crop, 3]``.
        weight_bits: 8, or 7, which is exact also on processors without VNNI.
        begin: called with each step that takes long.
        recipe: one of the quantiser's, see :class:`QuantizerKind`.
        rounding: of the weights, where the recipe has them rounded for their sums.
        shared: gives ONNX Runtime's quantiser of the same network, by one of its recipes.
    """

    content: bytes
    where: str
    graph: onnx.ModelProto
    layers: Sequence[Layer]
    calibration: Pixels
    weight_bits: int
    begin: Begin
    recipe: str = ""
    rounding: Rounding | None = None
    shared: Callable[[str], Quantizer] | None = None


@dataclass(frozen=True)
class Quantized:
    """A network in int8, to be an artifact of the bundle.

    Attributes:
        format: of its files.
        contents: of its files, by their names.
        open: gives an engine that runs those very files, on so many threads.
    """

    format: str
    contents: Mapping[str, bytes]
    open: Callable[[int], Engine]


class Quantizer(Protocol):
    """One runtime's way from a graph in fp32 to one in int8.

    Attributes:
        engine: name of the engine that it is for.
        tool: name and version of what does it.
    """

    engine: str
    tool: str

    def quantize(self, kept: Sequence[Layer]) -> Quantized:
        """Return the network with all layers but ``kept`` in int8."""
        ...


@dataclass(frozen=True)
class QuantizerKind:
    """A quantiser that can be made; its file declares it as ``QUANTIZER``.

    Attributes:
        name: of the engine that it is for.
        make: makes one for a network; raises :class:`fleetnet.errors.BundleError` if its graph
            cannot be read.
        recipes: ways to calibrate, by names of its own, the usual one first; the others are tried
            where a network that is whole in int8 does not pass.
        trained: a recipe to try first for weights that were fine-tuned; empty for none.
        largest: what the largest weight of an output is in the quantiser's steps, by its bits.
    """

    name: str
    make: Callable[[Unquantized], Quantizer]
    recipes: tuple[str, ...] = ("",)
    trained: str = ""
    largest: Mapping[int, float] = field(default_factory=lambda: LARGEST)


def step(engine: str, what: str, kept: Sequence[Layer]) -> str:
    """Return the title of a step of the search, for people."""
    return f"{engine}: {what}, {count(len(kept), 'layer')} in fp32" if kept else f"{engine}: {what}"
