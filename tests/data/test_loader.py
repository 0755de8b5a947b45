from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from fleetnet.data.augment import Augment, random_crop_box
from fleetnet.data.loader import Loader
from fleetnet.data.sources import open_source
from fleetnet.images import decode
from fleetnet.preprocess import Preprocess
from samples import make_folder

PREPROCESS = Preprocess(72, 64)


def loader(folder: Path, workers: int, *, augment: bool, batch_size: int = 5) -> Loader:
    source = open_source(str(folder))
    return Loader(
        source,
        np.arange(len(source.samples)),
        PREPROCESS,
        batch_size=batch_size,
        workers=workers,
        augment=Augment(PREPROCESS, color_jitter=0.3) if augment else None,
        seed=3,
    )


def epoch(loader: Loader, number: int) -> tuple[torch.Tensor, torch.Tensor]:
    batches = list(loader.epoch(number))
    pixels = torch.cat([batch.pixels for batch in batches])
    return pixels, torch.cat([batch.labels for batch in batches])


def test_epochs_are_the_same_whatever_the_number_of_workers(shapes: Path) -> None:
    alone, spread = loader(shapes, 0, augment=True), loader(shapes, 2, augment=True)
    for number in (1, 2):
        for one, other in zip(epoch(alone, number), epoch(spread, number), strict=True):
            assert torch.equal(one, other)


def test_epochs_differ_from_each_other(shapes: Path) -> None:
    data = loader(shapes, 0, augment=True)
    assert not torch.equal(epoch(data, 1)[1], epoch(data, 2)[1])
    assert torch.equal(epoch(data, 1)[0], epoch(data, 1)[0])


def test_evaluation_sees_images_in_order_as_inference_does(shapes: Path) -> None:
    source = open_source(str(shapes))
    pixels, labels = epoch(loader(shapes, 0, augment=False), 0)
    assert labels.tolist() == [sample.label for sample in source.samples]
    for index in range(len(source.samples)):
        assert np.array_equal(pixels[index].numpy(), PREPROCESS(decode(source.read(index))))


def test_a_remainder_of_one_is_left_out_of_training(shapes: Path) -> None:
    data = loader(shapes, 0, augment=True, batch_size=7)  # 36 = 5 * 7 + 1
    assert data.images == 35
    assert min(len(batch.labels) for batch in data.epoch(1)) == 7
    assert loader(shapes, 0, augment=False, batch_size=7).images == 36


def test_unreadable_images_are_named_and_left_out(tmp_path: Path) -> None:
    folder = make_folder(tmp_path / "d", 3)
    (folder / "circle" / "001.jpg").write_bytes(b"not an image")
    (folder / "square" / "002.jpg").write_bytes(b"")
    batches = list(loader(folder, 0, augment=False, batch_size=2).epoch(0))
    assert sum(len(batch.labels) for batch in batches) == 7
    named = sorted(line for batch in batches for line in batch.unreadable)
    assert named == [
        "circle/001.jpg: not an image in a known format",
        "square/002.jpg: the file is empty",
    ]


@settings(max_examples=200, deadline=None)
@given(
    st.integers(1, 400),
    st.integers(1, 400),
    st.floats(0.05, 1.0),
    st.floats(1.0, 2.0),
    st.integers(0, 2**32),
)
def test_random_crops_lie_inside_the_image(
    width: int, height: int, min_scale: float, max_ratio: float, seed: int
) -> None:
    rng = np.random.default_rng(seed)
    left, top, right, bottom = random_crop_box(width, height, min_scale, max_ratio, rng)
    assert 0 <= left < right <= width
    assert 0 <= top < bottom <= height


def test_crops_cover_the_share_they_are_asked_to() -> None:
    rng = np.random.default_rng(0)
    for _ in range(200):
        left, top, right, bottom = random_crop_box(300, 300, 0.5, 4 / 3, rng)
        assert 0.49 <= (right - left) * (bottom - top) / 300**2 <= 1.0
        assert 0.74 <= (right - left) / (bottom - top) <= 1.35


def test_flips() -> None:
    image = np.arange(64 * 64 * 3, dtype=np.uint8).reshape(64, 64, 3)
    whole = Augment(
        PREPROCESS, min_scale=1.0, max_ratio=1.0, horizontal_flip=1.0, vertical_flip=1.0
    )
    assert np.array_equal(whole(image, np.random.default_rng(0)), image[::-1, ::-1])


def test_no_images_is_an_error(shapes: Path) -> None:
    from fleetnet.errors import DataError

    with pytest.raises(DataError, match="no images to load"):
        Loader(open_source(str(shapes)), np.array([], int), PREPROCESS, batch_size=2, workers=0)
