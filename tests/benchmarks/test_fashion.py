"""Fashion-MNIST's files become folders of images."""

import gzip
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from benchmarks.auto.fashion import NAMES, read_idx, write_folders


def packed(values: np.ndarray) -> bytes:
    head = bytes([0, 0, 8, values.ndim]) + np.array(values.shape, ">u4").tobytes()
    return gzip.compress(head + values.astype(np.uint8).tobytes())


def test_images_are_read_and_written_a_folder_a_class(tmp_path: Path) -> None:
    images = np.arange(20 * 4 * 3).reshape(20, 4, 3).astype(np.uint8)
    labels = np.arange(20) % 10
    read = read_idx(packed(images))
    assert (read == images).all()
    write_folders(tmp_path, read, read_idx(packed(labels)), 1)
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted(NAMES)
    assert [path.name for path in (tmp_path / "bag").iterdir()] == ["00008.png"]
    with Image.open(tmp_path / "bag" / "00008.png") as image:
        assert (np.asarray(image) == images[8]).all()


def test_other_files_are_refused() -> None:
    with pytest.raises(ValueError, match="IDX"):
        read_idx(gzip.compress(b"\1\2\3\4"))
