"""scikit-learn's digits become folders of images."""

from pathlib import Path

import numpy as np
from PIL import Image
from sklearn.datasets import load_digits

from benchmarks.pipeline.digits import write


def test_every_digit_is_in_the_folder_of_its_class(tmp_path: Path) -> None:
    write(tmp_path)
    files = sorted(tmp_path.glob("*/*.png"), key=lambda path: path.stem)
    found = load_digits()
    assert [int(path.parent.name) for path in files] == found.target.tolist()
    with Image.open(files[70]) as image:
        levels = np.asarray(image) / 255 * 16
    assert np.abs(levels - found.images[70]).max() < 0.04
