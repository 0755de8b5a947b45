"""A step of Fleetnet's loop and of timm's, on the same photographs, in one process or in several.

timm's train.py is not in its wheel, so its loop is put together from the parts that it calls:
create_loader with its default augmentation, create_model, create_optimizer_v2, LabelSmoothing and
ModelEmaV3; in several processes with its distributed sampler and DistributedDataParallel.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from fleetnet.training.ranks import ONLY, Ranks

PHOTOS = Path(__file__).resolve().parents[3] / "shared" / "data" / "photos"
BATCH, SIZE, CLASSES = 32, 224, 120
Step = Callable[[], int]
"""Takes a step and says how many images it had, in all processes together."""


def arrange(photos: Path, folder: Path, copies: int = 8) -> None:
    """Link the photographs, several times each, into class folders."""
    for number, photo in enumerate(sorted(photos.glob("*.JPEG"))):
        place = folder / f"{number:03d}"
        place.mkdir(parents=True)
        for copy in range(copies):
            # A byte more behind the end of each JPEG, or the split would keep the copies together.
            (place / f"{copy}.jpg").write_bytes(photo.read_bytes() + bytes([copy]))


class Stopwatch:
    """Times how long steps wait for their batches."""

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


def fleetnet_steps(
    folder: Path, name: str, workers: int, watch: Stopwatch, ranks: Ranks = ONLY
) -> Step:
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
    trainer = Trainer(open_source(str(folder)), name, recipe, folder / "unused", ranks=ranks)
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


def timm_steps(
    folder: Path,
    name: str,
    workers: int,
    watch: Stopwatch,
    ranks: Ranks = ONLY,
    *,
    tuned: bool = True,
) -> Step:
    """Return a function that takes one step of timm's loop.

    It runs as timm's documentation recommends it (--amp --amp-dtype bfloat16 --channels-last), or
    as train.py does when nothing is said (fp32, PyTorch's memory format).
    """
    _import_timm()
    import torch
    from timm.data import create_dataset, create_loader

    update = timm_update(name, ranks, tuned=tuned)
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
    batches = endless(lambda _: iter(loader))

    def step() -> int:
        images, labels = watch.waiting(batches)
        update(images, labels)
        return len(labels) * int(ranks.size)

    return step


def timm_update(
    name: str, ranks: Ranks = ONLY, *, tuned: bool = True
) -> Callable[[Any, Any], None]:
    """Return the part of timm's step that follows the loading of normalised images and labels."""
    _import_timm()
    import timm
    import torch
    from timm.loss import LabelSmoothingCrossEntropy
    from timm.optim import create_optimizer_v2
    from timm.utils import ModelEmaV3

    network = timm.create_model(name, num_classes=CLASSES).train()
    if tuned:
        network = network.to(memory_format=torch.channels_last)
    ema = ModelEmaV3(network, decay=0.998)
    optimizer = create_optimizer_v2(network, opt="sgd", lr=0.01, weight_decay=2e-5, momentum=0.9)
    loss_of = LabelSmoothingCrossEntropy(0.1)
    shared = network if ranks.size == 1 else torch.nn.parallel.DistributedDataParallel(network)

    def update(images: Any, labels: Any) -> None:
        if tuned:
            images = images.contiguous(memory_format=torch.channels_last)
        with torch.autocast("cpu", torch.bfloat16, enabled=tuned):
            loss = loss_of(shared(images), labels)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        ema.update(network)

    return update


def _import_timm() -> None:
    sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "tests" / "weights"))
    from peers import declare_torchvision_operators

    declare_torchvision_operators()
