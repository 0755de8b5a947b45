"""Training the networks of a plan by Fleetnet's own commands, each where it was stopped."""

from __future__ import annotations

import shutil
from pathlib import Path

from benchmarks.distillation.few_labels import STUDENTS, TURNED, fleetnet, train, words
from benchmarks.smaller.plan import DISTILLED, FULL, PRUNED, Piece, Plan, folder_of
from fleetnet.data.sources import Source, open_source
from fleetnet.weights.subject import LAST

STARTED = ("optimizer.lr=0.0003", "schedule.warmup_epochs=0.2")
"""How a network with weights learns: nearer to where it starts."""
TAUGHT = ("distill.temperature=2", "distill.label_weight=0.5")
"""Hinton et al. (2015): answers softened, and the labels beside them."""


def small_images(folder: Path, data: str, label: str | None, side: int) -> Source:
    """Write a study's images no larger than they are needed, once, and open them."""
    place = folder / "images"
    if not (folder / "images-ready").exists():
        shutil.rmtree(place, ignore_errors=True)
        labelled = [] if label is None else ["--label", label]
        fleetnet("data", "shard", data, place, *labelled, "--max-side", side, "--workers", 1)
        (folder / "images-ready").touch()
    return open_source(str(place))


def trained(plan: Plan, piece: Piece, folder: Path, source: Source) -> Path:
    """Train a network, or go on with that, and return its last checkpoint."""
    run, data = folder_of(folder, piece), folder / "images"
    teacher = folder_of(folder, Piece(piece.seed, FULL, plan.full)) / LAST
    turned = () if plan.upright else TURNED
    if piece.road == FULL:
        own = STUDENTS if plan.weights is None else STARTED
        train(run, data, piece.network, plan.side, piece.seed, plan.full_epochs, *turned, *own,
              weights=plan.weights)  # fmt: skip
    elif piece.road == PRUNED:
        _prune(plan, teacher, run, data, plan.share(piece.network, len(source.classes)))
    elif piece.road == DISTILLED:
        settings = words(plan.side, piece.seed, plan.epochs, *turned, *STUDENTS, *TAUGHT)
        fleetnet("distill", data, "-t", teacher, "-m", piece.network, "-o", run, "--loss", "kl",
                 "--finetune-epochs", 0, "--look-up", "--log", "none", *settings)  # fmt: skip
        return run / "distilled" / LAST
    else:
        train(run, data, piece.network, plan.side, piece.seed, plan.epochs, *turned, *STUDENTS)
    return run / LAST


def _prune(plan: Plan, full: Path, run: Path, data: Path, share: float | None) -> None:
    if (run / LAST).exists():
        fleetnet("train", "--resume", run)
        return
    shutil.rmtree(run, ignore_errors=True)
    settings = [word for setting in plan.tune_settings for word in ("--set", setting)]
    fleetnet("prune", full, data, "--macs", share, "--epochs", plan.tune_epochs, "-o", run,
             "--log", "none", *settings)  # fmt: skip
