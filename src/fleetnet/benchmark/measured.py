"""What `fleetnet bench --all` found on this machine, in one file of the cache that grows."""

from __future__ import annotations

import dataclasses
import json
import math
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from fleetnet.benchmark.machine import Machine
from fleetnet.cache import cache_folder
from fleetnet.errors import FleetnetError
from fleetnet.files import atomic_file
from fleetnet.json_text import json_text

FORMAT_VERSION = 1


@dataclass(frozen=True)
class Measurement:
    """One network in one engine, precision and number of threads, at batch 1.

    Attributes:
        model: the registry's name of it.
        size: side of the input, in pixels.
        engine: that computed.
        precision: that it computed in.
        threads: that it computed with.
        p50: median seconds.
        bytes: of the files that the engine loads.
        macs: multiply-adds for one image.
        parameters: trainable ones.
    """

    model: str
    size: int
    engine: str
    precision: str
    threads: int
    p50: float
    bytes: int
    macs: int
    parameters: int


def measured_file() -> Path:
    """Return where the figures of this machine are."""
    return cache_folder() / "bench" / "measured.json"


def conditions(machine: Machine) -> dict[str, object]:
    """Return what figures of one table have in common: processor and versions."""
    return {
        "processor": machine.processor,
        "processors": machine.processors,
        "versions": machine.versions,
    }


def read_measured(machine: Machine | None = None) -> tuple[Measurement, ...]:
    """Return the figures that there are; none where nothing was measured.

    Args:
        machine: only figures under its :func:`conditions`; None for all.

    Raises:
        FleetnetError: the file is damaged or cannot be read.
    """
    path = measured_file()
    try:
        content = json.loads(path.read_text("utf-8"))
        if machine is not None and content["conditions"] != conditions(machine):
            return ()
        found = tuple(Measurement(**row) for row in content["figures"])
        sane = all(
            isinstance(one.model, str)
            and isinstance(one.engine, str)
            and isinstance(one.precision, str)
            and min(one.size, one.threads, one.p50, one.bytes, one.macs, one.parameters) > 0
            and math.isfinite(one.p50)
            for one in found
        )
    except FileNotFoundError:
        return ()
    except OSError as error:
        raise FleetnetError(f"cannot read {path}: {error.strerror}") from None
    except (ValueError, KeyError, TypeError, RecursionError):
        sane = False
    if not sane:
        raise FleetnetError(f"{path} is damaged: remove it, and measure again")
    return found


def write_measured(machine: Machine, figures: Iterable[Measurement]) -> None:
    """Write figures over those that were there.

    Raises:
        FleetnetError: the cache cannot be written to.
    """
    path = measured_file()
    content = {
        "format": "fleetnet-measured",
        "format_version": FORMAT_VERSION,
        "conditions": conditions(machine),
        "date": machine.date,
        "figures": [dataclasses.asdict(one) for one in figures],
    }
    with atomic_file(path) as temporary:
        temporary.write_text(json_text(content) + "\n", "utf-8")
