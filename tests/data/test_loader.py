import os
import signal
import sys
import textwrap
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch.utils.data.dataloader import _MultiProcessingDataLoaderIter

from fleetnet import native
from fleetnet.data.augment import Augment
from fleetnet.data.batches import Batch
from fleetnet.data.contents import content_of
from fleetnet.data.loader import Loader
from fleetnet.data.sources import open_source
from fleetnet.errors import DataError
from fleetnet.images import decode
from fleetnet.preprocess import Preprocess
from odd_sources import Buggy, Deadly, Exhausted, ManyLabels
from samples import make_folder
from sessions import session

PREPROCESS = Preprocess(72, 64)
EVERYTHING: dict[str, Any] = {
    "min_scale": 0.2,
    "vertical_flip": 0.5,
    "quarter_turns": True,
    "color_jitter": 0.3,
    "policy": "randaugment",
    "magnitude_std": 0.5,
    "erase": 0.5,
}


def loader(
    folder: Path, workers: int = 0, *, augment: bool = True, batch_size: int = 5, **options: Any
) -> Loader:
    source = open_source(str(folder))
    return Loader(
        source,
        np.arange(len(source.samples)),
        PREPROCESS,
        batch_size=batch_size,
        workers=workers,
        augment=Augment(PREPROCESS, **EVERYTHING) if augment else None,
        seed=3,
        **options,
    )


def epoch(loader: Loader, number: int, start: int = 0) -> tuple[torch.Tensor, ...]:
    batches = list(loader.batches(number, start))
    return tuple(
        torch.cat([getattr(batch, part) for batch in batches])
        for part in ("pixels", "labels", "indices")
    )


def assert_equal(one: tuple[torch.Tensor, ...], other: tuple[torch.Tensor, ...]) -> None:
    for a, b in zip(one, other, strict=True):
        assert torch.equal(a, b)


@pytest.mark.slow
@pytest.mark.parametrize("options", [{}, {"sampling": "balanced", "repeats": 3}])
def test_epochs_are_the_same_whatever_the_number_of_workers(
    shapes: Path, options: dict[str, Any]
) -> None:
    loaders = [loader(shapes, workers, **options) for workers in (0, 1, 2)]
    for number in (1, 2):
        alone, *spread = (epoch(one, number) for one in loaders)
        for other in spread:
            assert_equal(alone, other)


@pytest.mark.parametrize("workers", [0, pytest.param(1, marks=pytest.mark.slow)])
def test_loading_draws_nothing_from_pytorchs_generator(shapes: Path, workers: int) -> None:
    before = torch.get_rng_state()
    data = loader(shapes, workers)
    for number in (1, 2):
        list(data.batches(number))
    assert torch.equal(torch.get_rng_state(), before)


@pytest.mark.parametrize("workers", [0, pytest.param(2, marks=pytest.mark.slow)])
def test_an_epoch_goes_on_where_it_was_left(shapes: Path, workers: int) -> None:
    data = loader(shapes, workers, sampling="balanced", repeats=2)
    whole = epoch(data, 4)
    next(iter(data.batches(4)))  # and abandoned
    assert_equal(epoch(data, 4, start=3), tuple(part[15:] for part in whole))
    assert_equal(epoch(data, 4), whole)
    assert list(data.batches(4, start=len(data))) == []


def test_epochs_differ_from_each_other(shapes: Path) -> None:
    data = loader(shapes)
    assert not torch.equal(epoch(data, 1)[2], epoch(data, 2)[2])
    assert_equal(epoch(data, 1), epoch(data, 1))


def test_repeats_of_an_image_are_varied_anew(shapes: Path) -> None:
    first = next(iter(loader(shapes, repeats=2, batch_size=6).batches(1)))
    assert first.indices[0] == first.indices[1]
    assert not torch.equal(first.pixels[0], first.pixels[1])


