from pathlib import Path

import numpy as np

from fleetnet.data.augment import Augment
from fleetnet.data.loader import Loader
from fleetnet.data.mix import Mix
from fleetnet.data.preview import WIDTH, preview
from fleetnet.data.sources import open_source
from fleetnet.preprocess import Preprocess
from samples import make_folder

PREPROCESS = Preprocess(256, 192)


def test_the_picture_shows_what_training_shows(shapes: Path) -> None:
    source = open_source(str(shapes))
    # Five columns leave cells of 230 pixels; drawn at that size, nothing is resized.
    shape = Preprocess(256, 230)
    augment = Augment(shape, color_jitter=0.3)
    drawn = np.asarray(preview(source, [4], augment, variants=4, seed=3))
    loader = Loader(
        source, np.array([4, 5]), shape, batch_size=2, workers=0, augment=augment, seed=3
    )
    for epoch in (1, 4):
        (batch,) = loader.batches(epoch)
        variant = batch.pixels[batch.indices.tolist().index(4)].numpy()
        left = 8 + epoch * 238
        assert any(
            np.array_equal(drawn[top : top + 230, left : left + 230], variant)
            for top in range(drawn.shape[0] - 229)
        )


def test_mixes_have_rows_of_their_own(shapes: Path) -> None:
    source = open_source(str(shapes))
    augment = Augment(PREPROCESS)
    alone = preview(source, [0, 20], augment)
    mixes = [("mixup", Mix(1, 0, 1, 3)), ("CutMix", Mix(0, 1, 1, 3))]
    mixed = preview(source, [0, 20], augment, mixes=mixes)
    assert alone.width == mixed.width == WIDTH
    assert mixed.height > alone.height * 1.5


def test_an_unreadable_image_shows_its_reason(tmp_path: Path) -> None:
    folder = make_folder(tmp_path / "d", 2)
    for file in folder.rglob("*.jpg"):
        file.write_bytes(b"junk")
    source = open_source(str(folder))
    picture = preview(source, [0, 3], Augment(PREPROCESS), mixes=[("mixup", Mix(1, 0, 1, 3))])
    assert picture.height < 200
    assert np.asarray(picture).min() < 100
