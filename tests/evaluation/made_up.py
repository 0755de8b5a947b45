"""Sources, answers and facts of our own making."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from fleetnet.data.sources import Sample
from fleetnet.errors import ImageError
from fleetnet.evaluation.about import About
from fleetnet.evaluation.evaluate import Evaluation
from samples import draw, encode


class MadeUpSource:
    """Images drawn when they are read, of any names and labels; some that cannot be read."""

    shards = None

    def __init__(
        self,
        classes: Sequence[str],
        labels: Sequence[tuple[int, ...]],
        *,
        multi_label: bool = False,
        names: Sequence[str] | None = None,
        unreadable: Sequence[int] = (),
    ) -> None:
        self.classes = tuple(classes)
        self.multi_label = multi_label
        self.description = "made-up images"
        self.spec = {"data": "nowhere"}
        names = names or [f"{number:04d}.jpg" for number in range(len(labels))]
        self.samples = tuple(Sample(name, label) for name, label in zip(names, labels, strict=True))
        self._unreadable = set(unreadable)

    def size(self, index: int) -> int | None:
        return None

    def read(self, index: int) -> bytes:
        if index in self._unreadable:
            raise ImageError("it is gone")
        kind = ("circle", "square", "stripes")[index % 3]
        return encode(draw(kind, np.random.default_rng(index)))


def single(
    images: int, classes: Sequence[str], seed: int = 0, **options: object
) -> tuple[Evaluation, MadeUpSource]:
    """A classifier that is right on about two images of three."""
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, len(classes), images)
    logits = rng.normal(size=(images, len(classes))).astype(np.float32)
    logits[np.arange(images), labels] += 2.0
    source = MadeUpSource(classes, [(int(label),) for label in labels], **options)  # type: ignore[arg-type]
    return Evaluation(tuple(classes), logits, labels, np.arange(images)), source


def multi(images: int, classes: Sequence[str], seed: int = 0) -> tuple[Evaluation, MadeUpSource]:
    """The same, of any number of classes an image."""
    rng = np.random.default_rng(seed)
    truth = rng.random((images, len(classes))) < 0.4
    logits = (rng.normal(size=truth.shape) + np.where(truth, 1.5, -1.5)).astype(np.float32)
    labels = [tuple(map(int, np.flatnonzero(row))) for row in truth]
    source = MadeUpSource(classes, labels, multi_label=True)
    return Evaluation(tuple(classes), logits, truth, np.arange(images)), source


def about(**changes: object) -> About:
    facts = {
        "model": "MobileNetV2_x0_25",
        "part": "all made-up images",
        "engine": "openvino 1, fp32, 1 thread",
        "command": "fleetnet evaluate x y",
        "made": "2025-01-01 00:00 UTC",
        "version": "0",
    }
    return About(**{**facts, **changes})  # type: ignore[arg-type]
