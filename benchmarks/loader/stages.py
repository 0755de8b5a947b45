"""Where the processor time of a training image goes, and what no decoder of whole blocks can save.

    python -m benchmarks.loader.stages [FOLDER] [--rounds 5] [--json FILE]

Each photograph goes through the steps of :meth:`fleetnet.data.augment.Augment.from_bytes` one after
another, on one thread: a crop of 8 to 100 % to 224 pixels. Decoding the whole image at an eighth of
its size is little but reading the Huffman codes of all blocks; what a crop needs of them, from the
top of the image to the bottom of the crop, has to be read by anybody.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

import simplejpeg
import torch

from benchmarks.rounds import report
from fleetnet.data.augment import random_crop_box, scale_box, shrink_for
from fleetnet.data.resize import crop_and_resize
from fleetnet.data.seeds import generator
from fleetnet.data.sound_image import open_sound
from fleetnet.image_bytes import read_bytes
from fleetnet.images import OpenImage

PHOTOS = Path(__file__).resolve().parents[3] / "shared" / "data" / "photos"
SIZE = 224
EIGHTH = {"min_height": 1, "min_width": 1, "min_factor": 8}
Result = TypeVar("Result")


class Laps:
    """Adds up processor time by what it was spent on."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = {}

    def timed(self, name: str, work: Callable[[], Result]) -> Result:
        """Return the result of some work, and count its time."""
        started = time.process_time()
        result = work()
        self.seconds[name] = self.seconds.get(name, 0.0) + time.process_time() - started
        return result


def one_round(contents: list[bytes], number: int) -> dict[str, float]:
    """Return the milliseconds of each step for an image."""
    laps = Laps()
    for index, data in enumerate(contents):
        one_image(data, index, number, laps)
    return {name: 1e3 * seconds / len(contents) for name, seconds in laps.seconds.items()}


def one_image(data: bytes, index: int, number: int, laps: Laps) -> None:
    """Take an image through all steps."""
    rng = laps.timed("generator", lambda: generator(0, "image", number, index, 0))
    image = laps.timed("header", lambda: open_sound(data))
    whole = (image.width, image.height)
    box = laps.timed("crop drawn", lambda: random_crop_box(*whole, 0.08, 4 / 3, rng))
    shrink = shrink_for(box, SIZE)
    part = scale_box(box, whole, image.size(shrink))
    pixels = laps.timed("crop decoded", lambda: image.decode_part(part, shrink))
    inside = (0, 0, pixels.shape[1], pixels.shape[0])
    laps.timed("resized", lambda: crop_and_resize(pixels, inside, SIZE, "bilinear", mirror=True))
    laps.timed("(header by Pillow)", lambda: OpenImage(data))
    laps.timed("(whole image decoded)", lambda: simplejpeg.decode_jpeg(data))
    laps.timed("(whole image at 1/8)", lambda: simplejpeg.decode_jpeg(data, **EIGHTH))


def main() -> None:
    """Measure and print Markdown."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("folder", nargs="?", type=Path, default=PHOTOS)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--json", type=Path, help="file for the figures of every round")
    arguments = parser.parse_args()
    contents = [read_bytes(file) for file in sorted(arguments.folder.glob("*.JPEG"))]
    if not contents:
        sys.exit(f"no .JPEG photographs in {arguments.folder}: give a folder of some")
    torch.set_num_threads(1)
    one_round(contents, 0)
    rounds = [one_round(contents, 1 + number) for number in range(arguments.rounds)]
    report(rounds, ("of an image", "processor time, ms"), ".2f", arguments.json)


if __name__ == "__main__":
    main()
