"""Who else is told how a run goes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

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
        self._best: EpochRecord | None = None
        self._steps = 0
        self._images = 0

    def __enter__(self) -> Logging:
        """Do nothing: loggers start with the run."""
        return self

    def __exit__(self, *_: object) -> None:
        """End the loggers, whether the run ended well or not."""
        best = self._best
        summary = {"best_epoch": best.epoch, "best_top1": best.top1} if best else {}
        for logger in self.loggers:
            logger.finish(summary)

    def start(self, run: Trainer) -> None:
        """Start the loggers."""
        self._steps = run.progress.step
        self._images = run.train_loader.images * (run.progress.epoch - 1) + run.progress.images
        self._best = run.progress.best
        settings = {
            "model": run.model,
            "data": run.source.description,
            "recipe": run.recipe.model_dump(mode="json"),
        }
        for logger in self.loggers:
            logger.start(run.output.name, settings, run.output)

    def epoch(self, number: int, images: int, done: int) -> None:
        """Do nothing: an epoch is told of when it is done."""

    def step(self, images: int, loss: float, top1: float, lr: float) -> None:
        """Tell of some steps."""
        self._steps += 1
        self._images += images
        if self._steps % STEPS == 0:
            for logger in self.loggers:
                logger.step(
                    self._steps, {"loss": loss, "top1": top1, "lr": lr, "images": self._images}
                )

    def done(self, record: EpochRecord) -> None:
        """Tell of the epoch."""
        if self._best is None or record.score > self._best.score:
            self._best = record
        figures = {key: value for key, value in vars(record).items() if value is not None}
        for logger in self.loggers:
            logger.epoch(figures)
