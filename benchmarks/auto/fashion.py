"""Write some of Fashion-MNIST's images as folders of PNG files.

    apt-get download dataset-fashion-mnist && dpkg -x dataset-fashion-mnist_*.deb PLACE
    python benchmarks/auto/fashion.py PLACE/usr/share/datasets/fashion-mnist FOLDER [--images 4000]

The images are the first ones of each class of the training file (Xiao et al. 2017, MIT licence).
"""

from __future__ import annotations

import argparse
import gzip
from pathlib import Path

import numpy as np
import numpy.typing as npt
from PIL import Image

NAMES = (
    "t-shirt",
    "trouser",
    "pullover",
    "dress",
    "coat",
    "sandal",
    "shirt",
    "sneaker",
    "bag",
    "ankle-boot",
)
IMAGES, LABELS = "train-images-idx3-ubyte.gz", "train-labels-idx1-ubyte.gz"
_KIND, _TYPE = 3, 8
"""Bytes of an IDX file: the third is the type of its numbers, of which 8 is uint8."""


def main() -> None:
    """Write the folder that the command line names."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("files", type=Path)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--images", type=int, default=4000)
    arguments = parser.parse_args()
    images = read_idx((arguments.files / IMAGES).read_bytes())
    labels = read_idx((arguments.files / LABELS).read_bytes())
    write_folders(arguments.folder, images, labels, arguments.images // len(NAMES))


def read_idx(packed: bytes) -> npt.NDArray[np.uint8]:
    """Return the numbers of a gzipped IDX file.

    Raises:
        ValueError: it is none, or of another type than uint8.
    """
    content = gzip.decompress(packed)
    if content[:2] != b"\0\0" or content[_KIND - 1] != _TYPE:
        raise ValueError("not an IDX file of uint8")
    dimensions = content[_KIND]
    start = _KIND + 1 + 4 * dimensions
    shape = np.frombuffer(content[_KIND + 1 : start], ">u4")
    return np.frombuffer(content[start:], np.uint8).reshape(shape.tolist())


def write_folders(
    folder: Path, images: npt.NDArray[np.uint8], labels: npt.NDArray[np.uint8], each: int
) -> None:
    """Write the first images of each class, a folder for each."""
    for label, name in enumerate(NAMES):
        (folder / name).mkdir(parents=True, exist_ok=True)
        for index in np.flatnonzero(labels == label)[:each].tolist():
            Image.fromarray(images[index]).save(folder / name / f"{index:05d}.png")


if __name__ == "__main__":
    main()
