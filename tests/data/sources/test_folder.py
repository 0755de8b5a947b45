import os
from pathlib import Path

import numpy as np
import pytest

from fleetnet.data.duplicates import exact_groups
from fleetnet.data.sources import ElpvSource, FolderSource, Sample, fingerprint, open_source
from fleetnet.data.splits import check_classes, split
from fleetnet.errors import DataError, ImageError
from fleetnet.images import decode
from samples import draw, encode, make_folder


def test_a_folder_of_class_folders(shapes: Path) -> None:
    source = open_source(str(shapes))
    assert source.classes == ("circle", "square", "stripes")
    assert len(source.samples) == 36
    assert source.samples[0] == Sample("circle/000.jpg", (0,))
    assert decode(source.read(0)).shape == (80, 96, 3)


def test_train_and_val_folders_keep_their_split(tmp_path: Path) -> None:
    make_folder(tmp_path / "train", 3)
    make_folder(tmp_path / "val", 2, seed=8)
    source = open_source(str(tmp_path))
    parts = split(source)
    assert source.classes == ("circle", "square", "stripes")
    assert (len(parts.train), len(parts.val)) == (9, 6)
    assert all(source.samples[index].name.startswith("val/") for index in parts.val)


def test_val_with_a_class_of_its_own_is_refused(tmp_path: Path) -> None:
    make_folder(tmp_path / "train", 2)
    make_folder(tmp_path / "val", 2, ("circle", "sqare"))
    with pytest.raises(DataError, match=r"no counterpart.*did you mean 'square'"):
        open_source(str(tmp_path))


def test_other_files_and_hidden_folders_are_no_classes(shapes: Path, tmp_path: Path) -> None:
    make_folder(tmp_path / "d", 2)
    (tmp_path / "d" / "README.txt").touch()
    (tmp_path / "d" / ".git").mkdir()
    (tmp_path / "d" / "circle" / "notes.txt").touch()
    assert len(open_source(str(tmp_path / "d")).samples) == 6


def test_wrong_folders_say_what_to_do(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="does not exist"):
        open_source(str(tmp_path / "nothing"))
    (tmp_path / "file").touch()
    with pytest.raises(DataError, match="is not a folder"):
        open_source(str(tmp_path / "file"))
    empty = tmp_path / "empty"
    empty.mkdir()
    with pytest.raises(DataError, match="no images in"):
        open_source(str(empty))
    (empty / "a.png").write_bytes(encode(draw("circle", np.random.default_rng(0)), "PNG"))
    with pytest.raises(DataError, match="no class folders"):
        open_source(str(empty))
    make_folder(tmp_path / "one", 2, ("circle",))
    one = open_source(str(tmp_path / "one"))  # enough to evaluate
    with pytest.raises(DataError, match=r"folder one has only one class .'circle'.*at least two"):
        check_classes(one)
    make_folder(tmp_path / "hollow", 2)
    (tmp_path / "hollow" / "zebra").mkdir()
    with pytest.raises(DataError, match="class 'zebra' has no images"):
        open_source(str(tmp_path / "hollow"))


def test_elpv_has_its_published_size() -> None:
    by_type = ElpvSource("type")
    assert len(by_type.samples) == 2624
    assert sum(sample.label for sample in by_type.samples) == 1550
    by_defect = ElpvSource("defect")
    # 715 cells surely defective and 106 probably, by the experts' rating.
    assert sum(sample.label for sample in by_defect.samples) == 821
    assert decode(by_type.read(0)).shape == (300, 300, 3)
    with pytest.raises(DataError, match="did you mean 'defect'"):
        ElpvSource("defects")


def test_a_label_is_for_elpv_alone(shapes: Path) -> None:
    with pytest.raises(DataError, match="--label"):
        open_source(str(shapes), "type")


def test_fingerprint_tells_data_apart(shapes: Path, tmp_path: Path) -> None:
    assert fingerprint(FolderSource(shapes)) == fingerprint(open_source(str(shapes)))
    other = make_folder(tmp_path / "other", 11)
    assert fingerprint(FolderSource(other)) != fingerprint(FolderSource(shapes))


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="there are no pipes")
def test_a_pipe_in_place_of_an_image_is_not_waited_for(tmp_path: Path) -> None:
    source = FolderSource(make_folder(tmp_path / "d", 2))
    for name in ("000.jpg", "001.jpg"):
        (tmp_path / "d" / "circle" / name).unlink()
        os.mkfifo(tmp_path / "d" / "circle" / name)
    for read in (source.read, lambda index: source.read_end(index, 8)):
        with pytest.raises(ImageError):
            read(0)
    assert exact_groups(source).tolist() == list(range(6))
