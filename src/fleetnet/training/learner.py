"""The network in training, and everything that a step of it changes."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor, nn

from fleetnet.data.loader import Batch
from fleetnet.data.mix import Mix
from fleetnet.data.seeds import generator
from fleetnet.errors import FleetnetError
from fleetnet.models.base import Network
from fleetnet.preprocess import Preprocess
from fleetnet.training.average import averaged
from fleetnet.training.freezing import freeze
from fleetnet.training.losses import build_loss
from fleetnet.training.optimizers import build_optimizer
from fleetnet.training.precision import DTYPES
from fleetnet.training.recipe import AugmentSettings, Recipe
from fleetnet.training.schedules import Schedule


class StepResult(NamedTuple):
    """What one optimiser step saw."""

    images: int
    loss: float
    """Mean over the images."""
    hits: int
    """Images whose most probable class is (one of) theirs."""
    lr: float


class Learner:
    """One optimiser step at a time, in a state that can be saved between any two of them.

    Args:
        network: on its device already.
        recipe: with its precision resolved.
        preprocess: gives the normalisation.
        counts: training images of each class.
        multi_label: whether images have any number of classes.
        steps_per_epoch: optimiser steps.
    """

    def __init__(
        self,
        network: Network,
        recipe: Recipe,
        preprocess: Preprocess,
        *,
        counts: Sequence[int],
        multi_label: bool,
        steps_per_epoch: int,
    ) -> None:
        self.recipe = recipe
        self.network = network
        self.device = next(network.parameters()).device
        # Filters that lie channel by channel are what both the CPU's and CUDA's kernels like best.
        for parameter in network.parameters():
            if parameter.ndim == 4:
                parameter.data = parameter.data.contiguous(memory_format=torch.channels_last)
        self.ema = averaged(network, recipe.ema.decay)
        self.optimizer = build_optimizer(network, recipe.optimizer)
        self.schedule = Schedule(recipe, steps_per_epoch)
        self.scaler = torch.amp.GradScaler(self.device.type, enabled=recipe.precision == "fp16")
        self.loss = build_loss(recipe.loss, counts, multi_label=multi_label, device=self.device)
        self._mix = _mix(recipe.augment, len(counts))
        scale, shift = preprocess.normalisation()
        self._scale = torch.from_numpy(scale).to(self.device)
        self._shift = torch.from_numpy(shift).to(self.device)
        if recipe.compile:
            _check_compiler(self.device)
            network.compile()

    @property
    def evaluated(self) -> nn.Module:
        """The weights to evaluate and export: the moving average where one is kept."""
        if self.ema is None:
            return self.network
        module: nn.Module = self.ema.module
        return module

    def begin_epoch(self, epoch: int) -> None:
        """Freeze what is frozen in ``epoch``, from 1, and put the rest in training mode."""
        freeze(self.network, self.recipe.freeze, epoch)

    def step(self, batches: Sequence[Batch], step: int, lr: float | None = None) -> StepResult:
        """Take optimiser step number ``step``, from 0, with the gradients of some batches.

        ``lr`` overrules the schedule, for a search of the learning rate.
        """
        lr = self.schedule.apply(self.optimizer, step, lr)
        images = sum(len(batch.labels) for batch in batches)
        loss_sum, hits = 0.0, 0
        self.optimizer.zero_grad(set_to_none=True)
        for number, batch in enumerate(batches):
            rng = generator(self.recipe.seed, "mix", step, number)
            loss, right = self._forward(batch, rng)
            share = len(batch.labels) / images
            self.scaler.scale(loss * share).backward()  # type: ignore[no-untyped-call]
            loss_sum += float(loss.detach()) * len(batch.labels)
            hits += right
        self._update()
        return StepResult(images, loss_sum / images, hits, lr)

    def _forward(self, batch: Batch, rng: np.random.Generator) -> tuple[Tensor, int]:
        labels = batch.labels.to(self.device)
        pixels, targets = batch.pixels.to(self.device).float() * self._scale + self._shift, labels
        if self._mix is not None:
            pixels, targets = self._mix(pixels, labels, rng)
        with torch.autocast(
            self.device.type,
            DTYPES[self.recipe.precision],
            enabled=self.recipe.precision != "fp32",
        ):
            # The bytes lie height, width, channel: permuted, that is channels_last already.
            logits = self.network(pixels.permute(0, 3, 1, 2))
        logits = logits.float()
        return self.loss(logits, targets), _hits(logits.detach(), labels)

    def _update(self) -> None:
        if self.recipe.optimizer.clip_norm:
            self.scaler.unscale_(self.optimizer)
            nn.utils.clip_grad_norm_(self.network.parameters(), self.recipe.optimizer.clip_norm)
        self.scaler.step(self.optimizer)
        self.scaler.update()
        if self.ema is not None:
            self.ema.update_parameters(self.network)

    def is_finite(self) -> bool:
        """Tell whether every weight is a number."""
        return all(bool(value.isfinite().all()) for value in self.network.parameters())

    def state(self) -> dict[str, Any]:
        """Return everything but :attr:`evaluated` and the schedule, which the step determines."""
        return {
            "network": plain(self.network.state_dict()),
            "optimizer": self.optimizer.state_dict(),
            "scaler": self.scaler.state_dict(),
            "ema_updates": 0 if self.ema is None else int(self.ema.n_averaged),
            "rng": torch.get_rng_state(),
            "cuda_rng": torch.cuda.get_rng_state_all() if self.device.type == "cuda" else [],
        }

    def load_state(self, state: dict[str, Any], evaluated: dict[str, Tensor]) -> None:
        """Go on from what :meth:`state` returned and the weights of :attr:`evaluated`.

        Raises:
            KeyError, ValueError, RuntimeError: the state is not of this network and recipe.
        """
        self.network.load_state_dict(state["network"])
        self.optimizer.load_state_dict(state["optimizer"])
        self.scaler.load_state_dict(state["scaler"])
        if self.ema is not None:
            self.ema.module.load_state_dict(evaluated)
            self.ema.n_averaged.fill_(state["ema_updates"])
        torch.set_rng_state(state["rng"])
        if self.device.type == "cuda":
            torch.cuda.set_rng_state_all(state["cuda_rng"])


def plain(state: dict[str, Tensor]) -> dict[str, Tensor]:
    """Copy a state dict to the CPU in the ordinary memory format."""
    return {key: value.detach().cpu().contiguous() for key, value in state.items()}


def _mix(settings: AugmentSettings, classes: int) -> Mix | None:
    if not (settings.mixup or settings.cutmix):
        return None
    return Mix(settings.mixup, settings.cutmix, settings.mix_probability, classes)


def _hits(logits: Tensor, labels: Tensor) -> int:
    best = logits.argmax(1)
    if labels.is_floating_point():
        return int(labels.gather(1, best[:, None]).sum())
    return int((best == labels).sum())


def _check_compiler(device: torch.device) -> None:
    if device.type == "cpu" and not any(map(shutil.which, ("c++", "g++", "clang++", "cl"))):
        raise FleetnetError(
            "compile: torch.compile needs a C++ compiler here, and there is none: install one, or "
            "--set compile=false"
        )
