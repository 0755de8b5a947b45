"""What folders of class folders are recognised, and what is refused."""

import shutil
import tempfile
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fleetnet.data.sources import Source, fingerprint, left_out_of, notes_of, open_source
from fleetnet.data.splits import split
from fleetnet.errors import DataError
from fleetnet.image_files import walk_images
from samples import make_folder

CLASSES = ("cat", "dog")


def make(root: Path, *names: str) -> Path:
    """Make empty files, of which folders are made of as well as of images."""
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).touch()
    return root


def filled(folder: str, classes: tuple[str, ...] = CLASSES, count: int = 2) -> list[str]:
    return [f"{folder}/{name}/{n}.jpg" for name in classes for n in range(count)]


def parts_of(source: Source) -> dict[str | None, set[str]]:
    found: dict[str | None, set[str]] = {}
    for sample in source.samples:
        found.setdefault(sample.split, set()).add(sample.name)
    return found


@pytest.mark.parametrize(
    ("train", "val"),
    [
        ("train", "val"), ("Train", "Val"), ("training", "validation"), ("train", "dev"),
        ("train", "eval"), ("TRAIN", "VAL"), ("train", "valid"), ("train2017", "val2017"),
        ("my_train", "my_val"), ("Training Set", "Validation Set"), ("trainset", "valset"),
        ("TrainImages", "ValImages"), ("traindata", "devdata"), ("train_set", "valid_set"),
        ("flowers-trainimgs", "flowers-validationimgs"), ("trainsplit2", "evalsplit2"),
    ],
)  # fmt: skip
def test_training_and_validation(tmp_path: Path, train: str, val: str) -> None:
    source = open_source(str(make(tmp_path, *filled(train), *filled(val))))
    assert source.classes == CLASSES
    assert parts_of(source) == {"train": set(filled(train)), "val": set(filled(val))}
    (note,) = notes_of(source)
    assert f"{train}/ (4 images) is to train on" in note
    assert f"{val}/ (4 images) is held out" in note


@pytest.mark.parametrize(
    ("train", "test"),
    [
        ("train", "test"),
        ("Train", "TEST"),
        ("training", "testing"),
        ("x-train", "x-test"),
        ("trainset", "testset"),
    ],
)
def test_validation_is_held_out_of_training_where_there_is_a_test_part_alone(
    tmp_path: Path, train: str, test: str
) -> None:
    for number, name in enumerate([*filled(train, count=8), *filled(test)]):
        make(tmp_path, name)
        (tmp_path / name).write_bytes(b"%d" % number)
    source = open_source(str(tmp_path))
    assert parts_of(source) == {None: set(filled(train, count=8)), "test": set(filled(test))}
    parts = split(source)
    names = [{source.samples[int(n)].name for n in side} for side in parts]
    assert names[0] | names[1] == set(filled(train, count=8))
    assert (len(names[0]), len(names[1])) == (12, 4)
    assert names[2:] == [set(), set(filled(test))]
    (note,) = notes_of(source)
    assert f"{train}/ (16 images) is to train on and to hold out from" in note
    assert f"{test}/ (4 images) is kept for evaluation with split='test'" in note
    # Training knows nothing of the test part: its data is the same without.
    (tmp_path / test).rename(tmp_path.parent / f"{tmp_path.name}-away")
    assert split(alone := open_source(str(tmp_path))).train.tolist() == parts.train.tolist()
    assert len(alone.samples) == 16


def test_a_test_part_changes_no_fingerprint(tmp_path: Path) -> None:
    make(tmp_path, *filled("train"), *filled("val"))
    before = fingerprint(open_source(str(tmp_path)))
    source = open_source(str(make(tmp_path, *filled("test"))))
    assert len(source.samples) == 12
    assert fingerprint(source) == before


@pytest.mark.parametrize("wrapping", ["dataset", "a/b/dataset"])
def test_folders_that_only_wrap_others(tmp_path: Path, wrapping: str) -> None:
    inner = make(tmp_path / wrapping, *filled("train"), *filled("valid"), *filled("test"))
    make(tmp_path, "__MACOSX/dataset/train/cat/._0.jpg", ".DS_Store", "README.txt")
    source = open_source(str(tmp_path))
    assert fingerprint(source) == fingerprint(open_source(str(inner)))
    assert source.spec["data"] == str(tmp_path)
    assert notes_of(source)[0] == f"the data is in {wrapping}/"
    assert left_out_of(source).line == "the system's own __MACOSX"


def test_class_folders_that_are_wrapped(tmp_path: Path) -> None:
    source = open_source(str(make(tmp_path, *filled("pets"))))
    assert source.classes == CLASSES
    assert notes_of(source) == ("the data is in pets/",)


def test_parts_that_are_wrapped_each(tmp_path: Path) -> None:
    make(tmp_path, *filled("seg_train/seg_train"), *filled("seg_test/seg_test", ("cat",)))
    source = open_source(str(make(tmp_path, "seg_pred/seg_pred/7.jpg")))
    assert source.classes == CLASSES
    assert parts_of(source) == {
        None: set(filled("seg_train/seg_train")),
        "test": set(filled("seg_test/seg_test", ("cat",))),
    }
    assert notes_of(source)[0] == "seg_pred/ has no class folders, and so no labels: it is left out"


