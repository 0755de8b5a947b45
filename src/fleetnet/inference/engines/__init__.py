"""Runtimes that turn pixels into logits, one file each."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable
from dataclasses import replace
from typing import get_args

from fleetnet.bundle import Bundle
from fleetnet.errors import FleetnetError, check_known, one_line
from fleetnet.inference.engines.closing import Closable, Closing
from fleetnet.inference.engines.engine import (
    CPU,
    MAX_THREADS,
    Engine,
    GraphEngine,
    Logits,
    Mode,
    Pixels,
    Precision,
    Setup,
)
from fleetnet.inference.engines.kind import EngineKind, Takes
from fleetnet.inference.engines.registry import DEFAULT_ENGINE, ENGINES, REFERENCE

__all__ = [
    "CPU",
    "DEFAULT_ENGINE",
    "ENGINES",
    "MAX_THREADS",
    "REFERENCE",
    "Closable",
    "Closing",
    "Engine",
    "EngineKind",
    "GraphEngine",
    "Logits",
    "Mode",
    "Pixels",
    "Precision",
    "Setup",
    "Takes",
    "available_threads",
    "check_names",
    "devices",
    "engines_for",
    "engines_on",
    "find_device",
    "graph_engines",
    "installed_engines",
    "open_engine",
    "open_graph",
    "precisions",
]


def available_threads() -> int:
    """Return how many processors this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def installed_engines() -> list[str]:
    """Return the names of the engines whose runtime is installed; none is loaded."""
    return [name for name, kind in ENGINES.items() if kind.installed]


def check_names(engines: Iterable[str], asked: Iterable[str] = ()) -> None:
    """Refuse a name that no engine or precision has, before the work; no runtime is loaded.

    Raises:
        FleetnetError: names the first, the nearest and all of them.
    """
    for engine in engines:
        ENGINES.find(engine)
    for precision in asked:
        check_known("precision", precision, get_args(Precision))


def engines_for(bundle: Bundle) -> list[str]:
    """Return the installed engines that can load a bundle, without those that wait to be named.

    Another package's engine may load a format of its own, which most bundles do not have.
    """
    return [
        name
        for name in installed_engines()
        if ENGINES[name].unasked and ENGINES[name].can_load(bundle)
    ]


def graph_engines() -> list[str]:
    """Return the engines that run an ONNX graph, by name; those that wait to be named are left out.

    What an extra of Fleetnet installs is among them even if it is not installed: opening a graph
    with it says how to install it. Another package's engine has to be installed.
    """
    return sorted(
        name
        for name, kind in ENGINES.items()
        if kind.of_graph and kind.unasked and (kind.installed or kind.extra)
    )


def open_graph(name: str, content: bytes, setup: Setup | None = None) -> GraphEngine:
    """Open the content of an ONNX file in one of :func:`graph_engines`.

    Raises:
        FleetnetError: unknown engine, it is not installed, or it runs no ONNX graph.
    """
    kind = ENGINES.named(name)
    if kind.of_graph is None:
        raise FleetnetError(f"the engine '{name}' runs no ONNX graph")
    return kind.of_graph(content, setup or Setup())


def devices(name: str) -> tuple[str, ...]:
    """Return the devices that an engine's runtime finds on this machine, as it names them.

    In lower case, and without the common ending of a runtime's names: ``cpu``, ``gpu.1`` or ``npu``
    of OpenVINO, ``cpu`` or ``cuda`` of PyTorch and ONNX Runtime.

    Raises:
        FleetnetError: unknown engine, it is not installed, or its runtime does not say.
    """
    kind = ENGINES.named(name)
    try:
        return tuple(kind.devices())
    except Exception as error:
        # A driver may be broken, and every runtime raises its own errors.
        raise FleetnetError(
            f"{name} cannot tell which devices there are: {one_line(error)}"
        ) from None


