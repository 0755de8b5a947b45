"""How fast a training step is under each setting, and where its time goes.

    python benchmarks/training/settings.py [NETWORK ...] [--batch-size 32] [--size 224]
        [--rounds 5] [--compile] [--device cuda] [--json FILE]

The settings are timed in interleaved rounds on images that are in the device's memory already: the
loader has its own benchmark. On CUDA, fp16 with scaled gradients is one more of them. The figures
are medians over the rounds with the slowest and the fastest, and the ratio within a round to fp32
in PyTorch's own memory format.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import statistics
import sys
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch

from fleetnet.data.batches import Batch
from fleetnet.measuring import ratios, time_in_rounds
from fleetnet.models.registry import build_model
from fleetnet.preprocess import Preprocess
from fleetnet.training.classification import classification
from fleetnet.training.recipe import Recipe
from fleetnet.training.task import TaskSetup
from fleetnet.training.train_step import TrainStep

NETWORKS = ["MobileNetV2_x0_25", "MobileNetV2_x0_5", "MobileNetV2", "ReXNet_1_0"]
CLASSES = 100


def made(
    name: str,
    precision: str,
    size: int,
    *,
    channels_last: bool,
    compiled: bool,
    classes: int = CLASSES,
    device: str = "cpu",
) -> TrainStep:
    """Make a network ready to train with one setting."""
    torch.manual_seed(0)
    recipe = Recipe.load(overrides=[f"precision={precision}", f"compile={str(compiled).lower()}"])
    setup = TaskSetup(
        recipe=recipe,
        classes=tuple(map(str, range(classes))),
        counts=[1] * classes,
        multi_label=False,
        device=torch.device(device),
    )
    train_step = TrainStep(
        build_model(name, classes).to(device),
        recipe,
        Preprocess(resize=size, crop=size),
        classification(setup),
        steps_per_epoch=1000,
    )
    if not channels_last:
        for parameter in train_step.network.parameters():
            parameter.data = parameter.data.contiguous()
    train_step.begin_epoch(1)
    return train_step


def batch_of(images: int, size: int, classes: int = CLASSES, device: str = "cpu") -> Batch:
    """Make noise with labels, in a device's memory."""
    rng = np.random.default_rng(0)
    pixels = torch.from_numpy(rng.integers(0, 256, (images, size, size, 3), dtype=np.uint8))
    labels = torch.from_numpy(rng.integers(0, classes, images))
    return Batch(pixels.to(device), labels.to(device), (), torch.arange(images))


def measure(name: str, arguments: argparse.Namespace) -> list[dict[str, Any]]:
    """Time a network's step under every setting, in turns."""
    settings = {
        "fp32": ("fp32", False, False),
        "fp32, channels last": ("fp32", True, False),
        "bf16, channels last": ("bf16", True, False),
    }
    if arguments.compile:
        settings["fp32, channels last, compiled"] = ("fp32", True, True)
        settings["bf16, channels last, compiled"] = ("bf16", True, True)
    if arguments.device != "cpu":
        settings["fp16, channels last"] = ("fp16", True, False)
    batch = batch_of(arguments.batch_size, arguments.size, device=arguments.device)
    train_steps = {
        key: made(
            name,
            precision,
            arguments.size,
            channels_last=last,
            compiled=compiled,
            device=arguments.device,
        )
        for key, (precision, last, compiled) in settings.items()
    }
    steps = {key: partial(_step, one, batch) for key, one in train_steps.items()}
    seconds = time_in_rounds(steps, arguments.rounds)
    first = seconds["fp32"]
    return [
        {
            "network": name,
            "setting": key,
            "images_per_s": statistics.median(arguments.batch_size / value for value in values),
            "lowest": arguments.batch_size / max(values),
            "highest": arguments.batch_size / min(values),
            "times": statistics.median(ratios(first, values)),
        }
        for key, values in seconds.items()
    ]


def _step(one: TrainStep, batch: Batch) -> None:
    """Take a step and wait for it."""
    one.take([batch], 0).result()


def where_the_time_goes(
    name: str, precision: str, arguments: argparse.Namespace
) -> dict[str, float]:
    """Return the share of each kind of operation in one step, by PyTorch's profiler."""
    one = made(name, precision, arguments.size, channels_last=True, compiled=False)
    batch = batch_of(arguments.batch_size, arguments.size)
    one.take([batch], 0).result()
    with torch.profiler.profile(activities=[torch.profiler.ProfilerActivity.CPU]) as profile:
        one.take([batch], 1).result()
    kinds = {
        "convolution": ("mkldnn_convolution", "convolution_backward", "thnn_conv"),
        "batch norm": ("batch_norm",),
        "activations": ("clamp", "hardtanh", "silu", "sigmoid", "threshold", "where"),
        "optimiser and average": ("_foreach", "lerp"),
        "copies and casts": ("copy_", "to_copy", "clone", "contiguous"),
    }
    total = sum(event.self_cpu_time_total for event in profile.key_averages())
    shares = dict.fromkeys(kinds, 0.0)
    for event in profile.key_averages():
        for kind, names in kinds.items():
            if any(part in event.key for part in names):
                shares[kind] += event.self_cpu_time_total / total
                break
    return {**shares, "other": 1 - sum(shares.values())}


def main() -> None:
    """Measure and print Markdown."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("networks", nargs="*", default=NETWORKS)
    parser.add_argument("--batch-size", type=int, default=32)
    parser.add_argument("--size", type=int, default=224)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--compile", action="store_true")
    parser.add_argument("--device", default="cpu", choices=("cpu", "cuda"))
    parser.add_argument("--json", type=Path)
    arguments = parser.parse_args()
    if arguments.device == "cuda" and not torch.cuda.is_available():
        sys.exit(f"no CUDA device here: PyTorch {torch.__version__} sees none")
    print(
        f"{os.cpu_count()} cores ({platform.machine()}), PyTorch {torch.__version__}, batch of "
        f"{arguments.batch_size} at {arguments.size} px, {arguments.rounds} rounds in turns: "
        "images/s, median (lowest-highest)\n"
    )
    print("| network | setting | images/s | times |\n| --- | --- | ---: | ---: |")
    results = []
    for name in arguments.networks:
        for row in measure(name, arguments):
            results.append(row)
            print(
                f"| `{row['network']}` | {row['setting']} | {row['images_per_s']:.1f} "
                f"({row['lowest']:.1f}-{row['highest']:.1f}) | {row['times']:.2f} |",
                flush=True,
            )
    if arguments.device == "cpu":
        print_shares(arguments)
    if arguments.json:
        arguments.json.write_text(json.dumps(results, indent=2) + "\n")


def print_shares(arguments: argparse.Namespace) -> None:
    """Print where the time goes as Markdown."""
    print("\nWhere a step's processor time goes:\n")
    print("| network | precision | " + " | ".join(where := _kinds(arguments)) + " |")
    print("| --- | --- |" + " ---: |" * len(where))
    for name in arguments.networks:
        for precision in ("fp32", "bf16"):
            shares = where_the_time_goes(name, precision, arguments)
            cells = " | ".join(f"{share:.0%}" for share in shares.values())
            print(f"| `{name}` | {precision} | {cells} |", flush=True)


def _kinds(arguments: argparse.Namespace) -> list[str]:
    small = argparse.Namespace(batch_size=2, size=32)
    return list(where_the_time_goes(arguments.networks[0], "fp32", small))


if __name__ == "__main__":
    main()
