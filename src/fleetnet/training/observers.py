"""Who else is told how a run goes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from fleetnet.labels import printable
from fleetnet.training.loggers import Logger
from fleetnet.training.progress import EpochRecord

if TYPE_CHECKING:
    from fleetnet.training.trainer import Observer, Trainer

STEPS = 20
"""Loggers are told of every so many steps."""


class Together:
    """Several observers as one, told in their order."""

    def __init__(self, observers: Sequence[Observer]) -> None:
        self.observers = observers

    def start(self, run: Trainer) -> None:
        """Tell them all."""
        for observer in self.observers:
            observer.start(run)

    def epoch(self, number: int, images: int, done: int) -> None:
        """Tell them all."""
        for observer in self.observers:
            observer.epoch(number, images, done)

    def step(self, images: int, loss: float, top1: float, lr: float) -> None:
        """Tell them all."""
        for observer in self.observers:
            observer.step(images, loss, top1, lr)

    def done(self, record: EpochRecord) -> None:
        """Tell them all."""
        for observer in self.observers:
            observer.done(record)


class Logging:
    """Hands a run's figures on to loggers; enter it around the run, so that they end with it."""

    def __init__(self, loggers: Sequence[Logger]) -> None:
        self.loggers = loggers
        self._run: Trainer | None = None

    def __enter__(self) -> Logging:
        """Do nothing: loggers start with the run."""
        return self

    def __exit__(self, *_: object) -> None:
        """End the loggers, whether the run ended well or not."""
        best = self._run.progress.best if self._run else None
        summary = {"best_epoch": best.epoch, "best_top1": best.top1} if best else {}
        for logger in self.loggers:
            logger.finish(summary)

    def start(self, run: Trainer) -> None:
        """Start the loggers."""
        self._run = run
        settings = {
            "model": run.model,
            "data": run.source.description,
            "recipe": run.recipe.model_dump(mode="json"),
        }
        for logger in self.loggers:
            logger.start(printable(run.output.name), settings, run.output)

    def epoch(self, number: int, images: int, done: int) -> None:
        """Do nothing: an epoch is told of when it is done."""

    def step(self, images: int, loss: float, top1: float, lr: float) -> None:  # noqa: ARG002
        """Tell of some steps."""
        assert self._run is not None  # noqa: S101 - started before its first step
        progress = self._run.progress
        if progress.step % STEPS == 0:
            seen = self._run.train_loader.images * (progress.epoch - 1) + progress.images
            for logger in self.loggers:
                logger.step(progress.step, {"loss": loss, "top1": top1, "lr": lr, "images": seen})

    def done(self, record: EpochRecord) -> None:
        """Tell of the epoch."""
        figures = {key: value for key, value in vars(record).items() if value is not None}
        for logger in self.loggers:
            logger.epoch(figures)