def test_evaluation_sees_images_in_order_as_inference_does(shapes: Path) -> None:
    source = open_source(str(shapes))
    pixels, labels, indices = epoch(loader(shapes, augment=False), 0)
    assert labels.tolist() == [sample.label for sample in source.samples]
    assert indices.tolist() == list(range(len(source.samples)))
    for index in range(len(source.samples)):
        assert np.array_equal(pixels[index].numpy(), PREPROCESS(decode(source.read(index))))


def test_labels_and_indices_belong_to_the_pixels(shapes: Path) -> None:
    source = open_source(str(shapes))
    for batch in loader(shapes).batches(1):
        assert batch.labels.dtype == torch.int64
        assert batch.pixels.dtype == torch.uint8
        assert batch.pixels.shape[1:] == (64, 64, 3)
        assert batch.labels.tolist() == [source.samples[index].label for index in batch.indices]


def test_a_remainder_of_one_is_left_out_of_training(shapes: Path) -> None:
    data = loader(shapes, batch_size=7)  # 36 = 5 * 7 + 1
    assert data.images == 35
    assert len(data) == 5
    assert min(len(batch.labels) for batch in data.batches(1)) == 7
    assert loader(shapes, augment=False, batch_size=7).images == 36


@pytest.fixture
def damaged(tmp_path: Path) -> Path:
    folder = make_folder(tmp_path / "d", 3)
    (folder / "circle" / "001.jpg").write_bytes(b"not an image")
    (folder / "square" / "002.jpg").write_bytes(b"")
    return folder


@pytest.mark.parametrize("augment", [False, True])
def test_unreadable_images_are_named_and_left_out(damaged: Path, augment: bool) -> None:
    batches = list(loader(damaged, augment=augment, batch_size=3).batches())
    assert sum(len(batch.labels) for batch in batches) == 7
    assert all(len(batch.pixels) == len(batch.labels) == len(batch.indices) for batch in batches)
    named = sorted(line for batch in batches for line in batch.unreadable)
    assert named == [
        "circle/001.jpg: not an image in a known format",
        "square/002.jpg: the file is empty",
    ]


@pytest.mark.parametrize("workers", [0, pytest.param(1, marks=pytest.mark.slow)])
def test_strict_stops_at_the_first_unreadable_image(damaged: Path, workers: int) -> None:
    data = loader(damaged, workers, augment=False, batch_size=3, strict=True)
    with pytest.raises(DataError, match=r"^cannot read circle/001\.jpg: not an image[^\n]*$"):
        list(data.batches())


@pytest.mark.slow
class Counted:
    """In place of the decoder of parts: counts what it is asked for, and refuses."""

    def __init__(self) -> None:
        self.asked = 0

    def decode_part(self, *_: object) -> bool:
        self.asked += 1
        return False


