"""Answer pixels with model.ncnn.param and model.ncnn.bin, in fp32 arithmetic but for int8."""

import json
import sys
from pathlib import Path

import ncnn_network
import numpy as np
from channel import answer

folder = Path(sys.argv[1])
settings = json.loads((folder / "settings.json").read_text("utf-8"))


def load():
    """Return what maps pixels to logits, or to the values of all layers, one image at a time."""
    # What each layer's values were multiplied by; ncnn gives those in int8 as they are.
    scales = settings.get("layers")
    network = ncnn_network.load(folder, keep=bool(scales))
    names = ncnn_network.weighted(folder)[1] if scales else ["out0"]
    scales = scales or [1]

    def one(image):
        rows = ncnn_network.values(network, image, names)
        return np.concatenate([row / scale for row, scale in zip(rows, scales)])  # noqa: B905

    return lambda pixels: np.stack([one(image) for image in pixels])


answer(load)
