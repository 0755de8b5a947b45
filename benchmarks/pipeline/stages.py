"""Where the time of one image goes, from its file to its answer, on one thread.

python benchmarks/pipeline/stages.py [FOLDER] [--megapixels 12] [--model MobileNetV2]
"""

from __future__ import annotations

import argparse
import tempfile
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import simplejpeg
from material import machine, parser, photographs, untrained, write_enlarged
from PIL import Image

from fleetnet.bundle import Bundle
from fleetnet.image_bytes import read_bytes
from fleetnet.images import OpenImage, opened
from fleetnet.inference.classifier import Classifier
from fleetnet.measuring import time_in_rounds
from fleetnet.preprocess import Preprocess


def main() -> None:
    """Parse, measure and print."""
    options = parser(__doc__, rounds=5, limit=40).parse_args()
    files = photographs(options.folder)
    files = files[:: max(1, len(files) // options.limit)]
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        if options.megapixels:
            files = write_enlarged(files, options.megapixels, folder)
        print(f"{len(files)} photographs, one thread, {machine()}: least of {options.rounds}\n")
        print("| stage | ms an image |\n| --- | ---: |")
        for stage, milliseconds in measure(files, options, folder):
            print(f"| {stage} | {milliseconds:.2f} |")


def measure(
    files: list[Path], options: argparse.Namespace, folder: Path
) -> list[tuple[str, float]]:
    """Return the time of each stage."""
    data = [read_bytes(file) for file in files]
    whole = [OpenImage(one).decode() for one in data]
    preprocess = Preprocess()
    inputs = [preprocess(image)[None] for image in whole]
    bundle = Bundle.load(untrained(options.model, folder))

    def shrunk(one: bytes) -> Any:
        image = OpenImage(one)
        return image.decode(preprocess.shrink_for(image.width, image.height))

    def by_pillow(one: bytes) -> Any:
        with opened(one) as image:
            return np.asarray(image.convert("RGB"))

    def flags(one: bytes) -> Any:
        return simplejpeg.decode_jpeg(one, "RGB", fastdct=True, fastupsample=True)

    stages: list[tuple[str, Callable[[Any], Any], Sequence[Any]]] = [
        ("read the file", read_bytes, files),
        ("read the header", OpenImage, data),
        ("decode, Pillow", by_pillow, data),
        ("decode, whole", lambda one: OpenImage(one).decode(), data),
        ("decode, whole, with fastdct and fastupsample (not used)", flags, data),
        ("decode, smaller where it may be", shrunk, data),
        ("to a Pillow image (part of the next)", Image.fromarray, whole),
        ("resize and crop, bilinear", preprocess, whole),
        ("resize and crop, bicubic", Preprocess(interpolation="bicubic"), whole),
        ("resize and crop, cv2-linear", Preprocess(interpolation="cv2-linear"), whole),
        ("file to input, --exact", lambda one: preprocess.from_bytes(read_bytes(one)), files),
        (
            "file to input",
            lambda one: preprocess.from_bytes(read_bytes(one), exact=False),
            files,
        ),
    ]
    for precision in ("fp32", "bf16"):
        try:
            engine = Classifier(bundle, threads=1, precision=precision).engine
        except Exception as error:
            print(f"({precision} left out: {error})\n")
            continue
        stages.append((f"network, {options.model}, OpenVINO {precision}", engine.run, inputs))
    return [
        (name, 1e3 * sum(least(call, items, options.rounds)) / len(items))
        for name, call, items in stages
    ]


def least(call: Callable[[Any], Any], items: Sequence[Any], rounds: int) -> list[float]:
    """Return the shortest time of each item: other work on the machine only adds to it."""
    work = {index: partial(call, item) for index, item in enumerate(items)}
    return [min(times) for times in time_in_rounds(work, rounds, warm_up=0).values()]


if __name__ == "__main__":
    main()
