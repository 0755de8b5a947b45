"""The learning rate as a function of only the step, so that a resumed run needs no history."""

from __future__ import annotations

import math
from bisect import bisect_right

from torch.optim import Optimizer

from fleetnet.training.recipe import Recipe, ScheduleSettings

ONE_CYCLE_START = 1 / 25
"""Learning rate at the start of a one-cycle, as a share of its peak."""
ONE_CYCLE_MOMENTUM = (0.85, 0.95)
"""Momentum at the peak of the learning rate and at its ends (Smith and Topin 2019)."""


class Schedule:
    """Sets an optimiser's learning rate before each step.

    Args:
        recipe: its optimiser, schedule and epochs.
        steps_per_epoch: optimiser steps, not batches.
    """

    def __init__(self, recipe: Recipe, steps_per_epoch: int) -> None:
        self.settings: ScheduleSettings = recipe.schedule
        self.lr = recipe.lr
        self.steps_per_epoch = steps_per_epoch
        self.total = recipe.epochs * steps_per_epoch
        self.warmup = min(self.settings.warmup_epochs * steps_per_epoch, self.total)

    def lr_at(self, step: int) -> float:
        """Return the learning rate of step ``step``, counted from 0 over the whole run."""
        if step < self.warmup:
            share = (step + 1) / (self.warmup + 1)
            if self.settings.name == "one-cycle":
                return self.lr * _cosine(ONE_CYCLE_START, 1.0, share)
            return self.lr * share
        progress = min((step - self.warmup) / max(self.total - self.warmup, 1), 1.0)
        if self.settings.name == "step":
            return self._stepped(step)
        final = self.settings.final_lr
        if self.settings.name == "polynomial":
            left: float = (1 - progress) ** self.settings.power
            return final + (self.lr - final) * left
        return _cosine(self.lr, final, progress)

    def _stepped(self, step: int) -> float:
        epochs_done = step / self.steps_per_epoch
        drops = bisect_right(sorted(self.settings.milestones), epochs_done)
        if self.settings.every:
            # A small margin, so that a step at 2.4 epochs counts as 2.4.
            drops += math.floor(epochs_done / self.settings.every + 1e-9)
        return max(self.lr * self.settings.gamma**drops, self.settings.final_lr)

    def momentum_at(self, step: int) -> float | None:
        """Return the momentum of step ``step`` if the schedule changes it, else None."""
        if self.settings.name != "one-cycle":
            return None
        low, high = ONE_CYCLE_MOMENTUM
        if step < self.warmup:
            return _cosine(high, low, (step + 1) / (self.warmup + 1))
        return _cosine(low, high, (step - self.warmup) / max(self.total - self.warmup, 1))

    def apply(self, optimizer: Optimizer, step: int, lr: float | None = None) -> float:
        """Set the learning rate, and momentum if it changes; return the learning rate.

        ``lr``, if given, replaces the schedule's.
        """
        lr = self.lr_at(step) if lr is None else lr
        momentum = self.momentum_at(step)
        for group in optimizer.param_groups:
            group["lr"] = lr * group["lr_scale"]
            if momentum is None:
                continue
            if "momentum" in group:
                group["momentum"] = momentum
            else:
                group["betas"] = (momentum, *group["betas"][1:])
        return lr


def _cosine(start: float, end: float, progress: float) -> float:
    """Go from ``start`` to ``end`` along half a cosine (Loshchilov and Hutter 2017)."""
    return end + (start - end) * 0.5 * (1 + math.cos(math.pi * min(progress, 1.0)))
