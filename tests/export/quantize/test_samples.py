import shutil
from pathlib import Path

import numpy as np
import pytest

from fleetnet.errors import DataError
from fleetnet.export.quantize.samples import draw_samples
from fleetnet.image_files import find_images
from fleetnet.inference.verify import prepare
from fleetnet.preprocess import Preprocess
from samples import make_folder

PREPROCESS = Preprocess(36, 32, mean=(0.4, 0.5, 0.6), std=(0.2, 0.25, 0.3))


def rows(pixels: np.ndarray) -> set[bytes]:
    return {row.tobytes() for row in pixels}


def test_no_image_is_for_calibration_and_validation(others: Path) -> None:
    samples = draw_samples(find_images([str(others)]), PREPROCESS)
    assert samples.calibration.shape == (20, 32, 32, 3)
    assert samples.validation.shape == (40, 32, 32, 3)
    assert not rows(samples.calibration) & rows(samples.validation)
    again = draw_samples(find_images([str(others)]), PREPROCESS)
    assert np.array_equal(samples.validation, again.validation)


def test_copies_and_damaged_files_are_left_out(others: Path, tmp_path: Path) -> None:
    shutil.copytree(others, tmp_path / "images")
    for number, path in enumerate(sorted(others.glob("circle/*"))[:5]):
        shutil.copy(path, tmp_path / "images" / f"copy{number}{path.suffix}")
    (tmp_path / "images" / "bad.jpg").write_bytes(b"bad")
    samples = draw_samples(find_images([str(tmp_path / "images")]), PREPROCESS)
    assert (samples.unreadable, samples.repeated) == (1, 5)
    assert len(samples.calibration) + len(samples.validation) == 60
    assert not rows(samples.calibration) & rows(samples.validation)


def test_no_more_are_read_than_asked_for(others: Path) -> None:
    done: list[int] = []
    samples = draw_samples(find_images([str(others)]), PREPROCESS, 12, 34, done.append)
    assert (len(samples.calibration), len(samples.validation)) == (12, 34)
    assert sum(done) == 46


def test_validation_has_images_of_every_class_though_folders_are_sorted(others: Path) -> None:
    samples = draw_samples(sorted(find_images([str(others)])), PREPROCESS, 10, 30)
    validation = rows(samples.validation)
    for folder in others.iterdir():
        assert validation & rows(prepare(sorted(folder.iterdir()), PREPROCESS))


def test_too_few_images_are_refused(tmp_path: Path) -> None:
    few = make_folder(tmp_path / "few", 14)
    (few / "bad.png").write_bytes(b"")
    with pytest.raises(DataError) as refused:
        draw_samples(find_images([str(few)]), PREPROCESS)
    message = str(refused.value)
    assert message.startswith("42 different images (1 cannot be read) are too few")
    assert "give 45 or more" in message
    with pytest.raises(DataError, match="16 different images"):
        draw_samples(find_images([str(few)]), PREPROCESS, 10, 10)
    with pytest.raises(DataError, match="0 different images"):
        draw_samples([str(few / "bad.png")], PREPROCESS)
