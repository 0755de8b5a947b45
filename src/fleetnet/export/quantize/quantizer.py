"""What every quantiser offers."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from fleetnet.amounts import count
from fleetnet.export.quantize.layers import Layer
from fleetnet.inference.engines import Engine


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


def step(engine: str, what: str, kept: Sequence[Layer]) -> str:
    """Return the title of a step of the search, for people."""
    return f"{engine}: {what}, {count(len(kept), 'layer')} in fp32" if kept else f"{engine}: {what}"