def test_a_test_part_without_labels_is_left_out_and_said(tmp_path: Path) -> None:
    source = open_source(str(make(tmp_path, *filled("train"), "test/1.jpg", "test/2.jpg")))
    assert parts_of(source) == {None: set(filled("train"))}
    assert "test/ has no class folders, and so no labels: it is left out" in notes_of(source)[0]


def test_a_test_part_of_other_classes_is_left_out_whole_and_said(tmp_path: Path) -> None:
    source = open_source(str(make(tmp_path, *filled("train"), *filled("test", ("cat", "dgo")))))
    assert parts_of(source) == {None: set(filled("train"))}
    assert notes_of(source)[0].startswith("the test split is left out: ")
    assert "did you mean 'dog'" in notes_of(source)[0]


@pytest.mark.parametrize(
    "names",
    [
        [*filled(".", ("test", "control"))],
        [*filled(".", ("test", "control", "valid"))],
        [*filled(".", ("train", "bus", "car"))],
        [*filled(".", ("steam train", "maglev train"))],
        [*filled(".", ("steam train", "test tube", "bus"))],
        [*filled("test/2020"), *filled("control/2020")],
        ["train/2020/a.jpg", "train/b.jpg", "bus/2020/a.jpg", "bus/b.jpg"],
        [*filled(".", ("valid", "invalid"))],
        [*filled(".", ("images", "labels"))],
        [*filled(".", ("trainset", "bus", "car"))],
        [*filled(".", ("contestset", "dataset", "trainer"))],
        [*filled("cat1", ("2020",)), *filled("cat2", ("2020",))],
        [*filled("cat1", ("1", "2")), *filled("cat2", ("1", "2"))],
        [*filled("cat1", ("2020-01", "2020-02")), *filled("cat2", ("2020-01", "2020-02"))],
        [*filled("cat1", ("in", "out")), *filled("cat2", ("in", "on"))],
        [*filled("cat1", ("in", "out")), *filled("cat2", ("in", "out")), "cat2/1.jpg"],
        [*filled("cat", ("in", "out")), *filled("dog", ("in", "out"))],
        [*filled("grade1", ("left", "right")), *filled("grade2", ("left", "right"))],
        [*filled("n01", ("left", "right")), *filled("n02", ("left", "right"))],
        [*filled("fold1"), *filled("fold2"), *filled("more")],
        [*filled("land", ("bus", "train")), *filled("sea", ("boat", "ferry"))],
        [*filled("land", ("bus", "train")), *filled("toy", ("block", "train"))],
        [*filled("a_test", ("1", "2")), *filled("b_test", ("1", "2"))],
    ],
)
def test_classes_that_are_called_like_parts(tmp_path: Path, names: list[str]) -> None:
    source = open_source(str(make(tmp_path, *names)))
    assert set(source.classes) == {Path(name).parts[0] for name in names}
    assert parts_of(source).keys() == {None}
    assert notes_of(source) == ()


@pytest.mark.parametrize(
    ("names", "words"),
    [
        ([*filled("train"), *filled(".", ("cat",))], "train/ beside cat/.*neither a split"),
        ([*filled("train"), *filled("test"), "cat/1.jpg"], "train/ beside cat/"),
        ([*filled("a_train"), *filled("a_test"), *filled("more")], "a_train/ beside more/"),
        ([*filled("train"), *filled("Train")], "has both Train/ and train/.*keep one"),
        ([*filled(".", ("Train", "train"))], "has both Train/ and train/"),
        ([*filled("train"), *filled("val"), *filled("valid")], "has both val/ and valid/"),
        (["train/1.jpg", "test/2.jpg"], "train has images but no class folders.*CSV"),
        (["train_images/1.jpg", "test_images/2.jpg"], "train_images has images but no class fold"),
        (["train/1.jpg", "test/2.jpg", "cat/1.jpg"], "train/ beside cat/"),
        ([*filled("train"), "val/1.jpg"], "val has images but no class folders"),
        ([*filled("train"), "val/notes.txt"], "val has no images"),
        ([*filled("val"), *filled("test")], "val/ and test/ but no training split"),
        (["val/1.jpg", "test/1.jpg"], "val/ and test/ but no training split"),
        ([*filled("train"), *filled("val", ("cat", "cow"))], "cow has no counterpart"),
        ([*filled("train"), *filled("val"), "train/cow/notes.txt"], "'cow' has no images.*1 .txt"),
        ([*filled("trainset"), *filled("test"), "cat/1.jpg"], "trainset/ beside cat/"),
        (
            [*filled("cat", ("train", "test")), *filled("dog", ("train",))],
            "train/ and test/ inside cat/ and dog/.*: train/cat/, test/cat/,.*CSV",
        ),
        (
            [*filled("cat", ("Trainset", "valid", "x")), *filled("dog", ("training", "dev"))],
            "Trainset/ and valid/ inside cat/ and dog/",
        ),
        ([*filled("fold1"), *filled("fold2")], "fold1/ and fold2/ with the same .*splits or folds"),
        ([*filled("x/Part A"), *filled("x/Part B")], "Part A/ and Part B/ with the same"),
        ([*filled("setA"), *filled("setB"), *filled("setC"), *filled("setD")], "setC/, … with"),
        ([*filled("batch_01"), *filled("Batch-2")], "(cat, dog).*give one of them.*CSV"),
        ([*filled("a_train"), *filled("b_train")], "a_train/ and b_train/ with the same"),
        (["images/train/1.jpg", "labels/train/1.txt"], "images/ beside labels/.*YOLO"),
        (["train/images/1.jpg", "train/labels/1.txt", "valid/images/1.jpg"], "train has images/ b"),
        (["train/images/1.jpg", "train/labels/1.txt"], "train has images/ beside labels/"),
        (["d/JPEGImages/1.jpg", "d/Annotations/1.xml"], "JPEGImages/ beside Annotations/"),
    ],
)
def test_folders_that_do_not_fit_together(tmp_path: Path, names: list[str], words: str) -> None:
    with pytest.raises(DataError, match=words) as error:
        open_source(str(make(tmp_path, *names)))
    assert "\n" not in str(error.value)


