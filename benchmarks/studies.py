"""What studies of trained networks share: options, and a file of figures from which they go on."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from benchmarks.smaller.latency import CLOCKS
from fleetnet.files import atomic_file

ENGINES = ("openvino", "onnxruntime")


def study_parser(title: str, side: int, epochs: int) -> argparse.ArgumentParser:
    """Return a parser of the options that every study has.

    Args:
        title: what the study is of.
        side: of the images in pixels, if nothing is said.
        epochs: of training, if nothing is said.
    """
    parser = argparse.ArgumentParser(description=title)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--data", default="elpv")
    parser.add_argument("--label", help="[defect, of elpv]")
    parser.add_argument("--upright", action="store_true", help="neither turn images nor flip them")
    parser.add_argument("--side", type=int, default=side)
    parser.add_argument("--epochs", type=int, default=epochs)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--engines", nargs="+", default=ENGINES)
    parser.add_argument("--json", type=Path, help="[FOLDER/figures.json]")
    parser.add_argument("--rounds", type=int, default=100)
    parser.add_argument("--clock", choices=tuple(CLOCKS), default="processor")
    parser.add_argument("--latency-only", action="store_true")
    return parser


def label_of(told: argparse.Namespace) -> str | None:
    """Return which label of the data is meant."""
    label: str | None = told.label
    return label or ("defect" if told.data == "elpv" else None)


def begun(file: Path, plan: Mapping[str, Any], part: str) -> dict[str, Any]:
    """Return the figures that there are, of the same plan; else none, under ``part``."""
    if not file.exists():
        return {"plan": plan, part: {}}
    figures: dict[str, Any] = json.loads(file.read_text("utf-8"))
    other = {key: one for key, one in plan.items() if figures["plan"].get(key) != one}
    if other:
        said = ", ".join(f"{key} {figures['plan'].get(key)}" for key in other)
        sys.exit(f"{file} has figures of other settings ({said}): give those, or another file")
    return figures


def save(figures: Mapping[str, Any], file: Path) -> None:
    """Write the figures, whole or not at all."""
    with atomic_file(file) as path:
        path.write_text(json.dumps(figures, indent=2) + "\n", "utf-8")
