"""What trained networks answer in full int8, over several seeds, and how long that takes.

    python -m benchmarks.int8.full FOLDER [--data elpv] [--label defect] [--upright] [--side 128]
        [--networks MobileNetV2 ReXNet_1_0] [--epochs 5] [--seeds 0 1 2] [--bits 7 8]
        [--tuned EPOCHS] [--set KEY=VALUE...] [--json FILE] [--latency-only]
        [--clock processor|wall]

For each seed, which decides on the split and on all training, each network is trained, exported and
quantised as ``fleetnet quantize --agreement 0.99`` does it: training images calibrate, all held-out
ones judge. With ``--tuned`` it is also fine-tuned for int8 before, on its training images, as
``--train`` does it. The table has what the network with all of its layers in int8 answers, and how
many layers had to stay in fp32 for 99 %; and how many of the networks the usual guard, which counts
what is lost, lets pass as they are. In the end all are timed in turns, on one thread; what
int8 takes is compared with what ONNX Runtime takes in fp32. What is done stays in FOLDER, and the
same command goes on; ``--latency-only`` repeats the timing alone: do that on a quiet machine.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import torch

from benchmarks.distillation.few_labels import STUDENTS, TURNED, train
from benchmarks.int8.answers import exported, finetuned, quantized
from benchmarks.int8.shown import VARIANTS, table, variant_of
from benchmarks.smaller.latency import timed
from benchmarks.smaller.trained import small_images
from benchmarks.studies import ENGINES, begun, label_of, save, study_parser
from fleetnet.data.sources import Source
from fleetnet.inference.comparison import machine

NETWORKS = ("MobileNetV2", "ReXNet_1_0")
SETTLED = ("data", "label", "upright", "side", "epochs", "settings")
"""What may not differ between a start and the next; there may be more to train."""


def main(words: Sequence[str] | None = None) -> None:
    """Run the study as the command line, or ``words`` in its place, asks for it."""
    told = _parsed(words)
    told.folder.mkdir(parents=True, exist_ok=True)
    file = told.json or told.folder / "figures.json"
    figures = begun(file, {name: getattr(told, name) for name in SETTLED}, "networks")
    if not told.latency_only:
        torch.set_num_threads(1)
        source = small_images(told.folder, told.data, told.label, told.side)
        for seed in told.seeds:
            for network in told.networks:
                _fill(figures, f"{seed}/{network}", told, source, file)
    _time(figures, told.folder, told.rounds, told.clock)
    save(figures, file)
    print(table(figures))


def _parsed(words: Sequence[str] | None) -> argparse.Namespace:
    parser = study_parser((__doc__ or "").partition("\n")[0], side=128, epochs=5)
    parser.add_argument("--networks", nargs="+", default=NETWORKS)
    parser.add_argument("--set", action="append", default=[], dest="settings", metavar="KEY=VALUE")
    parser.add_argument("--bits", type=int, nargs="+", choices=(7, 8), default=[7, 8])
    parser.add_argument("--tuned", type=int, default=0, metavar="EPOCHS", help="of fine-tuning")
    told = parser.parse_args(words)
    told.label = label_of(told)
    return told


def _fill(
    figures: dict[str, Any], key: str, told: argparse.Namespace, source: Source, file: Path
) -> None:
    """Train a network that has no figures yet, and quantise it as far as that is not done."""
    seed, _, network = key.partition("/")
    run, bundle = told.folder / key, told.folder / f"{key}.bundle"
    if key not in figures["networks"]:
        print(key, flush=True)
        settings = (*(() if told.upright else TURNED), *STUDENTS, *told.settings)
        train(run, told.folder / "images", network, told.side, int(seed), told.epochs, *settings)
        figures["networks"][key] = exported(run, bundle, source, ENGINES)
        save(figures, file)
    known = figures["networks"][key]["int8"]
    for bits in told.bits:
        for epochs in dict.fromkeys((0, told.tuned)):
            variant = variant_of(bits, tuned=epochs > 0)
            missing = [name for name in told.engines if f"{name}-{variant}" not in known]
            if not missing:
                continue
            print(f"{key} in int8, {variant}", flush=True)
            learnt = finetuned(bundle, source, bits, epochs) if epochs else None
            place = told.folder / int8_of(key, variant)
            for engine in missing:
                known[f"{engine}-{variant}"] = quantized(
                    bundle, place, source, engine, bits, learnt
                )
                save(figures, file)


def int8_of(key: str, variant: str) -> str:
    """Return where a network's bundle in int8 is, in the folder of the study."""
    return f"{key}-{variant}.bundle"


def _time(figures: dict[str, Any], folder: Path, rounds: int, clock: str) -> None:
    """Time all networks that have figures, in turns, beside ONNX Runtime in fp32."""
    if not figures["networks"]:
        sys.exit("nothing to time: begin without --latency-only")
    offers = {name: (folder / name, own) for name, _, own in _offers(figures)}
    fp32 = {name: (before, "onnxruntime/fp32") for name, before, _ in _offers(figures)}
    times = timed(offers, lambda name, _: fp32[name], rounds, clock)
    figures["timed"] = {
        "machine": machine(),
        "clock": clock,
        "rounds": rounds,
        "latency": times,
    }


def _offers(figures: dict[str, Any]) -> Iterator[tuple[str, str, list[str]]]:
    """Yield the bundles of a study, each with that in fp32, and what is timed of it."""
    for key, one in figures["networks"].items():
        before = f"{key}.bundle"
        yield before, before, list(one["fp32"])
        for variant in VARIANTS:
            made = [name for name in ENGINES if "kept" in one["int8"].get(f"{name}-{variant}", {})]
            if made:
                yield int8_of(key, variant), before, [f"{name}/int8" for name in made]


if __name__ == "__main__":
    main()
