"""One optimiser step: gradients, clipping, scaling and the average; the task has the loss."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from fleetnet.data.batches import Batch
from fleetnet.data.seeds import generator
from fleetnet.errors import FleetnetError
from fleetnet.models.base import Network
from fleetnet.models.normalisation import Normalisation
from fleetnet.models.number_formats import DTYPES
from fleetnet.preprocess import Preprocess
from fleetnet.training.ema import MovingAverage
from fleetnet.training.freezing import freeze
from fleetnet.training.optimizers import build_optimizer
from fleetnet.training.recipe import Recipe
from fleetnet.training.schedules import Schedule
from fleetnet.training.step_results import StepOutput
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
    """

    def __init__(
        self,
        network: Network,
        recipe: Recipe,
        preprocess: Preprocess,
        task: Task,
        *,
        steps_per_epoch: int,
    ) -> None:
        self.recipe = recipe
        self.network = network
        self.task = task
        self.device = next(network.parameters()).device
        # Filters that lie channel by channel are what both the CPU's and CUDA's kernels like best.
        for parameter in network.parameters():
            if parameter.ndim == 4:
                parameter.data = parameter.data.contiguous(memory_format=torch.channels_last)
        self.ema = MovingAverage(network, recipe.ema.decay) if recipe.ema.decay else None
        self.optimizer = build_optimizer(network, recipe.optimizer)
        self.schedule = Schedule(recipe, steps_per_epoch)
        self.scaler = torch.amp.GradScaler(self.device.type, enabled=recipe.precision == "fp16")
        self._normalise = Normalisation(*preprocess.normalisation(), self.device)
        if recipe.compile:
            _check_compiler(self.device)
            network.compile()

    @property
    def evaluated(self) -> nn.Module:
        """The weights to evaluate and export: the moving average, if there is one."""
        return self.network if self.ema is None else self.ema.module

    def begin_epoch(self, epoch: int) -> None:
        """Freeze the stages that are frozen in ``epoch``, from 1; the rest is in training mode."""
        freeze(self.network, self.recipe.freeze, epoch)

    def take(self, batches: Sequence[Batch], step: int, lr: float | None = None) -> StepOutput:
        """Take optimiser step number ``step``, from 0, with the gradients of some batches.

        The batches are on the device or are copied there. ``lr`` replaces the schedule's, for a
        search for the learning rate.
        """
        lr = self.schedule.apply(self.optimizer, step, lr)
        images = tuple(len(batch.labels) for batch in batches)
        losses, hits = [], []
        self.optimizer.zero_grad(set_to_none=True)
        for number, batch in enumerate(batches):
            rng = generator(self.recipe.seed, "mix", step, number)
            found = self._loss(batch, rng)
            share = images[number] / sum(images)
            self.scaler.scale(found.loss * share).backward()  # type: ignore[no-untyped-call]
            losses.append(found.loss.detach())
            hits.append(found.hits)
        self._update()
        return StepOutput(images, tuple(losses), tuple(hits), lr)

    def _loss(self, batch: Batch, rng: np.random.Generator) -> BatchLoss:
        pixels = self._normalised(batch.pixels)
        labels = batch.labels.to(self.device, non_blocking=True)
        return loss_of(self.task, self._forward, pixels, labels, batch.indices, rng)

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
            logits: Tensor = self.network(pixels.permute(0, 3, 1, 2))
        return logits.float()

    def _update(self) -> None:
        if self.recipe.optimizer.clip_norm:
            self.scaler.unscale_(self.optimizer)
            nn.utils.clip_grad_norm_(self.network.parameters(), self.recipe.optimizer.clip_norm)
        self.scaler.step(self.optimizer)
        self.scaler.update()
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
        self.optimizer.load_state_dict(state["optimizer"])
        self.scaler.load_state_dict(state["scaler"])
        if self.ema is not None:
            self.ema.module.load_state_dict(evaluated)
            self.ema.updates = int(state["ema_updates"])
        torch.set_rng_state(state["rng"])
        if self.device.type == "cuda":
            torch.cuda.set_rng_state_all(state["cuda_rng"])


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
