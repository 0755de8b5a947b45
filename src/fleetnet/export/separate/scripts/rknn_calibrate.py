"""Measure the ranges of all tensors of model.onnx on images.npy, into the parts of int8."""

import os
import sys
from pathlib import Path

import numpy as np
from rknn_network import GRAPH, Network

folder = Path(sys.argv[1])
os.chdir(folder)  # the parts are written where it runs, named as the graph is
names = []
for number, image in enumerate(np.load("images.npy")):
    names.append(f"{number:05}.npy")
    np.save(names[-1], image.transpose(2, 0, 1)[None].astype(np.float32))
Path("images.txt").write_text("".join(f"{name}\n" for name in names), "utf-8")
network = Network(folder)
network.call("load_onnx", GRAPH)
network.call("hybrid_quantization_step1", dataset="images.txt")
