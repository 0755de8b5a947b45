"""The rows that ``fleetnet predict`` writes: a table, JSON lines or CSV."""

from __future__ import annotations

import csv
import functools
import os
import shutil
import sys
from collections.abc import Callable, Iterable
from dataclasses import replace

from rich.cells import cell_len

from fleetnet.cli.console import PLAIN_WIDTH, print_json, shorten, visible
from fleetnet.cli.streams import Rows, for_programs, is_terminal
from fleetnet.image_bytes import STDIN
from fleetnet.inference.prediction import Prediction

_REJECTED = "rejected: "
Writer = Callable[[Iterable[Prediction], int], tuple[int, int]]
"""Writes predictions of so many classes, and returns how many there were and how many failed."""


def writer_of(*, as_json: bool, as_csv: bool, single: bool, rejects: bool = False) -> Writer:
    """Return what writes; ``rejects`` adds columns to CSV, whose header is written before all."""
    if as_csv:
        return functools.partial(_write_csv, rejects=rejects)
    if as_json:
        return _write_json
    return functools.partial(_write_table, single=single)


def _write_json(predictions: Iterable[Prediction], _: int) -> tuple[int, int]:
    total = failed = 0
    for prediction in predictions:
        print_json(prediction.to_json(), lines=True)
        total, failed = total + 1, failed + (not prediction.ok)
    return total, failed


def _write_csv(predictions: Iterable[Prediction], top_k: int, *, rejects: bool) -> tuple[int, int]:
    writer = csv.writer(Rows(for_programs()), lineterminator=Rows.ends)
    ranks = range(1, top_k + 1)
    writer.writerow(
        [
            "image",
            *(f"{field}_{rank}" for rank in ranks for field in ("class", "probability")),
            *(("rejected", "score") if rejects else ()),
            "error",
        ]
    )
    total = failed = 0
    for prediction in predictions:
        cells = [
            cell for score in prediction.top for cell in (score.label, f"{score.probability:.6f}")
        ]
        cells += [""] * (2 * top_k - len(cells))
        if rejects:
            scored = prediction.score is not None
            cells += (
                [str(prediction.rejected).lower(), f"{prediction.score:.6f}"]
                if scored
                else ["", ""]
            )
        writer.writerow([prediction.source, *cells, prediction.error or ""])
        total, failed = total + 1, failed + (not prediction.ok)
    return total, failed


def _write_table(predictions: Iterable[Prediction], _: int, *, single: bool) -> tuple[int, int]:
    """Write rows as they come, so that memory does not grow with the number of images.

    A row has as many classes as fit; a single image has all of them.
    """
    terminal = is_terminal(sys.stdout) or "COLUMNS" in os.environ
    width = shutil.get_terminal_size().columns if terminal else PLAIN_WIDTH
    name_width = max(16, width * 2 // 5)
    total = failed = 0
    for prediction in predictions:
        name = "standard input" if prediction.source == STDIN else prediction.source
        name = visible(name)
        if len(name) > name_width:
            name = "…" + name[1 - name_width :]
        column = len(name) if single else name_width
        lines = (
            [visible(f"error: {prediction.error}")]
            if prediction.error is not None
            else _answer(prediction, width - column - 2, whole=single)
        )
        for place, line in enumerate(lines):
            sys.stdout.write(f"{'' if place else name:<{column}}  {line}\n")
        total, failed = total + 1, failed + (not prediction.ok)
    return total, failed


def _answer(prediction: Prediction, room: int, *, whole: bool) -> list[str]:
    """Return as many classes as fit in a line; if ``whole``, all of them, in several lines."""
    if prediction.rejected:
        # First, because it says that the rest is not to be relied on.
        head = _REJECTED
        lines = _answer(replace(prediction, rejected=False), room - len(head), whole=whole)
        return [head + line for line in lines[:1]] + [" " * len(head) + line for line in lines[1:]]
    words = [
        f"{shorten(score.label, max(room - 7, 8))} {score.probability:.1%}"
        for score in prediction.top
    ]
    if cell_len("  ".join(words)) <= room:
        return ["  ".join(words)]
    if whole:
        return words
    while len(words) > 1 and cell_len("  ".join([*words, "…"])) > room:
        words.pop()
    return ["  ".join([*words, "…"] if len(words) < len(prediction.top) else words)]
