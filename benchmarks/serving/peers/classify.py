"""From a file to the five best classes as people write it: Pillow, and the graph in ONNX Runtime.

The graph is the one that Fleetnet's server computes, which takes ``uint8[1, 224, 224, 3]`` and
normalises by itself, so that everybody computes the same.
"""

from __future__ import annotations

import io
import os

import numpy as np
import onnxruntime
from PIL import Image

RESIZE, CROP = 256, 224


class Model:
    """The network, for any number of threads."""

    def __init__(self) -> None:
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = int(os.environ.get("NETWORK_THREADS", "0"))
        self.session = onnxruntime.InferenceSession(
            os.environ["MODEL"], options, providers=["CPUExecutionProvider"]
        )
        self.name = self.session.get_inputs()[0].name

    def pixels(self, data: bytes) -> np.ndarray:
        """Decode, resize the short side and take the middle."""
        return self.fitted(Image.open(io.BytesIO(data)))

    def fitted(self, image: Image.Image) -> np.ndarray:
        """Resize the short side of a decoded image and take the middle."""
        image = image.convert("RGB")
        scale = RESIZE / min(image.size)
        image = image.resize(
            (round(image.width * scale), round(image.height * scale)), Image.Resampling.BILINEAR
        )
        left, top = (image.width - CROP) // 2, (image.height - CROP) // 2
        return np.asarray(image.crop((left, top, left + CROP, top + CROP)))

    def logits(self, pixels: np.ndarray) -> np.ndarray:
        """Compute a batch, ``uint8[N, 224, 224, 3]``."""
        return self.session.run(None, {self.name: pixels})[0]

    def top(self, logits: np.ndarray) -> list[dict[str, float]]:
        """Name the five best classes of one image."""
        exponents = np.exp(logits - logits.max())
        probabilities = exponents / exponents.sum()
        best = np.argsort(-probabilities)[:5]
        return [{"index": int(i), "probability": float(probabilities[i])} for i in best]

    def __call__(self, data: bytes) -> list[dict[str, float]]:
        """Answer one image."""
        return self.top(self.logits(self.pixels(data)[None])[0])
