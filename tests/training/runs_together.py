"""Runs of several processes that are stopped, resumed, hung and refused; prints JSON for a test.

    runs_together.py DATA FOLDER PROCESSES ...

A run of two processes that was stopped is resumed by each of these numbers of them.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import signal
import sys
from pathlib import Path
from typing import Any

import torch

from fleetnet.data.sources import open_source
from fleetnet.errors import DataError, FleetnetError
from fleetnet.training.callbacks import Callback
from fleetnet.training.checkpoint import Checkpoint
from fleetnet.training.ranks import Ranks
from fleetnet.training.recipe import Recipe
from fleetnet.training.trainer import TrainResult, resume, train
from samples import TINY
from training.forked import alone, ranks_of

SETTINGS = [
    *TINY,
    "epochs=2",
    "precision=fp32",
    "model.dropout=0.2",
    "model.drop_path=0.2",
    "augment.mixup=0.4",
    "stop.patience=5",
]


class After(Callback):
    """Does something to one of the processes after some steps."""

    def __init__(self, ranks: Ranks, rank: int, steps: int, what: Any) -> None:
        self.left = steps if ranks.place.rank == rank else 0
        self.what = what

    def on_step(self, images: int, lr: float) -> None:
        self.left -= 1
        if self.left == 0:
            self.what()


def stop(number: signal.Signals) -> Any:
    return lambda: os.kill(os.getpid(), number)


def refuse() -> None:
    raise DataError("the disk is gone")


def begun(data: Path, output: Path, ranks: Ranks, *callbacks: Callback) -> Any:
    source = open_source(str(data))
    recipe = Recipe.load(overrides=SETTINGS)
    return told(
        train(source, "MobileNetV2_x0_25", recipe, output, callbacks=callbacks, ranks=ranks)
    )


def told(result: TrainResult) -> dict[str, Any]:
    """Return what all processes have to know alike, and what the first one does."""
    return {
        "losses": [record.train_loss for record in result.history],
        "top1": [record.top1 for record in result.history],
        "images": result.metrics.images,
        "unreadable": list(result.unreadable),
    }


def kept(output: Path) -> dict[str, Any]:
    """Return what a run has left."""
    saved = Checkpoint.load(output / "last.ckpt")
    flat = torch.cat([value.double().flatten() for value in saved.state.values()])
    return {
        "weights": hashlib.sha256(flat.numpy().tobytes()).hexdigest(),
        "trained": len(saved.trained_images),
        "held_out": len(saved.held_out_images),
        "epoch": saved.epoch,
        "step": saved.training["progress"]["step"],
    }


def shown(results: list[Any]) -> list[Any]:
    """Return errors as what they say, for JSON."""
    return [
        {"error": type(one).__name__, "says": str(one), "code": getattr(one, "exit_code", None)}
        if isinstance(one, FleetnetError)
        else one
        for one in results
    ]


def main(data: Path, folder: Path, sizes: list[int]) -> dict[str, Any]:
    whole, stopped = folder / "whole", folder / "stopped"
    found: dict[str, Any] = {
        "whole": shown(ranks_of(2, lambda ranks: begun(data, whole, ranks))),
        "stopped": shown(
            ranks_of(
                2,
                lambda ranks: begun(data, stopped, ranks, After(ranks, 1, 2, stop(signal.SIGTERM))),
            )
        ),
    }
    found["kept"] = {"whole": kept(whole), "stopped": kept(stopped)}
    for size in sizes:
        again = Path(shutil.copytree(stopped, folder / f"again-{size}"))
        found[f"again-{size}"] = shown(
            ranks_of(
                size,
                lambda ranks, again=again: told(  # type: ignore[misc]
                    resume(open_source(str(data)), again, ranks=ranks)
                ),
            )
        )
        found["kept"][f"again-{size}"] = kept(again)
    for name, what in (("refused", refuse), ("hung", stop(signal.SIGSTOP))):
        found[name] = shown(
            ranks_of(
                2,
                lambda ranks, name=name, what=what: begun(  # type: ignore[misc]
                    data, folder / name, ranks, After(ranks, 1, 2, what)
                ),
                timeout_s=15,
            )
        )
    return found


if __name__ == "__main__":
    alone()
    print(json.dumps(main(Path(sys.argv[1]), Path(sys.argv[2]), [*map(int, sys.argv[3:])])))  # noqa: T201
