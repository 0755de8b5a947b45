"""What 'fleetnet train --auto' gives beside the default recipe in the same processor time.

    python benchmarks/auto/against_default.py FOLDER --data elpv --label defect --seconds 600
        [--seed 0] [--only auto|default] [--epochs N] [--size PIXELS] [--set KEY=VALUE...]
        [--json FILE]

The budget is processor time of this process, not time by the clock, so that whatever else runs on
the machine takes nothing from either; set OMP_NUM_THREADS=1, so that waiting threads do not either.
The default recipe, 'finetune' with MobileNetV2, gets as many epochs as the budget has room for,
rounded up, with its whole schedule in them; --epochs says how many, instead of timing one. --size
gives it images of another side than its own, such as the one that the search chose. Both hold out
the same images, and the figures are of the last epoch: nothing is chosen by them. What is done
stays in FOLDER, and a second start goes on.
"""

from __future__ import annotations

import argparse
import json
import math
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from fleetnet.data.sources import Source, SourceOptions, open_source
from fleetnet.export.bundle import export_bundle
from fleetnet.training.callbacks import Callback
from fleetnet.training.progress import EpochRecord
from fleetnet.training.recipe import Recipe
from fleetnet.training.search.halving import WINNER
from fleetnet.training.search.opening import open_search
from fleetnet.training.search.outcome import BUNDLE, PAGE, outcome
from fleetnet.training.search.tried_page import write_page
from fleetnet.training.shorthands import shorthands
from fleetnet.training.trainer import Trainer
from fleetnet.weights.subject import LAST

MODEL, RECIPE = "MobileNetV2", "finetune"


def main(words: Sequence[str] | None = None) -> None:
    """Run what the command line, or ``words`` in its place, asks for."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--data", default="elpv")
    parser.add_argument("--label")
    parser.add_argument("--seconds", type=float, default=600.0)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--only", choices=("auto", "default"))
    parser.add_argument("--epochs", type=int, help="of the default recipe")
    parser.add_argument("--size", type=int, help="of the images of the default recipe")
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE")
    parser.add_argument("--json", type=Path)
    arguments = parser.parse_args(words)
    source = open_source(arguments.data, options=SourceOptions(label=arguments.label))
    settings = ["data.workers=0", f"seed={arguments.seed}", *arguments.set]
    found: dict[str, Any] = {}
    if arguments.only != "default":
        found["auto"] = run_auto(source, arguments.folder / "auto", arguments.seconds, settings)
    if arguments.only != "auto":
        folder = arguments.folder / f"default{arguments.size or ''}"
        own = [*settings, *shorthands(None, arguments.size)]
        found["default"] = run_default(source, folder, arguments.seconds, own, arguments.epochs)
    print(json.dumps(found, indent=2), flush=True)
    if arguments.json:
        arguments.json.write_text(json.dumps(found, indent=2) + "\n")


def processor() -> float:
    """Return the seconds that this process has computed, those of its threads added up."""
    times = os.times()
    return times.user + times.system + times.children_user + times.children_system


class _Lines(Callback):
    """Prints a line an epoch."""

    def on_epoch_end(self, record: EpochRecord) -> None:
        print(f"  {record.epoch} {record.top1:.4f} {processor():.0f} s", flush=True)


def run_auto(source: Source, folder: Path, seconds: float, settings: list[str]) -> dict[str, Any]:
    """Search, train and export."""
    search = open_search(
        source, folder, seconds, settings, clock=processor, say=print, callback=_Lines()
    )
    if not search.state.finished:
        search.run()
        export_bundle(folder / WINNER / LAST, folder / BUNDLE, say=print)
        search.save()  # the page says how much time is spent
        write_page(folder / PAGE, search.state, str(folder / BUNDLE))
        search.state.finished = True
        search.save()
    result = outcome(search.state, folder)
    return {
        "processor_s": result["spent_s"],
        "top1": result["held_out"]["top1"],
        "images": result["held_out"]["images"],
        "best": result["best"]["candidate"],
        "tried": len(result["tried"]),
    }


def run_default(
    source: Source, folder: Path, seconds: float, settings: list[str], epochs: int | None
) -> dict[str, Any]:
    """Train the default recipe for as long, an epoch being timed first, which does not count."""
    if not (folder / LAST).exists():
        if epochs is None:
            each = _epoch_s(source, folder.with_name("timed"), settings)
            epochs = max(math.ceil(seconds / each), 1)
        recipe = Recipe.load(RECIPE, [*settings, f"epochs={epochs}"], MODEL)
        trainer = Trainer(source, MODEL, recipe, folder)
    else:
        trainer = Trainer.resumed(source, folder)
    begun = processor()
    result = trainer.fit([_Lines()])
    best = max(result.history, key=lambda record: record.top1)
    return {
        "processor_s": round(processor() - begun, 1),
        "top1": result.history[-1].top1,
        "best_epoch_top1": best.top1,
        "images": len(trainer.split.val),
        "epochs": len(result.history),
    }


def _epoch_s(source: Source, folder: Path, settings: list[str]) -> float:
    """Return the processor seconds of an epoch of the default recipe, after one to warm up."""
    recipe = Recipe.load(RECIPE, [*settings, "epochs=1"], MODEL)
    begun = processor()
    Trainer(source, MODEL, recipe, folder).fit()
    return processor() - begun


if __name__ == "__main__":
    main()
