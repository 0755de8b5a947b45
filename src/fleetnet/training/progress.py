"""The progress of a run, and what it has measured."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from fleetnet.training.step_results import StepResult


@dataclass(frozen=True)
class EpochRecord:
    """What an epoch measured; one line of ``metrics.jsonl``.

    ``top1`` and ``top5`` are the shares of the held-out images for which one of their classes is
    the most probable, or among the five. ``mean_average_precision`` is only for multi-label data.
    """

    epoch: int
    lr: float
    train_loss: float
    train_top1: float
    top1: float
    top5: float
    images_per_s: float
    seconds: float
    mean_average_precision: float | None = None

    @property
    def score(self) -> float:
        """The figure that decides which epoch is best."""
        return self.top1 if self.mean_average_precision is None else self.mean_average_precision


def best_epoch(history: Sequence[EpochRecord]) -> EpochRecord | None:
    """Return the first epoch of the best score, None before the first."""
    return max(history, key=lambda record: record.score, default=None)


@dataclass
class Progress:
    """A position ``batch`` batches into epoch ``epoch``, which counts from 1."""

    epoch: int = 1
    batch: int = 0
    step: int = 0
    """Optimiser steps since the run began."""
    images: int = 0
    """Seen in the epoch at hand, as the sums below are of it."""
    loss_sum: float = 0.0
    hits: int = 0
    seconds: float = 0.0
    history: list[EpochRecord] = field(default_factory=list)

    def add(self, result: StepResult, batches: int, seconds: float) -> None:
        """Count one optimiser step."""
        self.batch += batches
        self.step += 1
        self.images += result.images
        self.loss_sum += result.loss * result.images
        self.hits += result.hits
        self.seconds += seconds

    @property
    def loss(self) -> float:
        """Mean loss of the epoch so far."""
        return self.loss_sum / self.images

    @property
    def train_top1(self) -> float:
        """Share of the epoch's images so far that were classified right during training."""
        return self.hits / self.images

    def end_epoch(self, record: EpochRecord) -> None:
        """Record what the epoch measured and begin the next."""
        self.history.append(record)
        self.epoch += 1
        self.batch, self.images, self.hits = 0, 0, 0
        self.loss_sum, self.seconds = 0.0, 0.0

    @property
    def best(self) -> EpochRecord | None:
        """The first epoch of the best score."""
        return best_epoch(self.history)

    def position(self) -> dict[str, Any]:
        """Return all but the history, as plain values for a checkpoint."""
        return {key: value for key, value in vars(self).items() if key != "history"}
