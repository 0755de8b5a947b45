"""Engines that a verification does not compare, and why."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from typing import Literal

from fleetnet.bundle import Bundle
from fleetnet.inference.engines import ENGINES, EngineKind

Code = Literal["broken", "by-name", "no-artifact", "no-device", "not-installed"]


@dataclass(frozen=True)
class LeftOutEngine:
    """An engine that was not compared.

    Attributes:
        engine: its name.
        code: why, as a word for programs.
        reason: why, in words that go on after the name.
    """

    engine: str
    code: Code
    reason: str

    def __str__(self) -> str:
        return f"{self.engine} {self.reason}"


def left_out_engines(
    bundle: Bundle, compared: Collection[str], without: Mapping[str, str]
) -> Iterator[LeftOutEngine]:
    """Yield every known engine that is not compared, with the reason.

    Args:
        bundle: what is verified.
        compared: names of the engines that are compared, or that are the reference.
        without: why others have no such device, by their names.
    """
    for name, kind in ENGINES.items():
        if name not in compared:
            yield LeftOutEngine(name, *_why(kind, bundle, without.get(name)))
    for name, why in ENGINES.broken.items():
        yield LeftOutEngine(name, "broken", f"cannot be loaded: {why}")


def _why(kind: EngineKind, bundle: Bundle, no_device: str | None) -> tuple[Code, str]:
    if no_device is not None:
        return "no-device", no_device.removeprefix(f"{kind.name} ")
    if not kind.installed:
        return "not-installed", f"needs {kind.title}, which is not installed"
    if not kind.can_load(bundle):
        formats = " or ".join(dict.fromkeys(wanted.format for wanted in kind.takes.values()))
        return "no-artifact", f"loads {formats}, which the bundle does not have"
    return "by-name", "computes only where it is named"