def find_device(name: str, device: str) -> str:
    """Return an engine's device as :func:`devices` names it.

    Letter case, the ending of ONNX Runtime's names and the number of the first device make no
    difference: ``CUDAExecutionProvider``, ``CUDA`` and ``cuda:0`` are one device.

    Raises:
        FleetnetError: unknown engine, it is not installed, or its runtime finds no such device.
    """
    meant = _plain(device)
    if meant == CPU:
        return CPU  # looking for other devices takes time, and most callers name none
    there = devices(name)
    for found in there:
        if _plain(found) == meant:
            return found
    raise FleetnetError(
        f"{name} finds no device '{device}' on this machine: choose {' or '.join(there)}"
    )


def engines_on(
    device: str, names: Iterable[str] | None = None, without: dict[str, str] | None = None
) -> dict[str, str]:
    """Return the engines that have a device, each with its runtime's name for it.

    Args:
        device: see :func:`find_device`.
        names: of engines to ask; None for all that are installed.
        without: gets the names of those that have no such device, each with the reason.

    Raises:
        FleetnetError: unknown engine, one is not installed, or none finds such a device.
    """
    asked = list(installed_engines() if names is None else names)
    found: dict[str, str] = {}
    without = {} if without is None else without
    for name in asked:
        ENGINES.named(name)
        try:
            found[name] = find_device(name, device)
        except FleetnetError as error:
            without[name] = str(error)
    if not found:
        raise FleetnetError("; ".join(without.values()) or "no engine is installed")
    return found


def precisions(name: str, bundle: Bundle, device: str = CPU) -> tuple[Precision, ...]:
    """Return the precisions that an engine offers on this machine for a bundle.

    Those are the precisions that the device is built for and for which the bundle has the artifact
    that the engine loads. The first one, fp32 if the device computes in it, is always offered:
    opening the engine then says what is missing.

    Raises:
        FleetnetError: unknown engine, it is not installed, or its runtime finds no such device.
    """
    kind = ENGINES.named(name)
    able = kind.computes(find_device(name, device))
    return able[:1] + tuple(one for one in able[1:] if kind.finds(bundle, one))


def open_engine(
    name: str,
    bundle: Bundle,
    threads: int | None = None,
    *,
    precision: Precision = "fp32",
    mode: Mode = "latency",
    streams: int | None = None,
    device: str = CPU,
) -> Engine:
    """Load a bundle's network into the engine called ``name``.

    Args:
        name: a key of :data:`ENGINES`.
        bundle: what to run; the files the engine takes are checked against their hashes.
        threads: how many to compute with; None for all available processors.
        precision: see :class:`Setup`.
        mode: see :class:`Setup`.
        streams: see :class:`Setup`.
        device: see :func:`find_device`.

    Raises:
        FleetnetError: unknown engine, it is not installed, its runtime finds no such device, or it
            does not offer the precision on it.
        BundleError: the artifact it needs is absent or damaged.
    """
    setup = Setup(precision, threads or available_threads(), mode, streams)
    if threads is not None and threads < 1:
        raise FleetnetError(f"threads is {threads}; it must be from 1 to {MAX_THREADS}")
    kind = ENGINES.named(name)
    found = find_device(name, device)
    offered = precisions(name, bundle, found)
    if precision not in offered:
        reason = _why_not(kind, precision, found)
        raise FleetnetError(f"{name} {reason}: choose {' or '.join(offered) or 'another device'}")
    return kind.open(bundle, replace(setup, device=found))


def _why_not(kind: EngineKind, precision: Precision, device: str) -> str:
    if precision in kind.computes(device):
        made = " (fleetnet quantize makes one)" if kind.takes[precision].precision == "int8" else ""
        return f"finds no {precision} network in this bundle{made}"
    where = "on this processor" if device == CPU else f"on the device {device}"
    return f"does not offer {precision} {where}"


def _plain(device: str) -> str:
    return re.sub(r"[.:]0$", "", device.strip().lower().removesuffix("executionprovider"))
