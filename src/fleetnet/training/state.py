"""The state of a run: everything that is saved, so that training resumes exactly."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import NamedTuple

from fleetnet.data.contents import NONE, Contents, Remembered
from fleetnet.training.checkpoint import Checkpoint
from fleetnet.training.progress import EpochRecord, Progress
from fleetnet.training.train_step import TrainStep, plain
from fleetnet.training.validation import AnyMetrics


class Found(NamedTuple):
    """What a process has found out about the images that it has seen."""

    unreadable: tuple[str, ...]
    trained: Contents
    held_out: Contents


class RunState:
    """Everything that changes during a run.

    Args:
        train_step: holds the network, the optimiser and the random numbers.
        trained_images: those that the initial weights were trained on.
    """

    def __init__(self, train_step: TrainStep, trained_images: Contents = NONE) -> None:
        self.train_step = train_step
        self.progress = Progress()
        self.unreadable: dict[str, None] = {}
        """A line for each unreadable image, in the order in which they were found."""
        self.trained_images = Remembered(trained_images)
        self.held_out_images = Remembered()
        self._remembers = True

    def found(self, *, keep: bool) -> Found:
        """Return what was found out about images, and forget it unless ``keep``."""
        found = Found(
            tuple(self.unreadable),
            self.trained_images.contents(),
            self.held_out_images.contents(),
        )
        if not keep:
            self.unreadable = {}
            self.trained_images, self.held_out_images = Remembered(), Remembered()
        return found

    def merge(self, others: Sequence[Found]) -> None:
        """Add what several processes have found out."""
        for found in others:
            self.unreadable.update(dict.fromkeys(found.unreadable))
            self.trained_images.add(found.trained)
            self.held_out_images.add(found.held_out)

    def checkpoint(self, run: Checkpoint, metrics: AnyMetrics | None) -> Checkpoint:
        """Return all of it as a checkpoint.

        Args:
            run: has what does not change: the network's name, the recipe, the data and so on.
            metrics: on the held-out images; None within an epoch.
        """
        training = self.train_step.state()
        training["progress"] = self.progress.position()
        training["unreadable"] = list(self.unreadable)
        return replace(
            run,
            state=plain(self.train_step.evaluated.state_dict()),
            epoch=self.progress.epoch - 1,
            metrics=metrics.to_json() if metrics else {},
            history=[vars(record) for record in self.progress.history],
            training=training,
            trained_images=self.trained_images.contents() if self._remembers else NONE,
            held_out_images=self.held_out_images.contents(),
        )

    def load(self, checkpoint: Checkpoint) -> None:
        """Restore what :meth:`checkpoint` returned, in this version or an older one.

        Raises:
            KeyError, TypeError, ValueError, RuntimeError, AttributeError: it is not of this network
                and recipe, or damaged.
        """
        self.train_step.load_state(checkpoint.training, checkpoint.state)
        history = [EpochRecord(**record) for record in checkpoint.history]
        self.progress = Progress(**checkpoint.training["progress"], history=history)
        self.unreadable = dict.fromkeys(map(str, checkpoint.training["unreadable"]))
        # If an older version began the run, the images it was trained on so far are unknown.
        self._remembers = self.progress.step == 0 or len(checkpoint.trained_images) > 0
        self.trained_images.add(checkpoint.trained_images)
        self.held_out_images.add(checkpoint.held_out_images)
