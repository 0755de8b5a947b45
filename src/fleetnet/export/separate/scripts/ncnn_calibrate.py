"""Measure on images.npy what each layer with weights takes, into ranges.npy.

A number for each layer, in the order they run: what 127 stands for in int8.
"""

import sys
from pathlib import Path

import ncnn_network
import numpy as np

BINS = 2048
folder = Path(sys.argv[1])
images = np.load(folder / "images.npy")
network = ncnn_network.load(folder, keep=True)
names, _ = ncnn_network.weighted(folder)


def rows(image):
    """Return the magnitudes of what each layer takes."""
    return map(np.abs, ncnn_network.values(network, image, names))


def best(counts, largest):
    """Return the range with the least mean squared error: what is cut off, and what is rounded."""
    width = largest / BINS
    middles = (np.arange(BINS) + 0.5) * width
    ends = np.arange(BINS // 16, BINS + 1) * width
    cut = np.maximum(middles - ends[:, None], 0) ** 2 @ counts
    # Of a step, an error that is as often one as another has a twelfth of its square.
    inside = (middles < ends[:, None]) @ counts * (ends / 127) ** 2 / 12
    return ends[np.argmin(cut + inside)]


largest = np.max([[row.max() for row in rows(image)] for image in images], axis=0)
counts = np.zeros((len(names), BINS))
for image in images:
    for place, row in enumerate(rows(image)):
        if largest[place] > 0:
            # What is zero already is exact.
            bins = (row[row > 0] * (BINS / largest[place])).astype(np.int64)
            counts[place] += np.bincount(np.minimum(bins, BINS - 1), minlength=BINS)
pairs = zip(counts, largest)  # noqa: B905
np.save(folder / "ranges.npy", np.array([best(*pair) if pair[1] > 0 else 0.0 for pair in pairs]))
