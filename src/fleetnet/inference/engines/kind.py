"""What an engine declares, before anything is loaded."""

from __future__ import annotations

import importlib.metadata
import importlib.util
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from fleetnet.bundle import Artifact, Bundle
from fleetnet.inference.engines.engine import CPU, Engine, GraphEngine, Precision, Setup


class Takes(NamedTuple):
    """The artifact that an engine loads: its format and precision."""

    format: str
    precision: Precision = "fp32"


@dataclass(frozen=True)
class EngineKind:
    """An engine that can be opened; its file declares it as ``ENGINE``.

    Attributes:
        name: by which users choose it.
        needs: the module that it computes with, which has to be installed.
        title: the name of that runtime for people.
        extra: Fleetnet's extra that installs it; empty if the base install or a separate package
            does.
        takes: the precisions that it computes in, fp32 first if it does, each with what it loads.
        open: loads a bundle's network, with a precision and a device that it offers.
        devices: returns the devices that the runtime finds here, in its own words, in lower case.
        native: returns the precisions that a device is built for; those not in ``takes`` do not
            matter. None if that is all of ``takes``.
        shares_batches: whether its threads compute a batch together, so that a batch should have
            several images in throughput mode.
        unasked: whether tuning tries it even if nobody names it.
        of_graph: opens the content of an ONNX file, so that export verifies with it and finds the
            layer that diverges; None if it runs none.
    """

    name: str
    needs: str
    title: str
    takes: Mapping[Precision, Takes]
    open: Callable[[Bundle, Setup], Engine]
    extra: str = ""
    devices: Callable[[], Sequence[str]] = lambda: (CPU,)
    native: Callable[[str], Collection[Precision]] | None = None
    unasked: bool = True
    shares_batches: bool = False
    of_graph: Callable[[bytes, Setup], GraphEngine] | None = None

    @property
    def installed(self) -> bool:
        """Whether the module that it computes with is installed; it is not loaded."""
        try:
            return importlib.util.find_spec(self.needs) is not None
        except (ImportError, ValueError):
            return False

    @property
    def version(self) -> str:
        """Version of the module's package; empty if no package has the module's name."""
        try:
            return importlib.metadata.version(self.needs)
        except importlib.metadata.PackageNotFoundError:
            return ""

    def finds(self, bundle: Bundle, precision: Precision) -> Artifact | None:
        """Return the artifact that it loads for a precision, if the bundle has it."""
        wanted = self.takes.get(precision)
        return bundle.find(format=wanted.format, precision=wanted.precision) if wanted else None

    def can_load(self, bundle: Bundle) -> bool:
        """Tell whether the bundle has anything that it loads."""
        return any(self.finds(bundle, precision) for precision in self.takes)

    def computes(self, device: str) -> tuple[Precision, ...]:
        """Return the precisions that it computes in on a device, whatever the bundle has."""
        able = self.takes if self.native is None else self.native(device)
        return tuple(precision for precision in self.takes if precision in able)
