"""The contract of a task, which defines the forward pass, the loss and the figures."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import NamedTuple, Protocol, get_args, runtime_checkable

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from fleetnet.bundle import Activation
from fleetnet.errors import FleetnetError
from fleetnet.training.recipe import Recipe
from fleetnet.training.validation import Logits, Validation

Forward = Callable[[Tensor], Tensor]
"""The network in training, in the recipe's precision: normalised pixels, ``float32[N, H, W, 3]``,
to logits, ``float32[N, K]``."""


class BatchLoss(NamedTuple):
    """The loss of a batch, on the device, without waiting for it."""

    loss: Tensor
    """``float32[]``, the mean over the images, from which gradients are computed."""
    hits: Tensor
    """``int64[]``, for how many images the most probable class is one of theirs."""


class Task(Protocol):
    """From batches to a loss, and from logits to figures.

    A task has no state that changes from step to step. It draws random numbers only from the
    generator that it is given or from PyTorch's global one. So an interrupted run resumes exactly.
    """

    activation: Activation
    """How logits become probabilities; stored in the checkpoint and the bundle."""

    def loss(
        self, forward: Forward, pixels: Tensor, labels: Tensor, rng: np.random.Generator
    ) -> BatchLoss:
        """Compute the loss of one batch, without waiting for the device.

        Args:
            forward: the network.
            pixels: ``float32[N, H, W, 3]``, normalised, on the device; may be changed in place.
            labels: ``int64[N]``, or ``float32[N, K]`` of multi-label data, on the device.
            rng: the random generator of this batch, on the processor.
        """
        ...

    def validate(self, logits: Logits, labels: npt.NDArray[np.generic]) -> Validation:
        """Measure the held-out images.

        Args:
            logits: ``float32[N, K]``, of the weights that would be exported.
            labels: as in :meth:`loss`.
        """
        ...


@runtime_checkable
class SampleTask(Protocol):
    """A task whose loss depends on which images a batch has; it is asked for this one then."""

    def loss_of_samples(
        self,
        forward: Forward,
        pixels: Tensor,
        labels: Tensor,
        indices: Tensor,
        rng: np.random.Generator,
    ) -> BatchLoss:
        """Compute the loss of one batch, as :meth:`Task.loss`.

        Args:
            forward: as there.
            pixels: likewise.
            labels: likewise.
            rng: likewise.
            indices: ``int64[N]``, of the images in the source, on the processor.
        """
        ...


def loss_of(
    task: Task,
    forward: Forward,
    pixels: Tensor,
    labels: Tensor,
    indices: Tensor,
    rng: np.random.Generator,
) -> BatchLoss:
    """Return a task's loss of a batch, as :meth:`SampleTask.loss_of_samples` if it has that."""
    if isinstance(task, SampleTask):
        return task.loss_of_samples(forward, pixels, labels, indices, rng)
    return task.loss(forward, pixels, labels, rng)


@dataclass(frozen=True)
class TaskSetup:
    """What a task may depend on.

    Attributes:
        recipe: of the run.
        classes: names of the classes.
        counts: training images of each class.
        multi_label: whether images have any number of classes.
        device: that the network is on.
        network: that is trained, to look into; its answers come from what the task is given.
        samples: how many images the source has; None if not known.
        labelled: how many of them, the first ones, have labels of their own; None for all.
    """

    recipe: Recipe
    classes: tuple[str, ...]
    counts: Sequence[int]
    multi_label: bool
    device: torch.device
    network: nn.Module | None = None
    samples: int | None = None
    labelled: int | None = None


MakeTask = Callable[[TaskSetup], Task]


def task_of(make_task: MakeTask, setup: TaskSetup) -> Task:
    """Make a run's task.

    Raises:
        FleetnetError: the bundle would have no way from its logits to probabilities.
    """
    task = make_task(setup)
    activation, known = getattr(task, "activation", None), get_args(Activation)
    if activation not in known:
        raise FleetnetError(
            f"the task's activation is {activation!r}; it must be {' or '.join(known)}"
        )
    return task
