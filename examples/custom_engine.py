"""Answer with a runtime of your own.

python examples/custom_engine.py IMAGE…

Fleetnet reads the images, prepares the pixels and ranks the classes; the engine does the rest. This
one needs no network: it answers with the colour that an image has most of. Yours would call an
accelerator, a server or another library in ``run``.
"""

import sys
from collections.abc import Iterable, Iterator

import numpy as np

from fleetnet import Classifier, Preprocess
from fleetnet.inference.engines import Engine, Logits, Pixels

CLASSES = ("red", "green", "blue")


class MostColour(Engine):
    """Gives each class its colour's mean, from 0 to 1, as its logit."""

    name = "most-colour"
    precision = "fp32"
    threads = 1
    version = "1"

    def run(self, pixels: Pixels) -> Logits:
        """Map ``uint8[N, H, W, 3]``, preprocessed RGB, to logits ``float32[N, 3]``."""
        means: Logits = pixels.mean(axis=(1, 2), dtype=np.float32)
        return means / np.float32(255)

    def run_all(self, batches: Iterable[Pixels]) -> Iterator[Logits]:
        """Map batches as ``run`` does, in order, one after another."""
        return map(self.run, batches)

    def close(self) -> None:
        """Let go of nothing: there is nothing."""


def main(*images: str) -> None:
    """Print each image's main colour."""
    # resize: the short side; crop: the square in the middle, which the engine gets.
    preprocess = Preprocess(resize=256, crop=224)
    classifier = Classifier.from_engine(MostColour(), preprocess, CLASSES)
    for prediction in classifier.predict(images):
        print(prediction.source, prediction.label if prediction.ok else prediction.error)


if __name__ == "__main__":
    main(*sys.argv[1:])
