"""How long one image takes in several engines, measured in interleaved rounds."""

from __future__ import annotations

import statistics
from collections.abc import Hashable, Mapping
from functools import partial
from typing import TypeVar

from fleetnet.inference.engines import Engine, Pixels
from fleetnet.measuring import time_in_rounds

Key = TypeVar("Key", bound=Hashable)
ROUNDS = 40


def median_ms(
    engines: Mapping[Key, Engine], pixels: Pixels, rounds: int = ROUNDS
) -> dict[Key, float]:
    """Return the median milliseconds that each engine takes for ``pixels``.

    Each round runs every engine once.

    Args:
        engines: what to time, by any name.
        pixels: ``uint8[N, crop, crop, 3]``, one image or a batch.
        rounds: how many times each engine is timed, after one run that is not.
    """
    work = {key: partial(engine.run, pixels) for key, engine in engines.items()}
    times = time_in_rounds(work, rounds)
    return {key: statistics.median(seconds) * 1000 for key, seconds in times.items()}
