"""How long the networks of a study take for one image, all in turns, on one thread."""

from __future__ import annotations

import contextlib
import statistics
import time
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Any, cast

import numpy as np

from fleetnet.bundle import Bundle
from fleetnet.inference.engines import Precision, open_engine
from fleetnet.measuring import Clock, ratios, spread, time_in_rounds

CLOCKS: Mapping[str, Clock] = {"processor": time.process_time, "wall": time.perf_counter}


def timed(
    bundles: Mapping[str, tuple[Path, list[str]]],
    base: Callable[[str, str], tuple[str, str]],
    rounds: int,
    clock: str,
) -> dict[str, dict[str, Any]]:
    """Time every network in every engine and precision once in every round.

    Args:
        bundles: by name, with what each offers, ``ENGINE/PRECISION``.
        base: gives what a network's offer is compared with, a name and an offer.
        rounds: how many.
        clock: a key of :data:`CLOCKS`.

    Returns:
        By name and ``ENGINE/PRECISION``: median and quartiles in milliseconds, and the median of
        the ratios to ``base`` within the rounds.
    """
    with contextlib.ExitStack() as opened:
        work = {}
        for name, (path, offers) in bundles.items():
            bundle = Bundle.load(path)
            side = bundle.manifest.preprocess.crop
            pixels = np.random.default_rng(0).integers(0, 256, (1, side, side, 3), np.uint8)
            for offer in offers:
                engine, _, precision = offer.partition("/")
                ready = open_engine(engine, bundle, 1, precision=cast("Precision", precision))
                work[name, offer] = partial(opened.enter_context(ready).run, pixels)
        times = time_in_rounds(work, rounds, warm_up=3, before_each=1, clock=CLOCKS[clock])
    found: dict[str, dict[str, Any]] = {}
    for (name, offer), seconds in times.items():
        ms = spread([1000 * value for value in seconds])
        beside = times[base(name, offer)]
        found.setdefault(name, {})[offer] = {
            "ms": ms.median,
            "quartiles": [ms.low, ms.high],
            "share": statistics.median(ratios(seconds, beside)),
        }
    return found
