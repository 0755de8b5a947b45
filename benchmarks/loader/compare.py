"""Time training loaders in interleaved rounds, in one run.

python benchmarks/loader/compare.py [FOLDER] [--rounds N] [--megapixels 12] [--json FILE]
"""

from __future__ import annotations

import argparse
import json
import math
import os
import platform
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import torch
from PIL import Image
from pipelines import (
    Epochs,
    Photos,
    Setup,
    fleetnet_bytes,
    fleetnet_floats,
    plain_images,
    timm_images,
    torchvision_images,
)

from fleetnet.measuring import elapsed, ratios, spread, turns

PHOTOS = Path(__file__).resolve().parents[3] / "shared" / "data" / "photos"
Pipeline = Callable[[Setup], Epochs]


class Speed(NamedTuple):
    """Of one epoch."""

    images_per_s: float
    processor_ms: float
    """Of this process, per image; without worker processes."""


Results = dict[int, dict[str, list[Speed]]]
"""By the number of workers and the name of the pipeline, a round after the other."""


def main() -> None:
    """Parse, measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("folder", nargs="?", type=Path, default=PHOTOS)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--repeats", type=int, default=8, help="times that each photograph comes")
    parser.add_argument("--batch-size", type=int, default=64)
    parser.add_argument("--workers", type=int, nargs="*", default=[0, 1, 2])
    parser.add_argument("--color-jitter", type=float, default=0.0)
    parser.add_argument("--megapixels", type=float, help="enlarge the photographs to so many first")
    parser.add_argument("--json", type=Path, help="file for the figures of every round")
    options = parser.parse_args()
    files = tuple(sorted(file for file in options.folder.glob("*") if file.is_file()))
    if not files:
        sys.exit(f"error: no photographs in {options.folder}: give a folder of JPEG files")
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as folder:
        if options.megapixels:
            files = enlarge(files, options.megapixels, Path(folder))
        run_all(files, options)


def enlarge(files: tuple[Path, ...], megapixels: float, folder: Path) -> tuple[Path, ...]:
    """Write the photographs at the size that cameras have them."""
    made = []
    for file in files:
        with Image.open(file) as image:
            factor = math.sqrt(megapixels * 1e6 / (image.width * image.height))
            size = (round(image.width * factor), round(image.height * factor))
            image.convert("RGB").resize(size, Image.Resampling.BICUBIC).save(
                folder / f"{file.stem}.jpg", quality=90
            )
        made.append(folder / f"{file.stem}.jpg")
    return tuple(made)


def run_all(files: tuple[Path, ...], options: argparse.Namespace) -> None:
    """Measure all pipelines and print the results."""
    photos = Photos(files, options.repeats)
    results: Results = {
        workers: measure(
            usable_pipelines(),
            Setup(photos, options.batch_size, workers, options.color_jitter),
            options.rounds,
        )
        for workers in options.workers
    }
    print(describe(photos, options.rounds))
    print(table(results))
    if options.json:
        speeds = {
            workers: {
                name: [speed._asdict() for speed in values] for name, values in by_name.items()
            }
            for workers, by_name in results.items()
        }
        options.json.write_text(json.dumps({"speeds": speeds, "load": os.getloadavg()}, indent=2))


def usable_pipelines() -> dict[str, Pipeline]:
    """Return the pipelines that can run here, the one that others are compared with first."""
    peers: dict[str, Pipeline] = {"Pillow, as torchvision": plain_images}
    if _imports("torchvision"):
        peers = {"torchvision": torchvision_images}
    if _imports("timm"):
        peers["timm"] = timm_images
    return {**peers, "fleetnet, to float": fleetnet_floats, "fleetnet": fleetnet_bytes}


def measure(pipelines: dict[str, Pipeline], setup: Setup, rounds: int) -> dict[str, list[Speed]]:
    """Return the speed of every round of every pipeline."""
    epochs = {name: build(setup) for name, build in pipelines.items()}
    for epoch in epochs.values():
        run(epoch)  # starts the workers and fills the cache of files
    speeds: dict[str, list[Speed]] = {name: [] for name in epochs}
    for name in turns(epochs, rounds):
        speeds[name].append(run(epochs[name]))
    return speeds


def run(epoch: Epochs) -> Speed:
    """Return how fast one epoch is."""
    images, time = elapsed(lambda: sum(len(pixels) for pixels in epoch()))
    return Speed(images / time.seconds, 1e3 * time.processor_seconds / images)


def describe(photos: Photos, rounds: int) -> str:
    """Return what was measured on what."""
    return (
        f"{len(photos.files)} photographs × {photos.repeats}, {rounds} rounds in turns, "
        f"{os.cpu_count()} cores ({platform.machine()}), PyTorch {torch.__version__}: images/s, "
        "median (lowest–highest), and how many times as fast in the same round\n"
    )


def table(results: Results) -> str:
    """Return the figures as Markdown.

    Without workers all work is this process's, and its processor time hardly depends on what else
    the machine does.
    """
    lines = [
        "| workers | pipeline | images/s | times | processor time, ms | times |",
        "| ---: | --- | ---: | ---: | ---: | ---: |",
    ]
    for workers, speeds in results.items():
        base = next(iter(speeds.values()))
        for name, values in speeds.items():
            rates, base_rates = ([one.images_per_s for one in row] for row in (values, base))
            busy, base_busy = ([one.processor_ms for one in row] for row in (values, base))
            columns = [
                spread(rates).with_range(".0f"),
                spread(ratios(rates, base_rates)).with_range(".2f"),
            ]
            if not workers:
                columns += [
                    spread(busy).with_range(".2f"),
                    spread(ratios(base_busy, busy)).with_range(".2f"),
                ]
            columns += ["–"] * (4 - len(columns))
            lines.append(f"| {workers} | {name} | {' | '.join(columns)} |")
    return "\n".join(lines)


def _imports(name: str) -> bool:
    try:
        from peers import declare_torchvision_operators

        declare_torchvision_operators()
        __import__(name)
    except (ImportError, RuntimeError):
        return False
    return True


if __name__ == "__main__":
    main()
