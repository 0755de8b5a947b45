"""Training on photographs in one and in two processes: images/s, and the share of time waiting.

    python benchmarks/training/together.py [FOLDER] [--steps 16] [--rounds 3] [--processes 1 2]

Beside Fleetnet runs timm's loop, put together from its parts as in against_timm.py, as its
documentation recommends it (--amp --amp-dtype bfloat16 --channels-last) and, in several processes,
in DistributedDataParallel with its own distributed sampler. All configurations take turns, each
time in processes of their own, which warm up and then time their steps. The batch is the same in
all, shared among the processes; so are the processors and the workers that load images. Time
waiting is what a step waits for its batch.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

from against_timm import BATCH, CLASSES, PHOTOS, SIZE, arrange

from fleetnet.measuring import spread, turns
from fleetnet.training.launch import Launch
from fleetnet.training.launch_environment import Launched

WARM_UP = 4
NETWORKS = {"fleetnet": "mobilenetv2_100", "timm": "mobilenetv2_100"}


class Measured(NamedTuple):
    """What one configuration did in one round."""

    images_per_s: float
    waiting: float
    """Share of the time."""


class Stopwatch:
    """Times steps, and how long they wait for their batches."""

    def __init__(self) -> None:
        self.waited = 0.0

    def waiting(self, batches: Iterator[Any]) -> Any:
        """Return the next batch."""
        started = time.perf_counter()
        batch = next(batches)
        self.waited += time.perf_counter() - started
        return batch


def endless(of_epoch: Any) -> Iterator[Any]:
    """Yield the batches of one epoch after another."""
    epoch = 1
    while True:
        yield from of_epoch(epoch)
        epoch += 1


def fleetnet_steps(folder: Path, ranks: Any, workers: int, watch: Stopwatch) -> Any:
    """Return a function that takes one step of Fleetnet's."""
    from fleetnet.data.sources import open_source
    from fleetnet.training.recipe import Recipe
    from fleetnet.training.trainer import Trainer

    # A step loads what timm's defaults load: crops from 8 % of the area, a flip, colours by 0.4.
    recipe = Recipe.load(
        overrides=[
            f"batch_size={BATCH}",
            f"data.workers={workers}",
            "data.val_fraction=0.01",
            "augment.min_scale=0.08",
            "augment.color_jitter=0.4",
        ]
    )
    source = open_source(str(folder))
    trainer = Trainer(source, NETWORKS["fleetnet"], recipe, folder / "unused", ranks=ranks)
    trainer.train_step.begin_epoch(1)
    batches = endless(trainer.train_loader.batches)
    number = 0

    def step() -> int:
        nonlocal number
        batch = watch.waiting(batches)
        number += 1
        images = sum(told[0] for told in ranks.told(len(batch.labels)))
        return int(trainer.train_step.take([batch], number, images=[images]).result().images)

    return step


def timm_steps(folder: Path, ranks: Any, workers: int, watch: Stopwatch) -> Any:
    """Return a function that takes one step of timm's loop."""
    sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "tests" / "weights"))
    from peers import declare_torchvision_operators

    declare_torchvision_operators()
    import timm
    import torch
    from timm.data import create_dataset, create_loader
    from timm.loss import LabelSmoothingCrossEntropy
    from timm.optim import create_optimizer_v2
    from timm.utils import ModelEmaV3

    network = timm.create_model(NETWORKS["timm"], num_classes=CLASSES).train()
    network = network.to(memory_format=torch.channels_last)
    ema = ModelEmaV3(network, decay=0.998)
    optimizer = create_optimizer_v2(network, opt="sgd", lr=0.01, weight_decay=2e-5, momentum=0.9)
    loss_of = LabelSmoothingCrossEntropy(0.1)
    loader = create_loader(
        create_dataset("", root=str(folder), is_training=True),
        input_size=(3, SIZE, SIZE),
        batch_size=BATCH // ranks.size,
        is_training=True,
        num_workers=workers,
        device=torch.device("cpu"),
        use_prefetcher=False,
        persistent_workers=False,
        distributed=ranks.size > 1,
    )
    shared = network if ranks.size == 1 else torch.nn.parallel.DistributedDataParallel(network)
    batches = endless(lambda _: iter(loader))

    def step() -> int:
        images, labels = watch.waiting(batches)
        images = images.contiguous(memory_format=torch.channels_last)
        with torch.autocast("cpu", torch.bfloat16):
            loss = loss_of(shared(images), labels)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        ema.update(network)
        loss.item()
        return len(labels) * int(ranks.size)

    return step


def run_one(which: str, folder: Path, steps: int, workers: int, result: Path) -> None:
    """Measure one configuration in this process, which may be one of several."""
    from fleetnet.training.ranks import joined

    watch = Stopwatch()
    with joined(Launched.found()) as ranks:
        make = fleetnet_steps if which == "fleetnet" else timm_steps
        step = make(folder, ranks, workers // ranks.size, watch)
        for _ in range(WARM_UP):
            step()
        watch.waited = 0.0
        started = time.perf_counter()
        images = sum(step() for _ in range(steps))
        seconds = time.perf_counter() - started
        if ranks.is_first:
            result.write_text(json.dumps([images / seconds, watch.waited / seconds]))


def measured(which: str, processes: int, place: Path, arguments: argparse.Namespace) -> Measured:
    """Measure one configuration in processes of its own."""
    result = place / "result.json"
    command = [sys.executable, "-W", "ignore", __file__, str(place / "images"), "--one", which]
    command += ["--steps", str(arguments.steps), "--workers", str(arguments.workers)]
    code = Launch([*command, "--result", str(result)], processes, restarts=0, say=print).run()
    if code:
        sys.exit(f"{which} in {processes} processes ended with exit code {code}")
    return Measured(*json.loads(result.read_text()))


def main() -> None:
    """Run all configurations in turns and print Markdown."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", nargs="?", type=Path, default=PHOTOS)
    parser.add_argument("--steps", type=int, default=16)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--workers", type=int, default=2, help="of all processes together")
    parser.add_argument("--processes", type=int, nargs="+", default=[1, 2])
    parser.add_argument("--one", choices=list(NETWORKS), help=argparse.SUPPRESS)
    parser.add_argument("--result", type=Path, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.one:
        run_one(
            arguments.one, arguments.folder, arguments.steps, arguments.workers, arguments.result
        )
        return
    if not any(arguments.folder.glob("*.JPEG")):
        sys.exit(f"no .JPEG photographs in {arguments.folder}: give a folder of some")
    with tempfile.TemporaryDirectory() as folder:
        arrange(arguments.folder, Path(folder) / "images")
        keys = [(which, count) for count in arguments.processes for which in NETWORKS]
        found: dict[tuple[str, int], list[Measured]] = {key: [] for key in keys}
        for key in turns(keys, arguments.rounds):
            found[key].append(measured(*key, Path(folder), arguments))
    print("| | processes | images/s | time waiting for images |\n| --- | ---: | ---: | ---: |")
    for (which, count), rounds in found.items():
        speed = spread([one.images_per_s for one in rounds]).with_range(".1f")
        waiting = spread([one.waiting for one in rounds]).median
        print(f"| {which} | {count} | {speed} | {waiting:.0%} |", flush=True)


if __name__ == "__main__":
    main()
