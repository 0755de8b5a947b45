"""How long one image takes before and after, measured in turns."""

from __future__ import annotations

import statistics
import time
from collections.abc import Mapping
from typing import TypeVar

from fleetnet.inference.engines import Engine, Pixels

Key = TypeVar("Key")
ROUNDS = 40


def median_ms(
    engines: Mapping[Key, Engine], pixels: Pixels, rounds: int = ROUNDS
) -> dict[Key, float]:
    """Return the median milliseconds that each engine takes for ``pixels``.

    Each round asks every engine once, so that what else the machine does hits all alike.

    Args:
        engines: what to time, by any name.
        pixels: ``uint8[N, crop, crop, 3]``, one image or a batch.
        rounds: how many times each engine is timed, after one run that is not.
    """
    times: dict[Key, list[float]] = {key: [] for key in engines}
    for timed in range(-1, rounds):
        for key, engine in engines.items():
            started = time.perf_counter()
            engine.run(pixels)
            if timed >= 0:
                times[key].append(time.perf_counter() - started)
    return {key: statistics.median(seconds) * 1000 for key, seconds in times.items()}
