"""What a search came to, as JSON values."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from fleetnet.training.search.halving import WINNER
from fleetnet.training.search.plan import spoken
from fleetnet.training.search.state import SearchState, Trial
from fleetnet.weights.subject import LAST

BUNDLE, PAGE = "model.bundle", "search.html"


def outcome(state: SearchState, folder: Path) -> dict[str, Any]:
    """Return what a finished search came to.

    ``held_out`` is measured on images that chose nothing; the figures under ``tried`` are of the
    inner images, by which candidates were compared.
    """
    last = state.last
    assert last is not None  # noqa: S101 - of a finished search
    return {
        "format": "fleetnet-train-auto",
        "format_version": 1,
        "budget_s": state.budget_s,
        "spent_s": round(state.spent_s, 3),
        "data": state.data,
        "best": described(state, last),
        "held_out": {"images": state.held_out_images, "top1": last.score},
        "inner": {"train_images": state.train_images, "val_images": state.val_images},
        "tried": [described(state, trial) for trial in state.trials],
        "not_tried": [state.candidates[place].title for place, _ in left_out(state)],
        "checkpoint": str(folder / WINNER / LAST),
        "bundle": str(folder / BUNDLE),
        "page": str(folder / PAGE),
    }


def described(state: SearchState, trial: Trial) -> dict[str, Any]:
    """Return a trial with the candidate that it is of."""
    candidate = state.candidates[trial.candidate]
    return {
        "candidate": candidate.title,
        **candidate._asdict(),
        "settings": list(candidate.settings),
        "lr": trial.lr,
        "round": trial.rung,
        "epochs": len(trial.points),
        "epochs_planned": trial.epochs,
        "seconds": round(trial.seconds, 3),
        "top1": trial.score,
        "ending": trial.ending,
    }


def left_out(state: SearchState) -> list[tuple[int, str]]:
    """Return the candidates that were not tried, by their places, and why not."""
    tried = {trial.candidate for trial in state.trials}
    found = []
    for place, cost in enumerate(state.epoch_s):
        if place in tried:
            continue
        known = "not measured" if cost is None else f"an epoch takes {spoken(cost)}"
        found.append((place, f"no time ({known})"))
    return found
