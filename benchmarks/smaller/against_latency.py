"""Held-out accuracy against measured latency: width, pruning, distillation, and int8 of each.

    python -m benchmarks.smaller.against_latency FOLDER [--data elpv] [--label defect] [--upright]
        [--side 64] [--full MobileNetV2] [--weights NAME] [--narrower NAME...] [--epochs 12]
        [--seeds 0 1 2] [--json FILE] [--picture FILE.png] [--latency-only] [--clock processor|wall]

For each seed, which decides on the split and on all training, a full network is trained; narrower
published ones from scratch; the full one is pruned to the multiply-adds of each of those that it
can become as small as, and trained on; and each narrower one is distilled from the full one, for as
many epochs as without. Each is exported and quantised to int8 as the guard lets it. Top-1 is that
of the last epoch on the held-out images, as the engine computes it. In the end all networks of all
seeds are timed in turns. What is done stays in FOLDER, and the same command goes on;
`--latency-only` repeats the timing alone, in a minute or two: do that on a quiet machine.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

import torch

from benchmarks.smaller.answers import exported, in_int8
from benchmarks.smaller.latency import timed
from benchmarks.smaller.plan import FULL, Piece, Plan
from benchmarks.smaller.shown import draw, table
from benchmarks.smaller.trained import small_images, trained
from benchmarks.studies import begun, label_of, save, study_parser
from fleetnet.data.sources import Source
from fleetnet.inference.comparison import machine
from fleetnet.measuring import elapsed
from fleetnet.models.network import measure_structure
from fleetnet.training.checkpoint import Checkpoint

NARROWER = ("MobileNetV2_x0_5", "MobileNetV2_x0_25")
WORDS = {"processor": "processor time", "wall": "time"}


def main(words: Sequence[str] | None = None) -> None:
    """Run the study as the command line, or ``words`` in its place, asks for it."""
    arguments = _parsed(words)
    plan = _plan(arguments)
    arguments.folder.mkdir(parents=True, exist_ok=True)
    file = arguments.json or arguments.folder / "figures.json"
    figures = begun(file, plan.to_json(), "pieces")
    if not arguments.latency_only:
        torch.set_num_threads(1)
        _fill(figures, plan, arguments.folder, file)
    _time(figures, arguments.folder, arguments.rounds, arguments.clock)
    save(figures, file)
    print(table(figures))
    draw(figures, arguments.picture or file.with_suffix(".png"), WORDS[arguments.clock])


def _parsed(words: Sequence[str] | None) -> argparse.Namespace:
    parser = study_parser((__doc__ or "").partition("\n")[0], side=64, epochs=12)
    parser.add_argument("--full", default="MobileNetV2")
    parser.add_argument("--weights", help="that the full one starts from")
    parser.add_argument("--full-epochs", type=int, help="[--epochs]")
    parser.add_argument("--narrower", nargs="*", default=NARROWER)
    parser.add_argument("--tune-epochs", type=int, help="of a pruned one  [a third of --epochs]")
    parser.add_argument("--tune-set", action="append", default=[], metavar="KEY=VALUE")
    parser.add_argument("--picture", type=Path, help="[beside the JSON]")
    return parser.parse_args(words)


def _plan(told: argparse.Namespace) -> Plan:
    return Plan(
        data=told.data,
        label=label_of(told),
        upright=told.upright,
        side=told.side,
        full=told.full,
        weights=told.weights,
        full_epochs=told.full_epochs or told.epochs,
        narrower=tuple(told.narrower),
        epochs=told.epochs,
        tune_epochs=told.tune_epochs or max(round(told.epochs / 3), 1),
        tune_settings=tuple(told.tune_set),
        seeds=tuple(told.seeds),
        engines=tuple(told.engines),
    )


def _fill(figures: dict[str, Any], plan: Plan, folder: Path, file: Path) -> None:
    """Train what has no figures yet, then quantise what is not yet in int8; save after each."""
    source, known = small_images(folder, plan.data, plan.label, plan.side), figures["pieces"]
    for piece in plan.pieces(len(source.classes)):
        if piece.key not in known:
            print(piece.key, flush=True)
            known[piece.key] = _trained(plan, piece, folder, source)
            save(figures, file)
    for key, one in known.items():
        for engine in plan.engines:
            if engine not in one["kept"] and engine not in one["refused"]:
                print(f"{key} in int8, {engine}", flush=True)
                in_int8(folder / one["bundle"], source, engine, one)
                save(figures, file)


def _trained(plan: Plan, piece: Piece, folder: Path, source: Source) -> dict[str, Any]:
    checkpoint, spent = elapsed(partial(trained, plan, piece, folder, source))
    place = folder / f"{piece.key}.bundle"
    structure = measure_structure(Checkpoint.load(checkpoint).network(), size=plan.side)
    return {
        "seed": piece.seed,
        "road": piece.road,
        "network": piece.network,
        "bundle": str(place.relative_to(folder)),
        "macs": structure.macs,
        "parameters": structure.total,
        "seconds": round(spent.processor_seconds, 1),
        **exported(checkpoint, place, source, plan.engines),
    }


def _time(figures: dict[str, Any], folder: Path, rounds: int, clock: str) -> None:
    """Time all networks that have figures, in turns."""
    pieces = figures["pieces"]
    if not pieces:
        sys.exit("nothing to time: begin without --latency-only")
    full = {one["seed"]: key for key, one in pieces.items() if one["road"] == FULL}
    found = timed(
        {key: (folder / one["bundle"], list(one["answers"])) for key, one in pieces.items()},
        lambda key, offer: (full[pieces[key]["seed"]], f"{offer.partition('/')[0]}/fp32"),
        rounds,
        clock,
    )
    for key, times in found.items():
        pieces[key]["latency"] = times
    figures["timed"] = {"machine": machine(), "clock": clock, "rounds": rounds}


if __name__ == "__main__":
    main()
