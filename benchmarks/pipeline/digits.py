"""Write scikit-learn's 1,797 handwritten digits as folders of PNG files, a folder a class.

python benchmarks/pipeline/digits.py FOLDER

They have 8 by 8 pixels (Alpaydin and Kaynak 1998, from the UCI repository, CC BY 4.0).
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
from PIL import Image
from sklearn.datasets import load_digits

LEVELS = 16
"""Above black; a pixel counts the points of 4 by 4 that were drawn."""


def main() -> None:
    """Write the folder that the command line names."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("folder", type=Path)
    write(parser.parse_args().folder)


def write(folder: Path) -> None:
    """Write all digits, in the order in which they come."""
    found = load_digits()
    pixels = np.rint(found.images * (255 / LEVELS)).astype(np.uint8)
    for number, (image, label) in enumerate(zip(pixels, found.target, strict=True)):
        place = folder / str(label)
        place.mkdir(parents=True, exist_ok=True)
        Image.fromarray(image).save(place / f"{number:04d}.png")


if __name__ == "__main__":
    main()
