"""Measure the ranges of all tensors of model.tflite on images.npy, into ranges.json."""

import json
import sys
from pathlib import Path

import numpy as np
from ai_edge_quantizer import quantizer, recipe

folder = Path(sys.argv[1])
settings = json.loads((folder / "settings.json").read_text("utf-8"))
batch = settings["batch"]
images = np.load(folder / "images.npy")
# The last batch is filled up with the first images.
images = np.resize(images, (-(-len(images) // batch) * batch, *images.shape[1:]))
if settings["floats"]:
    images = images.astype(np.float32)
given = [{"args_0": part} for part in images.reshape(-1, batch, *images.shape[1:])]
calibrating = quantizer.Quantizer(str(folder / "model.tflite"), recipe.static_wi8_ai8())
ranges = calibrating.calibrate({"serving_default": given}, num_threads=1)
written = {
    name: {bound: values.tolist() for bound, values in found.items()}
    for name, found in ranges.items()
}
if settings["floats"]:  # a step of 1, so that a byte less 128 is what the network takes
    written["serving_default_args_0"] = {"min": [[[[0.0]]]], "max": [[[[255.0]]]]}
(folder / "ranges.json").write_text(json.dumps(written), "utf-8")