def test_only_images_that_were_decoded_whole_are_decoded_in_part(
    shapes: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    data = loader(shapes, batch_size=6)
    counted = Counted()
    monkeypatch.setattr(native, "jpeg", counted)
    first = epoch(data, 1)
    assert counted.asked == 0
    again = epoch(data, 2)
    jpegs = sum(1 for file in shapes.rglob("*.jpg"))
    assert counted.asked == jpegs
    monkeypatch.undo()
    assert all(map(torch.equal, epoch(data, 1), first))
    assert all(map(torch.equal, epoch(data, 2), again))


def test_damage_that_no_crop_has_is_named_in_every_epoch(damaged: Path) -> None:
    """What is left out does not depend on where crops lie."""
    cut = next(damaged.rglob("*.jpg"))
    cut.write_bytes(cut.read_bytes()[:-200])
    data = loader(damaged)
    named = [
        sorted(line for batch in data.batches(number) for line in batch.unreadable)
        for number in (1, 2, 3)
    ]
    assert any(cut.name in line for line in named[0])
    assert named[0] == named[1] == named[2]


@pytest.mark.parametrize("workers", [0, 1])
def test_multi_label_batches_say_which_labels(shapes: Path, workers: int) -> None:
    data = Loader(ManyLabels(shapes), np.arange(10), PREPROCESS, batch_size=10, workers=workers)
    (batch,) = data.batches()
    assert batch.labels.dtype == torch.float32
    assert batch.labels.tolist() == [[i & 1, i >> 1 & 1, i >> 2 & 1] for i in range(10)]


def test_no_images_is_an_error(shapes: Path) -> None:
    with pytest.raises(DataError, match="no images to load"):
        Loader(open_source(str(shapes)), np.array([], int), PREPROCESS, batch_size=2, workers=0)


@pytest.mark.slow
@pytest.mark.parametrize("workers", [1, 2])
def test_a_killed_worker_is_one_clear_line(
    shapes: Path, workers: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    # PyTorch looks after its workers every five seconds.
    monkeypatch.setattr(_MultiProcessingDataLoaderIter._try_get_data, "__defaults__", (0.3,))
    data = Loader(Deadly(shapes), np.arange(36), PREPROCESS, batch_size=4, workers=workers)
    count = "the process" if workers == 1 else "one of the 2 processes"
    seen: list[Batch] = []
    with pytest.raises(DataError, match=f"^{count} that load images died.*data.workers=0"):
        seen.extend(data.batches())
    assert len(seen) <= 3
    with pytest.raises(DataError, match="died"):
        list(data.batches())


def test_a_worker_without_memory_is_one_clear_line(shapes: Path) -> None:
    data = Loader(Exhausted(shapes), np.arange(36), PREPROCESS, batch_size=4, workers=1)
    with pytest.raises(DataError, match=r"died, most likely for want of memory"):
        list(data.batches())


@pytest.mark.parametrize("workers", [0, pytest.param(1, marks=pytest.mark.slow)])
def test_other_errors_are_not_hidden(shapes: Path, workers: int) -> None:
    data = Loader(Buggy(shapes), np.arange(36), PREPROCESS, batch_size=4, workers=workers)
    with pytest.raises(RuntimeError, match="a mistake"):
        list(data.batches())


@pytest.mark.slow
def test_interrupting_prints_nothing(shapes: Path, tmp_path: Path) -> None:
    """Ctrl-C goes to every process of the terminal; only the main one is to react."""
    script = tmp_path / "loop.py"
    script.write_text(
        textwrap.dedent(f"""
        import itertools, sys
        import numpy as np
        from fleetnet.data.augment import Augment
        from fleetnet.data.loader import Loader
        from fleetnet.data.sources import open_source
        from fleetnet.preprocess import Preprocess

        if __name__ == "__main__":
            shape = Preprocess(72, 64)
            data = Loader(open_source({str(shapes)!r}), np.arange(36), shape, batch_size=4,
                          workers=2, augment=Augment(shape))
            try:
                for number in itertools.count():
                    for _ in data.batches(number):
                        print("batch", flush=True)
            except KeyboardInterrupt:
                sys.exit(130)
        """)
    )
    with session([sys.executable, script], tmp_path) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "batch\n"
        os.killpg(process.pid, signal.SIGINT)
        _, err = process.communicate()
    assert process.returncode == 130
    assert err == ""


@pytest.mark.parametrize("workers", [0, pytest.param(2, marks=pytest.mark.slow)])
def test_batches_give_the_content_of_each_image_once(shapes: Path, workers: int) -> None:
    source = open_source(str(shapes))
    known = {content_of(source.read(index)) for index in range(len(source.samples))}
    loaded = loader(shapes, workers, repeats=2)
    told: list[int] = []
    for number in range(1, 9):
        new = [c for batch in loaded.batches(number) for c in batch.contents.tolist()]
        assert not set(new) & set(told)
        told += new
    assert set(told) == known


def test_an_image_that_cannot_be_read_has_no_content(tmp_path: Path) -> None:
    folder = make_folder(tmp_path / "data", 2)
    (folder / "circle" / "000.jpg").write_bytes(b"no image")
    (batch,) = loader(folder, batch_size=6).batches(1)
    assert len(batch.unreadable) == 1
    assert len(batch.contents) == 5
