"""What a training run measured after each epoch, read back from where it was left."""

from __future__ import annotations

import json
import math
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from fleetnet.errors import DataError
from fleetnet.reporting import Warn

METRICS = "metrics.jsonl"
"""The file in a run's folder, with a JSON object a line, an epoch each."""
MAX_BYTES = 64 * 2**20
"""Of a file to read; a thousand epochs take a quarter of a mebibyte."""
MAX_EPOCHS = 100_000

EpochFigures = dict[str, float]
"""Figures by name: epoch, lr, train_loss, train_top1, top1, top5, images_per_s, seconds."""


def read_metrics(file: Path, warn: Warn) -> list[EpochFigures]:
    """Read the numbers that training wrote, in the order of epochs, damaged lines left out.

    Of an epoch that is there twice, as after a crash, the later counts. Numbers may be NaN.

    Args:
        file: a run's :data:`METRICS`.
        warn: called with each damaged line.

    Raises:
        DataError: the file cannot be read, is too large, or is no text.
    """
    records: dict[int, EpochFigures] = {}
    lines = read_text(file).split("\n")
    for number, line in enumerate(lines, 1):
        if not line.strip():
            continue
        record = parse_line(line)
        if record is None:
            last = not any(map(str.strip, lines[number:]))
            cut = " (the last one: was the run cut off?)" if last else ""
            warn(f"{file}: line {number} is damaged{cut} and left out")
        else:
            records[int(record["epoch"])] = record
    return [records[epoch] for epoch in sorted(records)]


def parse_line(line: str) -> EpochFigures | None:
    """Return the numbers of one line; None if it is not of an epoch."""
    try:
        values = json.loads(line)
    except (ValueError, RecursionError):
        return None
    if not isinstance(values, dict) or type(values.get("epoch")) is not int:
        return None
    try:
        return {key: float(value) for key, value in values.items() if type(value) in (int, float)}
    except OverflowError:
        return None


def read_history(folder: Path) -> list[EpochFigures]:
    """Return the history that training left in ``folder``, as far as it can be read."""
    try:
        return clean_history(read_metrics(folder / METRICS, lambda _: None))
    except DataError:
        return []


def clean_history(records: Any) -> list[EpochFigures]:
    """Return the finite numbers of each record that has an epoch, in the order of epochs.

    A history comes from a file that anyone may have written, so that anything else is left out.
    """
    if not isinstance(records, Iterable) or isinstance(records, str | bytes | dict):
        return []
    found: dict[float, EpochFigures] = {}
    for record in records:
        numbers = _numbers(record)
        if "epoch" in numbers and len(found) < MAX_EPOCHS:
            found[numbers["epoch"]] = numbers
    return [found[epoch] for epoch in sorted(found)]


def read_text(file: Path) -> str:
    """Read a text file of a run's folder.

    Raises:
        DataError: it cannot be read, is larger than :data:`MAX_BYTES`, or is not UTF-8.
    """
    try:
        if file.stat().st_size > MAX_BYTES:
            raise DataError(
                f"{file} is larger than {MAX_BYTES // 2**20} MiB", code="too-large", file=str(file)
            )
        return file.read_text("utf-8")
    except OSError as error:
        raise DataError(
            f"cannot read {file}: {error.strerror or error}", code="unreadable", file=str(file)
        ) from None
    except UnicodeDecodeError:
        raise DataError(f"{file} is not UTF-8 text", file=str(file)) from None


def _numbers(record: Any) -> EpochFigures:
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
