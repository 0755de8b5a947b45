"""What is called back as a run goes on; a progress bar and loggers hang on this."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, NamedTuple

from fleetnet.training.progress import EpochRecord

if TYPE_CHECKING:
    from fleetnet.training.trainer import Trainer


class Figures(NamedTuple):
    """Where training stands, as far as the device was asked."""

    images: int
    """How many were trained on since this was last told."""
    loss: float
    """Mean over the epoch so far."""
    top1: float
    """Share of the epoch's images so far that were right as they were trained on."""
    lr: float
    """Of the last step."""


class Callback:
    """Does nothing; a subclass does something where it likes."""

    def on_train_start(self, run: Trainer) -> None:
        """All is checked and training begins, or goes on."""

    def on_epoch_start(self, epoch: int, images: int, done: int) -> None:
        """Epoch ``epoch``, from 1, of ``images`` images begins, or goes on after ``done``."""

    def on_step(self, images: int, lr: float) -> None:
        """An optimiser step with so many images is done, or under way on its device."""

    def on_figures(self, figures: Figures) -> None:
        """What the steps saw was read: every 20 steps, and a few times a second."""

    def on_epoch_end(self, record: EpochRecord) -> None:
        """The epoch is trained, validated and saved."""


class CallbackList(Callback):
    """Several callbacks as one, called in their order."""

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
