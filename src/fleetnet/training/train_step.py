"""One optimiser step: gradients, clipping, scaling and the average; the task has the loss."""

from __future__ import annotations

import contextlib
import shutil
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

from fleetnet.data.batches import Batch
from fleetnet.data.seeds import generator
from fleetnet.errors import FleetnetError
from fleetnet.models.base import Network
from fleetnet.models.normalisation import Normalisation
from fleetnet.models.number_formats import DTYPES
from fleetnet.preprocess import Preprocess
from fleetnet.training.ema import MovingAverage
from fleetnet.training.freezing import freeze
from fleetnet.training.optimizers import build_optimizer, load_optimizer
from fleetnet.training.ranks import ONLY, Ranks
from fleetnet.training.recipe import Recipe
from fleetnet.training.schedules import Schedule
from fleetnet.training.step_results import StepOutput
from fleetnet.training.sync_norm import average_statistics, synchronise_norms
from fleetnet.training.task import BatchLoss, Task, loss_of


class TrainStep:
    """The network in training and everything that a step of it changes.

    Its state can be saved between any two steps. A step leaves its figures on the device and does
    not wait, except in fp16, which has to read once per step whether gradients overflowed.

    Args:
        network: already on its device.
        recipe: with its precision resolved.
        preprocess: gives the normalisation.
        task: what the network is trained to do.
        steps_per_epoch: optimiser steps.
        ranks: the processes that train it, each with its share of every batch. Their gradients are
            added up, so all of them take the same step.
    """

    def __init__(
        self,
        network: Network,
        recipe: Recipe,
        preprocess: Preprocess,
        task: Task,
        *,
        steps_per_epoch: int,
        ranks: Ranks = ONLY,
    ) -> None:
        self.recipe = recipe
        self.network = network
        self.task = task
        self.ranks = ranks
        self.device = next(network.parameters()).device
        self._synchronised = recipe.model.sync_norm and ranks.size > 1
        if self._synchronised:
            synchronise_norms(network)
        # Filters that lie channel by channel are what both the CPU's and CUDA's kernels like best.
        for parameter in network.parameters():
            if parameter.ndim == 4:
                parameter.data = parameter.data.contiguous(memory_format=torch.channels_last)
        self.ema = MovingAverage(network, recipe.ema.decay) if recipe.ema.decay else None
        self.optimizer = build_optimizer(network, recipe.optimizer)
        self.schedule = Schedule(recipe, steps_per_epoch)
        self.scaler = torch.amp.GradScaler(self.device.type, enabled=recipe.precision == "fp16")
        self._normalise = Normalisation(*preprocess.normalisation(), self.device)
        self._shared: DistributedDataParallel | None = None
        self._frozen = 0
        if recipe.compile:
            _check_compiler(self.device)
            network.compile()

    @property
    def evaluated(self) -> nn.Module:
        """The weights to evaluate and export: the moving average, if there is one."""
        return self.network if self.ema is None else self.ema.module

    def begin_epoch(self, epoch: int) -> None:
        """Freeze the stages that are frozen in ``epoch``, from 1; the rest is in training mode."""
        frozen = len(freeze(self.network, self.recipe.freeze, epoch))
        if self.ranks.size > 1 and (self._shared is None or frozen != self._frozen):
            # It exchanges the gradients of those parameters that train when it is made.
            self._shared = self.ranks.shared(self.network)
        self._frozen = frozen

    def take(
        self,
        batches: Sequence[Batch],
        step: int,
        lr: float | None = None,
        *,
        images: Sequence[int] | None = None,
    ) -> StepOutput:
        """Take optimiser step number ``step``, from 0, with the gradients of some batches.

        The batches are on the device or are copied there. ``lr`` replaces the schedule's, for a
        search for the learning rate. ``images`` says how many each batch has in all processes
        together; the figures are of those too.
        """
        lr = self.schedule.apply(self.optimizer, step, lr)
        own = tuple(len(batch.labels) for batch in batches)
        images = own if images is None else tuple(images)
        self.ranks.seed_noise(self.recipe.seed, step)
        losses, hits = [], []
        self.optimizer.zero_grad(set_to_none=True)
        for number, batch in enumerate(batches):
            rng = generator(self.recipe.seed, "mix", step, number)
            with self._exchanging(last=number == len(batches) - 1):
                found = self._loss(batch, rng)
                # The exchange takes the mean over the processes; the sum is wanted.
                share = own[number] / sum(images) * self.ranks.size
                self.scaler.scale(found.loss * share).backward()  # type: ignore[no-untyped-call]
            losses.append(found.loss.detach())
            hits.append(found.hits)
        self._update(sum(own) / sum(images))
        return self.ranks.summed(StepOutput(own, tuple(losses), tuple(hits), lr), images)

    def _exchanging(self, *, last: bool) -> contextlib.AbstractContextManager[None]:
        """Exchange gradients with other processes only in the last batch of a step."""
        if self._shared is None or last:
            return contextlib.nullcontext()
        held_back: contextlib.AbstractContextManager[None] = self._shared.no_sync()
        return held_back

    def _loss(self, batch: Batch, rng: np.random.Generator) -> BatchLoss:
        """Return the loss of a batch, or of this process's share of one, which may be empty."""
        pixels = self._normalised(batch.pixels)
        labels = batch.labels.to(self.device, non_blocking=True)
        if self.ranks.size == 1 or len(labels) > 1 or (len(labels) and self._synchronised):
            return loss_of(self.task, self._forward, pixels, labels, batch.indices, rng)
        if len(labels):
            # Of which the others could not be read: a second time, for the variance in batch norm.
            found = loss_of(
                self.task,
                self._forward,
                pixels.repeat(2, 1, 1, 1),
                torch.cat([labels, labels]),
                batch.indices.repeat(2),
                rng,
            )
            return BatchLoss(found.loss, found.hits // 2)
        # All processes have to take part in the exchange, with a loss of 0.
        if self._synchronised:
            loss = self._forward(pixels).sum() * 0
        else:
            with _evaluating(self.network):
                loss = self._forward(pixels.new_zeros(1, *pixels.shape[1:])).sum() * 0
        return BatchLoss(loss, torch.zeros((), dtype=torch.int64, device=self.device))

    def _normalised(self, pixels: Tensor) -> Tensor:
        return self._normalise.channels_last(pixels.to(self.device, non_blocking=True))

    def _forward(self, pixels: Tensor) -> Tensor:
        with torch.autocast(
            self.device.type,
            DTYPES[self.recipe.precision],
            enabled=self.recipe.precision != "fp32",
        ):
            # In memory the order is height, width, channel: permuted, that is already
            # channels_last.
            called = self.network if self._shared is None else self._shared
            logits: Tensor = called(pixels.permute(0, 3, 1, 2))
        return logits.float()

    def _update(self, part: float) -> None:
        """Take the step; ``part`` of its images were this process's."""
        if self.recipe.optimizer.clip_norm:
            self.scaler.unscale_(self.optimizer)
            nn.utils.clip_grad_norm_(self.network.parameters(), self.recipe.optimizer.clip_norm)
        self.scaler.step(self.optimizer)
        self.scaler.update()
        if self.ranks.size > 1 and not self._synchronised:
            average_statistics(self.network, part)
        if self.ema is not None:
            self.ema.update(self.network)

    def is_finite(self) -> bool:
        """Wait for the device and tell whether every weight is a number."""
        return bool(torch.stack([p.isfinite().all() for p in self.network.parameters()]).all())

    def state(self) -> dict[str, Any]:
        """Return everything except :attr:`evaluated` and the schedule."""
        return {
            "network": plain(self.network.state_dict()),
            "optimizer": self.optimizer.state_dict(),
            "scaler": self.scaler.state_dict(),
            "ema_updates": 0 if self.ema is None else self.ema.updates,
            "rng": torch.get_rng_state(),
            "cuda_rng": torch.cuda.get_rng_state_all() if self.device.type == "cuda" else [],
        }

    def load_state(self, state: dict[str, Any], evaluated: dict[str, Tensor]) -> None:
        """Restore what :meth:`state` returned and the weights of :attr:`evaluated`.

        Raises:
            KeyError, ValueError, RuntimeError: the state is not of this network and recipe.
        """
        self.network.load_state_dict(state["network"])
        load_optimizer(self.optimizer, state["optimizer"])
        self.scaler.load_state_dict(state["scaler"])
        if self.ema is not None:
            self.ema.module.load_state_dict(evaluated)
            self.ema.updates = int(state["ema_updates"])
        torch.set_rng_state(state["rng"])
        if self.device.type == "cuda":
            torch.cuda.set_rng_state_all(state["cuda_rng"])


@contextlib.contextmanager
def _evaluating(network: nn.Module) -> Iterator[None]:
    """Keep batch norms from gathering statistics in the block."""
    training = [module for module in network.modules() if module.training]
    network.eval()
    try:
        yield
    finally:
        for module in training:
            module.training = True


def plain(state: dict[str, Tensor]) -> dict[str, Tensor]:
    """Copy a state dict to the CPU in the ordinary memory format."""
    return {key: value.detach().cpu().contiguous() for key, value in state.items()}


def _check_compiler(device: torch.device) -> None:
    if device.type == "cpu" and not any(map(shutil.which, ("c++", "g++", "clang++", "cl"))):
        raise FleetnetError(
            "compile: torch.compile needs a C++ compiler here, and there is none: install one, "
            "or set compile=false",
            settings=["compile"],
        )
