"""Training on photographs, from files to weights: images/s of timm's parts and of Fleetnet.

    python benchmarks/training/against_timm.py [FOLDER] [--steps 16] [--rounds 3] [--workers 2]

timm's train.py is not in its wheel, so its loop is put together from the parts that it calls:
create_loader with its default augmentation, create_model, create_optimizer_v2, LabelSmoothing and
ModelEmaV3. It runs as train.py does when nothing is said (fp32, PyTorch's memory format), and as
its documentation recommends (--amp --amp-dtype bfloat16 --channels-last). Each configuration gets a
process of its own in each interleaved round, which warms up and then times its steps.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

from fleetnet.measuring import elapsed, ratios, spread, turns

PHOTOS = Path(__file__).resolve().parents[3] / "shared" / "data" / "photos"
BATCH, SIZE, CLASSES = 32, 224, 120
NETWORKS = {"mobilenetv2_100": "mobilenetv2_100", "rexnet_100": "ReXNet_1_0"}
"""timm's name and ours."""
WARM_UP = 5
CONFIGURATIONS = ("timm", "timm, amp and channels last", "fleetnet")


def timm_steps(folder: Path, name: str, workers: int, *, tuned: bool) -> Callable[[], int]:
    """Return a function that takes one step of timm's loop and says how many images it had."""
    sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "tests" / "weights"))
    from peers import declare_torchvision_operators

    declare_torchvision_operators()
    import timm
    import torch
    from timm.data import create_dataset, create_loader
    from timm.loss import LabelSmoothingCrossEntropy
    from timm.optim import create_optimizer_v2
    from timm.utils import ModelEmaV3

    device = torch.device("cpu")
    network = timm.create_model(name, num_classes=CLASSES).train()
    if tuned:
        network = network.to(memory_format=torch.channels_last)
    ema = ModelEmaV3(network, decay=0.998)
    optimizer = create_optimizer_v2(network, opt="sgd", lr=0.01, weight_decay=2e-5, momentum=0.9)
    loss_of = LabelSmoothingCrossEntropy(0.1)
    loader = create_loader(
        create_dataset("", root=str(folder), is_training=True),
        input_size=(3, SIZE, SIZE),
        batch_size=BATCH,
        is_training=True,
        num_workers=workers,
        device=device,
        use_prefetcher=False,
        persistent_workers=False,
    )
    batches = iter(loader)

    def step() -> int:
        nonlocal batches
        try:
            images, labels = next(batches)
        except StopIteration:
            batches = iter(loader)
            images, labels = next(batches)
        if tuned:
            images = images.contiguous(memory_format=torch.channels_last)
        with torch.autocast("cpu", torch.bfloat16, enabled=tuned):
            loss = loss_of(network(images), labels)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        ema.update(network)
        return len(labels)

    return step


def fleetnet_steps(folder: Path, name: str, workers: int) -> Callable[[], int]:
    """Return a function that takes one step of Fleetnet's loop."""
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
    trainer = Trainer(open_source(str(folder)), name, recipe, folder / "unused")
    trainer.learner.begin_epoch(1)
    number, epoch = 0, 1
    batches = trainer.train_loader.epoch(epoch)

    def step() -> int:
        nonlocal number, epoch, batches
        batch = next(batches, None)
        if batch is None:
            epoch += 1
            batches = trainer.train_loader.epoch(epoch)
            batch = next(batches)
        number += 1
        return trainer.learner.step([batch], number).images

    return step


def run_one(configuration: str, network: str, folder: Path, steps: int, workers: int) -> float:
    """Return images/s of one configuration, in this process."""
    if configuration == "fleetnet":
        step = fleetnet_steps(folder, NETWORKS[network], workers)
    else:
        step = timm_steps(folder, network, workers, tuned=configuration != "timm")
    for _ in range(WARM_UP):
        step()  # the workers have to be up too
    images, time = elapsed(lambda: sum(step() for _ in range(steps)))
    return images / time.seconds


def arrange(photos: Path, folder: Path, copies: int = 8) -> None:
    """Link the photographs, several times each, into class folders."""
    for number, photo in enumerate(sorted(photos.glob("*.JPEG"))):
        place = folder / f"{number:03d}"
        place.mkdir(parents=True)
        for copy in range(copies):
            # A byte more behind the end of each JPEG, or the split would keep the copies together.
            (place / f"{copy}.jpg").write_bytes(photo.read_bytes() + bytes([copy]))


def main() -> None:
    """Run all configurations in turns and print Markdown."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", nargs="?", type=Path, default=PHOTOS)
    parser.add_argument("--steps", type=int, default=16)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--network", action="append", choices=list(NETWORKS))
    parser.add_argument("--one", nargs=2, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.one:
        speed = run_one(*arguments.one, arguments.folder, arguments.steps, arguments.workers)
        print(json.dumps(speed))
        return
    if not any(arguments.folder.glob("*.JPEG")):
        sys.exit(f"no .JPEG photographs in {arguments.folder}: give a folder of some")
    import tempfile

    with tempfile.TemporaryDirectory() as place:
        arrange(arguments.folder, Path(place))
        print("| network | configuration | images/s | times |\n| --- | --- | ---: | ---: |")
        for network in arguments.network or NETWORKS:
            speeds: dict[str, list[float]] = {key: [] for key in CONFIGURATIONS}
            for key in turns(CONFIGURATIONS, arguments.rounds):
                speeds[key].append(in_a_process(key, network, place, arguments))
            for key, values in speeds.items():
                times = spread(ratios(values, speeds["timm"])).median
                speed = spread(values).with_range(".1f")
                print(f"| {network} | {key} | {speed} | {times:.2f} |", flush=True)


def in_a_process(key: str, network: str, place: str, arguments: argparse.Namespace) -> float:
    """Return images/s of one configuration in a process of its own."""
    command = [sys.executable, "-W", "ignore", __file__, place, "--one", key, network]
    command += ["--steps", str(arguments.steps), "--workers", str(arguments.workers)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        sys.exit(f"{key}: {done.stderr.strip().splitlines()[-1]}")
    return float(json.loads(done.stdout.strip().splitlines()[-1]))


if __name__ == "__main__":
    main()