def test_folders_without_images_beside_parts_are_passed_over(tmp_path: Path) -> None:
    source = open_source(str(make(tmp_path, *filled("train"), *filled("test"), "docs/a/b.txt")))
    assert source.classes == CLASSES


def test_images_beside_class_folders_are_counted(tmp_path: Path) -> None:
    make(tmp_path, *filled("train"), *filled("val"), "1.jpg", "train/2.jpg", "val/3.jpg", "x.csv")
    assert left_out_of(open_source(str(tmp_path))).line == "3 images outside the class folders"


def test_what_class_folders_hold_besides_is_counted(tmp_path: Path) -> None:
    make(tmp_path, *filled("."), "cat/a.xyz", "cat/sub/b.xyz", "dog/@eaDir/1.jpg", "@eaDir/x")
    left_out = left_out_of(open_source(str(tmp_path)))
    assert left_out.line == "2 .xyz (no images by their names); the system's own @eaDir"
    assert left_out.system["@eaDir"] == 2


def test_a_deep_class_is_told_apart_by_its_images(tmp_path: Path) -> None:
    """A lone class may be evaluated; a folder that has only folders in it just wraps them."""
    source = open_source(str(make(tmp_path / "one", "cat/a.jpg", "cat/x/b.jpg", "cat/y/c.jpg")))
    assert source.classes == ("cat",)
    assert len(source.samples) == 3


def test_the_split_is_what_the_folders_say_with_real_images(tmp_path: Path) -> None:
    for seed, name in enumerate(("train", "valid", "test")):
        make_folder(tmp_path / name, 3, seed=seed)
    shutil.copy(tmp_path / "train/circle/000.jpg", tmp_path / "test/circle/copy.jpg")
    source = open_source(str(tmp_path))
    parts = split(source)
    assert [len(side) for side in parts] == [8, 9, 1, 10]
    assert source.samples[int(parts.dropped[0])].name == "train/circle/000.jpg"


WORDS = st.sampled_from(["train", "Training", "val", "DEV", "test", "a_test", "pred", "cat", "x"])
INSIDE = st.sampled_from(
    ["1.jpg", "2.jpg", "cat/1.jpg", "dog/1.jpg", "dog/deep/er/1.jpg", "n.txt", "cat/n.txt"]
)
TREES = st.lists(st.tuples(WORDS, INSIDE), min_size=1, max_size=12, unique=True)


@given(TREES, st.booleans())
def test_every_image_is_used_or_said_to_be_left_out_or_all_are_refused(
    tree: list[tuple[str, str]], wrapped: bool
) -> None:
    with tempfile.TemporaryDirectory() as scratch:
        root = Path(scratch)
        inner = root / "dataset" if wrapped else root
        make(inner, *(f"{folder}/{name}" for folder, name in tree))
        try:
            source = open_source(str(root))
        except DataError:
            return
        folders = {folder for folder, _ in tree}
        used = {source.root / sample.name for sample in source.samples}  # type: ignore[attr-defined]
        assert len(used) == len(source.samples)
        found = set(walk_images(root))
        assert used <= found
        said = any("left out" in note for note in notes_of(source))
        assert said or len(found - used) == left_out_of(source).loose
        # Whatever trains, no class is a part of the data: these always come with a training part.
        if {"train", "val"} <= folders or {"train", "test"} <= folders:
            assert not {"train", "val", "test"} & set(source.classes)
        if any(sample.split for sample in source.samples):
            assert any(sample.split in (None, "train") for sample in source.samples)
        assert list(open_source(str(root)).samples) == list(source.samples)
