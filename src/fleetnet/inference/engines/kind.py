"""What an engine says of itself, before anything is loaded."""

from __future__ import annotations

import importlib.metadata
import importlib.util
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from fleetnet.bundle import Artifact, Bundle
from fleetnet.inference.engines.engine import CPU, Engine, Precision, Setup


class Takes(NamedTuple):
    """The artifact that an engine loads: its format and precision."""

    format: str
    precision: Precision = "fp32"


@dataclass(frozen=True)
class EngineKind:
    """An engine that can be opened, as its file presents it under the name ``ENGINE``.

    Attributes:
        name: that users choose it by.
        needs: the module that it computes with, which has to be installed.
        title: what people call that.
        extra: of Fleetnet's, which brings it; empty for what the base install has, and for what
            comes with a package of its own.
        takes: the precisions that it computes in, fp32 first if it does, to what it loads for each.
        open: loads a bundle's network; the setup's precision and device are ones that it offers.
        devices: names those that the runtime finds here, in its own words but in small letters.
        native: of a device, the precisions that it is built for, of which those not in ``takes`` do
            not matter; None where it is all of these.
        shares_batches: whether its threads compute a batch together, so that in throughput mode it
            should have several images.
        unasked: whether tuning tries it also where nobody names it.
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

    @property
    def installed(self) -> bool:
        """Whether the module is there that it computes with; it is not loaded."""
        try:
            return importlib.util.find_spec(self.needs) is not None
        except (ImportError, ValueError):
            return False

    @property
    def version(self) -> str:
        """Version of the package that the module is of; empty where none is called like it."""
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
