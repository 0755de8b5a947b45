"""Whether scaled decoding changes what is learnt: the ELPV cells as JPEG, with and without it.

python benchmarks/loader/learnt.py [--epochs 8] [--seeds 3] [--side 64] [--json FILE]

A small network learns the kind of cell from scratch on crops of a few dozen pixels out of 300, so
that nearly every crop is decoded smaller. Also printed is by how much the pixels differ.
"""

from __future__ import annotations

import argparse
import json
import statistics
import tempfile
from pathlib import Path

import numpy as np
import torch
from elpv_dataset.utils import load_dataset
from PIL import Image

from fleetnet.data.augment import Augment
from fleetnet.data.sources import open_source
from fleetnet.preprocess import Preprocess
from fleetnet.training.recipe import Recipe
from fleetnet.training.trainer import train

NETWORK = "MobileNetV2_x0_25"
WAYS = {"scaled": True, "whole": False}


def arrange(folder: Path) -> None:
    """Write the cells as JPEG files, in a folder for each kind."""
    cells, _, kinds = load_dataset()
    for number, (cell, kind) in enumerate(zip(cells, kinds, strict=True)):
        place = folder / str(kind)
        place.mkdir(parents=True, exist_ok=True)
        Image.fromarray(cell).save(place / f"{number:04d}.jpg", quality=92)


def differences(folder: Path, side: int) -> list[float]:
    """Return the mean difference of the pixels, of 255 levels, for every 20th image."""
    preprocess = Preprocess(resize=side, crop=side)
    found = []
    for seed, file in enumerate(sorted(folder.glob("*/*.jpg"))[::20]):
        one, other = (
            Augment(preprocess, scaled_decoding=scaled)
            .from_bytes(file.read_bytes(), np.random.default_rng(seed))
            .astype(int)
            for scaled in WAYS.values()
        )
        found.append(float(np.abs(one - other).mean()))
    return found


def top1(folder: Path, output: Path, arguments: argparse.Namespace, seed: int, way: str) -> float:
    """Train once and return the held-out accuracy after the last epoch."""
    recipe = Recipe.load(
        overrides=[
            f"epochs={arguments.epochs}",
            f"seed={seed}",
            f"input.resize={arguments.side}",
            f"input.crop={arguments.side}",
            f"augment.scaled_decoding={str(WAYS[way]).lower()}",
            "data.workers=0",
            "data.val_fraction=0.25",
            "ema.decay=0.98",
        ]
    )
    found = train(open_source(str(folder)), NETWORK, recipe, output / f"{seed}-{way}")
    return float(found.history[-1].top1 or 0.0)


def main() -> None:
    """Train all and print Markdown."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--epochs", type=int, default=8)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--side", type=int, default=64)
    parser.add_argument("--json", type=Path)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place, "cells")
        arrange(folder)
        levels = differences(folder, arguments.side)
        print(f"pixels differ by {statistics.mean(levels):.2f} of 255 (mean), at most", end=" ")
        print(f"{max(levels):.2f} in an image", flush=True)
        found: dict[str, list[float]] = {way: [] for way in WAYS}
        for seed in range(arguments.seeds):
            for way, values in found.items():
                values.append(top1(folder, Path(place, "runs"), arguments, seed, way))
                print(f"seed {seed}, {way}: {values[-1]:.4f}", flush=True)
    for way, values in found.items():
        spread = statistics.stdev(values) if len(values) > 1 else 0.0
        print(f"{way}: mean {statistics.mean(values):.4f}, standard deviation {spread:.4f}")
    if arguments.json:
        arguments.json.write_text(json.dumps({"top1": found, "levels": levels}) + "\n", "utf-8")


if __name__ == "__main__":
    main()
