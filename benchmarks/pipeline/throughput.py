"""A folder of photographs by the pipeline and by plain loops, in interleaved rounds.

python benchmarks/pipeline/throughput.py [FOLDER] [--megapixels 12] [--model MobileNetV2]
    [--precision fp32] [--threads 2] [--rounds 7]
"""

from __future__ import annotations

import argparse
import tempfile
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import NamedTuple

import numpy as np
import onnxruntime
from material import machine, parser, photographs, untrained, write_enlarged
from PIL import Image

from fleetnet.inference.classifier import Classifier
from fleetnet.measuring import elapsed, ratios, spread, turns
from fleetnet.preprocess import Preprocess

Contender = Callable[[list[Path]], int]


class Round(NamedTuple):
    """One contender's way through the folder."""

    images_per_s: float
    processor_ms: float
    """Of all threads, per image."""


def main() -> None:
    """Parse, measure and print."""
    options_parser = parser(__doc__, rounds=7, limit=120)
    options_parser.add_argument("--precision", default="fp32", help="of Fleetnet's own contenders")
    options_parser.add_argument("--threads", type=int, default=2)
    options = options_parser.parse_args()
    files = photographs(options.folder)[: options.limit]
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        if options.megapixels:
            files = write_enlarged(files, options.megapixels, folder)
        onnx = untrained(options.model, folder)
        rounds = measure(contenders(onnx, options), files, options.rounds)
    size = f" of {options.megapixels:g} megapixels" if options.megapixels else ""
    print(
        f"{len(files)} photographs{size}, {options.model}, {options.threads} threads, "
        f"{options.rounds} rounds in turns, {machine()}: median (lowest–highest)\n"
    )
    print(table(rounds))


def contenders(onnx: Path, options: argparse.Namespace) -> dict[str, Contender]:
    """Return what is compared, the plain loops first."""
    settings = {"threads": options.threads, "precision": options.precision}
    one_by_one = Classifier(onnx, **settings)
    exact = Classifier(onnx, mode="throughput", exact=True, **settings)
    fast = Classifier(onnx, mode="throughput", **settings)

    def count(classifier: Classifier) -> Contender:
        return lambda files: sum(prediction.ok for prediction in classifier.predict(files))

    def openvino_loop(files: list[Path]) -> int:
        return sum(len(one_by_one.engine.run(by_pillow(file)[None])) for file in files)

    return {
        "loop: Pillow, ONNX Runtime": onnxruntime_loop(onnx, options.threads),
        "loop: Pillow, OpenVINO": openvino_loop,
        "fleetnet --exact": count(exact),
        "fleetnet": count(fast),
    }


def onnxruntime_loop(onnx: Path, threads: int) -> Contender:
    """Return the usual script: open, resize, crop, run, one image after another."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    session = onnxruntime.InferenceSession(str(onnx), options, providers=["CPUExecutionProvider"])

    def loop(files: list[Path]) -> int:
        return sum(
            len(session.run(["logits"], {"pixels": by_pillow(file)[None]})[0]) for file in files
        )

    return loop


def by_pillow(file: Path) -> np.ndarray:
    """Decode, resize and crop as scripts around Pillow do."""
    preprocess = Preprocess()
    with Image.open(file) as opened:
        image = opened.convert("RGB")
    short = min(image.size)
    width, height = (preprocess.resize * side // short for side in image.size)
    image = image.resize((width, height), Image.Resampling.BILINEAR)
    left, top = (round((side - preprocess.crop) / 2) for side in (width, height))
    return np.asarray(image.crop((left, top, left + preprocess.crop, top + preprocess.crop)))


def measure(
    contenders: dict[str, Contender], files: list[Path], rounds: int
) -> dict[str, list[Round]]:
    """Return every round of every contender, after one that is not measured."""
    for contender in contenders.values():
        contender(files)
    found: dict[str, list[Round]] = {name: [] for name in contenders}
    for name in turns(contenders, rounds):
        images, time = elapsed(partial(contenders[name], files))
        found[name].append(Round(images / time.seconds, 1e3 * time.processor_seconds / images))
    return found


def table(rounds: dict[str, list[Round]]) -> str:
    """Return the figures as Markdown, with ratios to the first within a round."""
    lines = [
        "| | images/s | times | processor time, ms | times |",
        "| --- | ---: | ---: | ---: | ---: |",
    ]
    base = next(iter(rounds.values()))
    for name, own in rounds.items():
        rates, base_rates = ([one.images_per_s for one in row] for row in (own, base))
        busy, base_busy = ([one.processor_ms for one in row] for row in (own, base))
        columns = [
            spread(rates).with_range(".0f"),
            spread(ratios(rates, base_rates)).with_range(".2f"),
            spread(busy).with_range(".2f"),
            spread(ratios(base_busy, busy)).with_range(".2f"),
        ]
        lines.append(f"| {name} | {' | '.join(columns)} |")
    return "\n".join(lines)


if __name__ == "__main__":
    main()
