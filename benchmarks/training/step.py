"""One training step on a batch that is in memory: Fleetnet's beside timm's.

    python benchmarks/training/step.py [NETWORK ...] [--batch-size 32] [--rounds 7] [--json FILE]

Both train the same network with the same images, precision (bf16), memory format (channels last)
and optimiser (SGD with momentum), smoothed labels and an average of the weights, in one process, a
step each in turns. Fleetnet's step begins with uint8 pixels and normalises them; timm's begins with
normalised float32, as its loader gives them. The processor time hardly depends on what else the
machine does.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import torch
from loops import CLASSES, SIZE, timm_update
from settings import batch_of, made

from fleetnet.measuring import elapsed, ratios, spread, turns
from fleetnet.preprocess import Preprocess

NETWORKS = {"mobilenetv2_100": "mobilenetv2_100", "rexnet_100": "ReXNet_1_0"}
"""timm's name and ours."""


def measure(name: str, images: int, rounds: int) -> dict[str, list[float]]:
    """Return the processor's milliseconds for an image in every round."""
    batch = batch_of(images, SIZE, CLASSES)
    ours = made(NETWORKS[name], "bf16", SIZE, channels_last=True, compiled=False, classes=CLASSES)
    scale, shift = map(torch.from_numpy, Preprocess().normalisation())
    normalised = (batch.pixels.float() * scale + shift).permute(0, 3, 1, 2).contiguous()
    update = timm_update(name)
    steps = {
        "timm": lambda: update(normalised, batch.labels),
        "fleetnet": lambda: ours.take([batch], 0).result(),
    }
    for step in steps.values():
        step()
    found: dict[str, list[float]] = {key: [] for key in steps}
    for key in turns(steps, rounds):
        _, time = elapsed(steps[key])
        found[key].append(1e3 * time.processor_seconds / images)
    return found


def main() -> None:
    """Measure and print Markdown."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("networks", nargs="*", default=list(NETWORKS))
    parser.add_argument("--batch-size", type=int, default=32)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--json", type=Path)
    arguments = parser.parse_args()
    print("| network | | processor time of an image, ms | ÷ timm's, same round |")
    print("| --- | --- | ---: | ---: |")
    results = {}
    for name in arguments.networks:
        found = results[name] = measure(name, arguments.batch_size, arguments.rounds)
        for key, times in found.items():
            over = spread(ratios(times, found["timm"])).with_range(".2f")
            cells = f"{spread(times).with_range('.1f')} | {over}"
            print(f"| {name} | {key} | {cells} |", flush=True)
    if arguments.json:
        arguments.json.write_text(json.dumps(results, indent=2) + "\n", "utf-8")


if __name__ == "__main__":
    main()
