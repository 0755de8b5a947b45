"""Passing a run's figures on to loggers."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from fleetnet.labels import printable
from fleetnet.training.callbacks import Callback, Figures
from fleetnet.training.loggers import Logger
from fleetnet.training.progress import EpochRecord
from fleetnet.training.step_results import READ_STEPS

if TYPE_CHECKING:
    from fleetnet.training.trainer import Trainer


class LoggingCallback(Callback):
    """Logs epochs and every 20th step; enter it around the run, so that the loggers end with it."""

    def __init__(self, loggers: Sequence[Logger]) -> None:
        self.loggers = loggers
        self._run: Trainer | None = None

    def __enter__(self) -> LoggingCallback:
        """Do nothing: loggers start with the run."""
        return self

    def __exit__(self, *_: object) -> None:
        """End the loggers, whether the run ended well or not."""
        best = self._run.progress.best if self._run else None
        summary = {"best_epoch": best.epoch, "best_top1": best.top1} if best else {}
        for logger in self.loggers:
            logger.finish(summary)

    def on_train_start(self, run: Trainer) -> None:
        """Start the loggers."""
        self._run = run
        settings = {
            "model": run.model,
            "data": run.source.description,
            "recipe": run.recipe.model_dump(mode="json"),
        }
        for logger in self.loggers:
            logger.start(printable(run.output.name), settings, run.output)

    def on_figures(self, figures: Figures) -> None:
        """Log the figures of every 20th step."""
        assert self._run is not None  # noqa: S101 - started before its first step
        progress = self._run.progress
        if progress.step % READ_STEPS:
            return
        images = self._run.train_loader.images * (progress.epoch - 1) + progress.images
        values = {"loss": figures.loss, "top1": figures.top1, "lr": figures.lr, "images": images}
        for logger in self.loggers:
            logger.log_step(progress.step, values)

    def on_epoch_end(self, record: EpochRecord) -> None:
        """Log the epoch."""
        figures = {key: value for key, value in vars(record).items() if value is not None}
        for logger in self.loggers:
            logger.log_epoch(figures)
