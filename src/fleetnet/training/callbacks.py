"""Callbacks of a training run, for a progress bar and loggers."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, NamedTuple

from fleetnet.training.progress import EpochRecord

if TYPE_CHECKING:
    from fleetnet.training.trainer import Trainer


class Figures(NamedTuple):
    """The progress of training, as last read from the device."""

    images: int
    """How many images were trained on since the last call."""
    loss: float
    """Mean over the epoch so far."""
    top1: float
    """Share of the epoch's images so far that were classified right during training."""
    lr: float
    """Of the last step."""


class Callback:
    """Does nothing; subclasses override what they need."""

    def on_train_start(self, run: Trainer) -> None:
        """Training begins, or goes on, after all checks."""

    def on_epoch_start(self, epoch: int, images: int, done: int) -> None:
        """Epoch ``epoch``, from 1, of ``images`` images begins, or goes on after ``done``."""

    def on_step(self, images: int, lr: float) -> None:
        """An optimiser step with so many images is done, or running on the device."""

    def on_figures(self, figures: Figures) -> None:
        """The steps' figures were read: every 20 steps, and a few times a second."""

    def on_epoch_end(self, record: EpochRecord) -> None:
        """The epoch is trained, validated and saved."""


class CallbackList(Callback):
    """Several callbacks as one, called in order."""

    def __init__(self, callbacks: Sequence[Callback]) -> None:
        self.callbacks = callbacks

    def on_train_start(self, run: Trainer) -> None:
        """Call all."""
        for callback in self.callbacks:
            callback.on_train_start(run)

    def on_epoch_start(self, epoch: int, images: int, done: int) -> None:
        """Call all."""
        for callback in self.callbacks:
            callback.on_epoch_start(epoch, images, done)

    def on_step(self, images: int, lr: float) -> None:
        """Call all."""
        for callback in self.callbacks:
            callback.on_step(images, lr)

    def on_figures(self, figures: Figures) -> None:
        """Call all."""
        for callback in self.callbacks:
            callback.on_figures(figures)

    def on_epoch_end(self, record: EpochRecord) -> None:
        """Call all."""
        for callback in self.callbacks:
            callback.on_epoch_end(record)
