"""How a budget of time is divided; only arithmetic."""

from __future__ import annotations

import math
from collections.abc import Sequence

from fleetnet.errors import FleetnetError

RUNGS = (0.2, 0.2)
"""Shares of the budget for the first rung and for the second: equal ones, as successive halving has
them. What measuring takes is part of the first."""
MEASURING = 0.06
"""Most of the budget that finding out the time of an epoch may take, after the first network."""
SEARCH = 0.5
"""Nothing is tried after this share of the budget: the rest is the last training's."""
KEPT = 3
"""One of so many candidates goes on to the next rung."""
FEWEST = 2
"""Epochs of a candidate in the first rung, where the budget has room for several of them."""
EXPORT_S, EXPORT = 20.0, 0.05
"""Seconds that are kept for the export, and the largest share of the budget that may be."""
OVERRUN = 1.1
"""The last training ends early if it would go beyond so many times the budget."""


def admitted(epoch_s: Sequence[float], pool_s: float) -> list[int]:
    """Return which candidates train in the first rung, by their places in the list.

    As many as can each have :data:`FEWEST` epochs in their part of the time; if that is not even
    two of them, those that can have one epoch.

    Args:
        epoch_s: seconds that an epoch of each candidate takes, in the order of the list.
        pool_s: seconds for all of them together.
    """
    for epochs in (FEWEST, 1):
        for number in range(len(epoch_s), 1, -1):
            each = pool_s / number
            fitting = [place for place, cost in enumerate(epoch_s) if epochs * cost <= each]
            if len(fitting) >= number:
                return fitting[:number]
    return [place for place, cost in enumerate(epoch_s) if cost <= pool_s][:1]


def survivors(number: int) -> int:
    """Return how many of so many candidates go on."""
    return math.ceil(number / KEPT)


def epochs_in(seconds: float, epoch_s: float) -> int:
    """Return how many epochs fit into so many seconds; at least one."""
    return max(math.floor(seconds / epoch_s), 1)


def for_export(budget_s: float) -> float:
    """Return the seconds that are kept for the export."""
    return min(EXPORT_S, EXPORT * budget_s)


def least_budget(epoch_s: Sequence[float], measuring_s: float) -> float:
    """Return the shortest budget in seconds in which one candidate can be tried.

    Args:
        epoch_s: seconds that an epoch takes, of each candidate that was measured.
        measuring_s: what that took; with a longer budget it may be more, up to its share.
    """
    epoch = min(epoch_s)
    return max(epoch / (RUNGS[0] - MEASURING), (epoch + measuring_s) / RUNGS[0])


def too_short(budget_s: float, epoch_s: Sequence[float], measuring_s: float) -> FleetnetError:
    """Return the error for a budget in which nothing can be tried; see :func:`least_budget`."""
    least = math.ceil(least_budget(epoch_s, measuring_s) * 1.1)
    return FleetnetError(
        f"a budget of {spoken(budget_s)} is too short: an epoch takes {min(epoch_s):.3g} s at the "
        f"fastest, and a candidate needs one in a fifth of it: give "
        f"budget='{spoken(least)}', or fewer images",
        code="budget",
        arguments=["budget"],
        budget_s=budget_s,
        epoch_s=min(epoch_s),
        least_s=least,
    )


def seconds_of(text: str) -> float:
    """Read a time: ``30min``, ``90s``, ``1.5h``, or a number of minutes.

    Raises:
        FleetnetError: it is none, or not above zero.
    """
    word = text.strip().lower()
    for ending, unit in (("min", 60.0), ("m", 60.0), ("h", 3600.0), ("s", 1.0), ("", 60.0)):
        if word.endswith(ending):
            try:
                seconds = float(word.removesuffix(ending)) * unit
            except ValueError:
                break
            if math.isfinite(seconds) and seconds > 0:
                return seconds
            break
    raise FleetnetError(
        f"budget='{text}' is no time: give one such as 30min, 90s or 1.5h", arguments=["budget"]
    )


def spoken(seconds: float) -> str:
    """Return a time for people: ``45 s``, ``30min``, ``1.5h``; :func:`seconds_of` reads it back."""
    if seconds < 90:
        return f"{math.ceil(seconds)}s"
    if seconds < 5400:
        return f"{math.ceil(seconds / 60)}min"
    return f"{math.ceil(seconds / 360) / 10:g}h"


def timed(seconds: float) -> str:
    """Return a time that was measured: ``42 s``, ``1:47 min``, ``1:02:10 h``."""
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    minutes, rest = divmod(whole, 60)
    if minutes < 60:
        return f"{minutes}:{rest:02} min"
    return f"{minutes // 60}:{minutes % 60:02}:{rest:02} h"
