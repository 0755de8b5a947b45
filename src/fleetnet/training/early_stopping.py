"""Ending a run that no longer improves."""

from __future__ import annotations

from collections.abc import Sequence

from fleetnet.training.progress import EpochRecord
from fleetnet.training.recipe import StopSettings


def stops_early(settings: StopSettings, history: Sequence[EpochRecord]) -> bool:
    """Tell whether the last ``patience`` epochs had no better score; with 0, never."""
    return 0 < settings.patience <= epochs_without_gain(history, settings.min_delta)


def epochs_without_gain(history: Sequence[EpochRecord], min_delta: float) -> int:
    """Return how many epochs ago the score last rose by more than ``min_delta``."""
    best, since = -1.0, 0
    for record in history:
        since += 1
        if record.score > best + min_delta:
            best, since = record.score, 0
    return since
