"""What a training run measured after each epoch, read back from where it was left."""

from __future__ import annotations

import json
import math
from collections.abc import Iterable
from pathlib import Path
from typing import Any

FILE = "metrics.jsonl"
MAX_BYTES = 16 * 2**20
MAX_EPOCHS = 100_000

Epoch = dict[str, float]
"""Figures by name: epoch, lr, train_loss, train_top1, top1, top5, images_per_s, seconds."""


def clean_history(records: Any) -> list[Epoch]:
    """Return the finite numbers of each record that has an epoch, in the order of epochs.

    A history comes from a file that anyone may have written, so that anything else is left out.
    """
    if not isinstance(records, Iterable) or isinstance(records, str | bytes | dict):
        return []
    found: dict[float, Epoch] = {}
    for record in records:
        numbers = _numbers(record)
        if "epoch" in numbers and len(found) < MAX_EPOCHS:
            found[numbers["epoch"]] = numbers
    return [found[epoch] for epoch in sorted(found)]


def read_history(folder: Path) -> list[Epoch]:
    """Return the history that training left in ``folder``, empty where there is none."""
    path = folder / FILE
    try:
        if path.stat().st_size > MAX_BYTES:
            return []
        lines = path.read_text("utf-8").splitlines()
    except (OSError, UnicodeDecodeError):
        return []
    records: list[Any] = []
    for line in lines:
        try:
            records.append(json.loads(line))
        except (ValueError, RecursionError):
            continue
    return clean_history(records)


def _numbers(record: Any) -> Epoch:
    values = record if isinstance(record, dict) else getattr(record, "__dict__", {})
    return {
        str(key): float(value)
        for key, value in values.items()
        if isinstance(value, int | float) and not isinstance(value, bool) and _finite(value)
    }


def _finite(value: float) -> bool:
    try:
        return math.isfinite(value)
    except OverflowError:  # an integer beyond every float
        return False
