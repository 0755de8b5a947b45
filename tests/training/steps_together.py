"""Steps of one and of several processes on the same batches; prints JSON for a test.

steps_together.py MODEL PROCESSES ...
"""

from __future__ import annotations

import hashlib
import json
import sys
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from fleetnet.data.batches import Batch
from fleetnet.data.shares import Place, share
from fleetnet.models.registry import build_model
from fleetnet.preprocess import Preprocess
from fleetnet.training.classification import classification
from fleetnet.training.ranks import Ranks
from fleetnet.training.recipe import Recipe
from fleetnet.training.task import TaskSetup
from fleetnet.training.train_step import TrainStep
from samples import TINY
from training.forked import alone, ranks_of

CLASSES = 3
GROUPS = [(8, 5), (3, 2)]
"""Images of the batches of each step; the last are too few for every process."""
SYNCHRONISED = ["model.sync_norm=true", "augment.mixup=0.4", "augment.cutmix=0.4", "ema.decay=0.9"]


class Exact(TrainStep):
    """In double precision, in which other orders of the same sums do not show."""

    def _normalised(self, pixels: Tensor) -> Tensor:
        return super()._normalised(pixels).double()

    def _forward(self, pixels: Tensor) -> Tensor:
        logits: Tensor = (self._shared or self.network)(pixels.permute(0, 3, 1, 2))
        return logits


def made(kind: type[TrainStep], ranks: Ranks, settings: Sequence[str], model: str) -> TrainStep:
    torch.manual_seed(0)
    recipe = Recipe.load(overrides=[*TINY, "precision=fp32", "optimizer.clip_norm=1", *settings])
    setup = TaskSetup(
        recipe=recipe,
        classes=tuple("abc"),
        counts=[4] * CLASSES,
        multi_label=False,
        device=torch.device("cpu"),
    )
    network = build_model(model, CLASSES, dropout=0.0)
    step = kind(
        network.double() if kind is Exact else network,
        recipe,
        Preprocess(resize=36, crop=32),
        classification(setup),
        steps_per_epoch=len(GROUPS),
        ranks=ranks,
    )
    step.begin_epoch(1)
    return step


def batches(sizes: Sequence[int], seed: int) -> Iterator[Batch]:
    rng = np.random.default_rng(seed)
    for size in sizes:
        pixels = torch.from_numpy(rng.integers(0, 256, (size, 32, 32, 3), dtype=np.uint8))
        labels = torch.from_numpy(rng.integers(0, CLASSES, size))
        yield Batch(pixels, labels, (), torch.arange(size))


def part(whole: Batch, place: Place) -> Batch:
    rows = torch.from_numpy(share(len(whole.labels), place))
    return Batch(whole.pixels[rows], whole.labels[rows], (), whole.indices[rows])


def trained(ranks: Ranks, kind: type[TrainStep], settings: Sequence[str], model: str) -> Any:
    """Return the losses of some steps, the averaged weights, and a digest of all weights."""
    step = made(kind, ranks, settings, model)
    losses, hits = [], 0
    for number, sizes in enumerate(GROUPS):
        shares = [part(whole, ranks.place) for whole in batches(sizes, number)]
        result = step.take(shares, number, images=sizes).result()
        losses.append(result.loss)
        hits += result.hits
    state = {**step.network.state_dict(), **step.evaluated.state_dict(prefix="average.")}
    flat = torch.cat([one.double().flatten() for one in state.values() if one.is_floating_point()])
    return losses, hits, flat, hashlib.sha256(flat.numpy().tobytes()).hexdigest()


def accumulated() -> tuple[list[float], str]:
    """Return what one process makes of two shares as batches of their own."""
    step = made(TrainStep, Ranks(), ["ema.decay=0"], "MobileNetV2_x0_25")
    losses = []
    for number in range(3):
        (whole,) = batches([8], number)
        shares = [part(whole, Place(rank, 2)) for rank in range(2)]
        losses.append(step.take(shares, number).result().loss)
    return losses, digest_of_parameters(step)


def shared(ranks: Ranks) -> tuple[list[float], str]:
    """Return what two processes make of the same."""
    step = made(TrainStep, ranks, ["ema.decay=0"], "MobileNetV2_x0_25")
    losses = []
    for number in range(3):
        (whole,) = batches([8], number)
        found = step.take([part(whole, ranks.place)], number, images=[8])
        losses.append(found.result().loss)
    return losses, digest_of_parameters(step)


def digest_of_parameters(step: TrainStep) -> str:
    flat = torch.cat([value.detach().flatten() for value in step.network.parameters()])
    return hashlib.sha256(flat.numpy().tobytes()).hexdigest()


def compared(model: str, sizes: Sequence[int]) -> dict[str, Any]:
    one = trained(Ranks(), Exact, SYNCHRONISED, model)
    found: dict[str, Any] = {}
    for size in sizes:
        each = ranks_of(size, lambda ranks: trained(ranks, Exact, SYNCHRONISED, model))
        losses, hits, flat, _ = each[0]
        found[str(size)] = {
            "loss": float(np.max(np.abs(np.array(losses) / np.array(one[0]) - 1))),
            "hits": hits - one[1],
            "weights": float((flat - one[2]).abs().max()),
            "digests": len({digest for *_, digest in each}),
        }
    return found


if __name__ == "__main__":
    alone()
    result = {
        "exact": compared(sys.argv[1], [int(size) for size in sys.argv[2:]]),
        "accumulated": accumulated(),
        "shared": ranks_of(2, shared),
    }
    print(json.dumps(result))  # noqa: T201
