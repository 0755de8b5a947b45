"""A bundle tuned for one mode or several, and what was chosen for each."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import Any, get_args

from fleetnet.bundle import Bundle
from fleetnet.errors import unknown
from fleetnet.inference.engines import Mode, Pixels
from fleetnet.inference.judging import Judge
from fleetnet.inference.tuning import BUDGET_S, Tuning, tune
from fleetnet.inference.tuning_cache import TunedSettings, save_tuned
from fleetnet.reporting import Say

BOTH = "both"
"""In place of a mode: every mode."""


@dataclass(frozen=True)
class TuningResults:
    """What was measured, and what was chosen.

    Attributes:
        bundle: whose network.
        images: on how many images answers were compared.
        tunings: one for each mode.
        choices: of each, in the same order.
    """

    bundle: Bundle
    images: int
    tunings: tuple[Tuning, ...]
    choices: tuple[TunedSettings, ...]

    def to_json(self) -> dict[str, Any]:
        """Return everything as JSON values."""
        return {
            "bundle": str(self.bundle.path),
            "images": self.images,
            "modes": {
                tuning.mode: {
                    "choice": choice.model_dump(),
                    "trials": [trial.to_json() for trial in tuning.trials],
                }
                for tuning, choice in zip(self.tunings, self.choices, strict=True)
            },
        }


def modes_of(word: str) -> tuple[Mode, ...]:
    """Return the mode that a word names, or every mode for :data:`BOTH`.

    Raises:
        FleetnetError: it names none.
    """
    known: tuple[Mode, ...] = get_args(Mode)
    if word == BOTH:
        return known
    for mode in known:
        if mode == word:
            return (mode,)
    raise unknown("mode", word, (*known, BOTH))


def tune_modes(
    bundle: Bundle,
    pixels: Pixels,
    modes: Iterable[Mode],
    *,
    engines: Sequence[str] | None = None,
    on: Sequence[str] | None = None,
    threads: int | None = None,
    budget: float = BUDGET_S,
    judge: Judge | None = None,
    showing: Callable[[Mode], AbstractContextManager[Say]] = lambda _: nullcontext(lambda _: None),
) -> TuningResults:
    """Tune a bundle for each mode, and remember the choices for ``auto``.

    Args:
        bundle: as the other arguments, see :func:`fleetnet.inference.tuning.tune`.
        pixels: likewise.
        modes: to tune for.
        engines: likewise.
        on: likewise.
        threads: likewise.
        budget: likewise, for each mode.
        judge: likewise.
        showing: returns, for a mode, a context whose value is called with what is being tried.

    Raises:
        FleetnetError: as :func:`fleetnet.inference.tuning.tune`; no choice is remembered then.
    """
    tunings = []
    for mode in modes:
        with showing(mode) as say:
            tunings.append(
                tune(
                    bundle,
                    pixels,
                    mode,
                    engines=engines,
                    on=on,
                    threads=threads,
                    budget=budget,
                    judge=judge,
                    say=say,
                )
            )
    choices = tuple(save_tuned(bundle, tuning, threads) for tuning in tunings)
    return TuningResults(bundle, len(pixels), tuple(tunings), choices)
