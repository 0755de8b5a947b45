"""Finding a learning rate by trying many (Smith 2017)."""

from __future__ import annotations

import itertools
import math
from dataclasses import dataclass
from pathlib import Path

from fleetnet.errors import FleetnetError, require
from fleetnet.files import atomic_file
from fleetnet.plotting import quiet
from fleetnet.reporting import Advance
from fleetnet.training.step_results import READ_STEPS, StepOutput, StepResult, read_results
from fleetnet.training.trainer import Trainer

LOWEST, HIGHEST = 1e-5, 10.0
STEPS = 100
DIVERGED = 4.0
"""The search ends where the loss is this many times its lowest."""
_SMOOTHING = 0.9
_SETTLED = 5
"""Steps before the smoothed loss is meaningful."""
_FALL = 0.1
"""Smallest fall or rise that counts, as a share of the loss."""


@dataclass(frozen=True)
class LearningRates:
    """The result of a search for the learning rate.

    Attributes:
        rates: the learning rate of each step, growing geometrically.
        losses: the loss of each step, smoothed.
        suggestion: where the loss falls fastest, per decade of learning rate.
    """

    rates: tuple[float, ...]
    losses: tuple[float, ...]
    suggestion: float


def find_lr(
    trainer: Trainer, steps: int = STEPS, advance: Advance = lambda _: None
) -> LearningRates:
    """Train ``steps`` steps of a fresh run while the learning rate grows, and record the loss.

    This changes the trainer's network: start the run itself with another trainer.

    Args:
        trainer: a run that has not started.
        steps: how many learning rates to try.
        advance: called with 1 after each step, for a progress bar.

    Raises:
        FleetnetError: the loss is not a number from the start, or never changes.
    """
    try:
        search = _search(trainer, steps, advance)
    finally:
        trainer.train_loader.close()
    return LearningRates(
        tuple(search.rates), tuple(search.losses), suggest(search.rates, search.losses)
    )


def _search(trainer: Trainer, steps: int, advance: Advance) -> _Search:
    train_step = trainer.train_step
    train_step.begin_epoch(trainer.recipe.epochs)
    batches = itertools.chain.from_iterable(map(trainer.train_loader.batches, itertools.count(1)))
    readable = (batch for batch in batches if len(batch.labels) > 1)
    search = _Search()
    unread: list[StepOutput] = []
    for step, batch in enumerate(itertools.islice(readable, steps), 1):
        rate = LOWEST * (HIGHEST / LOWEST) ** ((step - 1) / max(steps - 1, 1))
        unread.append(train_step.take([batch], step - 1, lr=rate))
        advance(1)
        if step % READ_STEPS == 0 or step == steps:
            if not all(map(search.add, read_results(unread))):
                break
            unread.clear()
    return search


class _Search:
    """Smoothed losses at growing learning rates, until they diverge."""

    def __init__(self) -> None:
        self.rates: list[float] = []
        self.losses: list[float] = []
        self._average = 0.0

    def add(self, result: StepResult) -> bool:
        """Take a step's loss, and tell whether the search goes on."""
        self._average = _SMOOTHING * self._average + (1 - _SMOOTHING) * result.loss
        smooth = self._average / (1 - _SMOOTHING ** (len(self.losses) + 1))
        if not math.isfinite(result.loss):
            return False
        if self.losses and smooth > DIVERGED * min(self.losses):
            return False
        self.rates.append(result.lr)
        self.losses.append(smooth)
        return True


def suggest(rates: list[float], losses: list[float]) -> float:
    """Return the rate at which the smoothed loss falls fastest before its lowest point.

    If it hardly falls in so few steps, return a tenth of the rate at which it begins to rise.

    Raises:
        FleetnetError: it neither falls nor rises.
    """
    lowest = min(range(len(losses)), key=losses.__getitem__, default=0)
    # The first steps average too few batches to have a slope.
    falling = range(_SETTLED, lowest - 1)
    if falling and losses[lowest] < (1 - _FALL) * losses[_SETTLED]:
        return rates[min(falling, key=lambda index: losses[index + 1] - losses[index - 1])]
    for rate, loss in zip(rates[_SETTLED:], losses[_SETTLED:], strict=True):
        if loss > (1 + _FALL) * losses[_SETTLED]:
            return rate / 10
    raise FleetnetError(
        f"the loss changes at no learning rate from {LOWEST:g} to {HIGHEST:g}: look at the data "
        "(fleetnet data check) and the recipe"
    )


def plot(found: LearningRates, path: Path) -> None:
    """Draw the loss over the learning rate and mark the suggestion.

    Raises:
        FleetnetError: matplotlib is not installed, or the file cannot be written.
    """
    try:
        from matplotlib.figure import Figure
    except ModuleNotFoundError:
        raise require("matplotlib", "report", "drawing a plot") from None
    figure = Figure(figsize=(7, 4.2), layout="constrained")
    axes = figure.subplots()
    axes.plot(found.rates, found.losses, color="#0072b2")
    axes.axvline(found.suggestion, color="#d55e00", linestyle="--")
    axes.annotate(
        f"suggested: {found.suggestion:.2g}",
        (found.suggestion, 1),
        xycoords=("data", "axes fraction"),
        xytext=(6, -6),
        textcoords="offset points",
        color="#d55e00",
        verticalalignment="top",
    )
    axes.set_xscale("log")
    axes.set_ylim(top=min(max(found.losses), 2 * found.losses[0]) * 1.05)
    axes.set(xlabel="learning rate", ylabel="loss (smoothed)", title="Learning-rate search")
    quiet(axes)
    with atomic_file(path) as temporary:
        figure.savefig(temporary, format=path.suffix.lstrip(".") or "png", dpi=150)
