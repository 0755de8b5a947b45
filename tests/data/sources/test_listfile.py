import pickle
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fleetnet.data.sources import ListSource, Sample, SourceOptions, fingerprint, open_source
from fleetnet.data.sources.listfile import _fields
from fleetnet.data.splits import split
from fleetnet.errors import DataError


@pytest.fixture
def images(tmp_path: Path) -> Path:
    """A folder with six files of different bytes, one with a space in its name."""
    for number, name in enumerate(("a", "b", "c d", "e", "f", "g")):
        (tmp_path / f"{name}.jpg").write_bytes(b"image %d" % number)
    return tmp_path


def written(folder: Path, text: str, name: str = "list.txt") -> str:
    (folder / name).write_text(text, "utf-8")
    return str(folder / name)


def refuses(folder: Path, text: str, *words: str, **options: object) -> None:
    path = written(folder, text)
    with pytest.raises(DataError) as error:
        open_source(path, options=SourceOptions(**options))  # type: ignore[arg-type]
    for word in words:
        assert word in str(error.value)
    assert "\n" not in str(error.value)


def test_ids(images: Path) -> None:
    text = "# made by hand\n\na.jpg 0\r\nb.jpg\t10\nc d.jpg   2\n"
    source = open_source(written(images, "\ufeff" + text))
    assert source.classes == ("0", "2", "10")
    assert list(source.samples) == [
        Sample("a.jpg", (0,)), Sample("b.jpg", (2,)), Sample("c d.jpg", (1,)),
    ]  # fmt: skip
    assert source.read(2) == b"image 2"
    assert source.size(2) == 7
    assert source.shards is None
    assert not source.multi_label


def test_names(images: Path) -> None:
    source = open_source(written(images, "a.jpg dog\nb.jpg cat\ne.jpg dog\n"))
    assert source.classes == ("cat", "dog")
    assert [sample.label for sample in source.samples] == [1, 0, 1]


@pytest.mark.parametrize(
    ("separator", "text"),
    [
        ("tab", "a.jpg\tbig dog\nc d.jpg\tcat\n"),
        ("comma", "a.jpg,big dog\nc d.jpg, cat\n"),
        ("semicolon", "a.jpg;big dog\nc d.jpg;cat\n"),
        ("::", "a.jpg::big dog\nc d.jpg::cat\n"),
    ],
)
def test_separators(images: Path, separator: str, text: str) -> None:
    source = open_source(written(images, text), options=SourceOptions(separator=separator))
    assert source.classes == ("big dog", "cat")
    assert [sample.name for sample in source.samples] == ["a.jpg", "c d.jpg"]


@pytest.mark.parametrize("labels", ["2 3", "tench cat"])
def test_a_file_of_classes(images: Path, labels: str) -> None:
    written(images, "0 dog\n1 hen\n2 tench, Tinca tinca\n3 cat\n", "ids.txt")
    written(images, "dog\nhen\ntench\ncat\n", "names.txt")
    first, second = labels.split()
    path = written(images, f"a.jpg {first}\nb.jpg {second}\n")
    file = "names.txt" if first == "tench" else "ids.txt"
    source = open_source(path, options=SourceOptions(classes=str(images / file)))
    assert len(source.classes) == 4
    assert [source.classes[sample.label].split(",")[0] for sample in source.samples] == [
        "tench", "cat",
    ]  # fmt: skip


def test_classes_that_are_numbers_are_names_and_not_ids(images: Path) -> None:
    written(images, "1\n2\n3\n", "classes.txt")
    path = written(images, "a.jpg 1\nb.jpg 3\n")
    options = SourceOptions(classes=str(images / "classes.txt"))
    assert [sample.label for sample in open_source(path, options=options).samples] == [0, 2]
    refuses(images, "a.jpg 0\n", "'0' is not among", classes=options.classes)


def test_two_lists_are_the_parts(images: Path) -> None:
    written(images, "a.jpg 0\nb.jpg 1\nc d.jpg 0\ng.jpg 1\n", "train_list.txt")
    written(images, "e.jpg 1\nf.jpg 0\nb.jpg 1\n", "val_list.txt")
    source = open_source(str(images))
    assert [sample.split for sample in source.samples] == ["train"] * 4 + ["val"] * 3
    parts = split(source)
    assert (parts.train.tolist(), parts.dropped.tolist()) == ([0, 2, 3], [1])
    options = SourceOptions(val_list=str(images / "val_list.txt"))
    same = open_source(str(images / "train_list.txt"), options=options)
    assert fingerprint(source) == fingerprint(same)
    (images / "train_list.txt").unlink()
    assert [sample.split for sample in open_source(str(images)).samples] == [None] * 3


def test_a_class_of_validation_alone_is_refused(images: Path) -> None:
    written(images, "a.jpg circle\nb.jpg square\n", "train_list.txt")
    written(images, "e.jpg sqare\n", "val_list.txt")
    with pytest.raises(DataError, match=r"'sqare' has no counterpart.*did you mean 'square'"):
        open_source(str(images))


def test_a_root(images: Path, tmp_path_factory: pytest.TempPathFactory) -> None:
    elsewhere = tmp_path_factory.mktemp("lists")
    path = written(elsewhere, "a.jpg 0\nb.jpg 1\n")
    assert open_source(path, options=SourceOptions(root=str(images))).read(0) == b"image 0"
    with pytest.raises(DataError, match=r"there is no .*a\.jpg: paths are relative to .* --root"):
        open_source(path)
    whole = written(elsewhere, f"{images}/a.jpg 0\n{images}/b.jpg 1\n")
    assert open_source(whole).read(1) == b"image 1"


def test_labels_one_hot(images: Path) -> None:
    path = written(images, "a.jpg\t0,1,0,1\nb.jpg\t0,0,0,0\nc d.jpg\t1,0,0,0\n")
    source = open_source(path, options=SourceOptions(multi_label="one-hot"))
    assert source.multi_label
    assert source.classes == ("0", "1", "2", "3")
    assert [sample.labels for sample in source.samples] == [(1, 3), (), (0,)]


@pytest.mark.parametrize("separator", [None, "tab", "comma"])
def test_several_labels(images: Path, separator: str | None) -> None:
    sign = {None: " ", "tab": "\t", "comma": ","}[separator]
    path = written(images, f"a.jpg{sign}dog,cat,dog\nb.jpg{sign}hen\nc d.jpg{sign}cat\n")
    source = open_source(path, options=SourceOptions(multi_label="names", separator=separator))
    assert source.classes == ("cat", "dog", "hen")
    assert [sample.labels for sample in source.samples] == [(0, 1), (2,), (0,)]


def test_no_labels_at_all_take_a_separator_that_is_seen(images: Path) -> None:
    options = SourceOptions(multi_label="names", separator="tab", label_separator="pipe")
    source = open_source(written(images, "a.jpg\t\nb.jpg\tx|y\n"), options=options)
    assert [sample.labels for sample in source.samples] == [(), (0, 1)]


def test_the_fingerprint_has_all_labels(images: Path) -> None:
    options = SourceOptions(multi_label="names")
    one = fingerprint(open_source(written(images, "a.jpg x,y\nb.jpg z"), options=options))
    other = fingerprint(open_source(written(images, "a.jpg x,z\nb.jpg y"), options=options))
    assert one != other


def test_wrong_lines_are_named(images: Path) -> None:
    refuses(
        images, "a.jpg 0\nb.jpg\n", "line 2", "'b.jpg' is not a path and a label with white space"
    )
    refuses(
        images, "a.jpg 0\n", "not a path and a label with '\\t'", "--separator", separator="tab"
    )
    refuses(images, "a.jpg 0\n\n# x\nb.jpg -1\n", "line 4", "-1 is below 0")
    refuses(images, "a.jpg 0\nb.jpg 1\na.jpg 1\n", "line 3", "'a.jpg' is listed a second time")
    refuses(images, "a.jpg 1,3\nb.jpg 2\n", "line 1", "looks like several", "--multi-label names")
    refuses(images, "# nothing\n\n", "lists no images")
    refuses(images, "a.jpg 0\nb\0.jpg 1\n", "line 2", "not text")
    refuses(images, "a.jpg 0 " + "x" * 2**20, "line 1", "not text")


def test_wrong_labels_of_several_are_named(images: Path) -> None:
    refuses(images, "a.jpg 0,1\nb.jpg 0,1,1\n", "line 2", "3 zeros and ones for 2 classes",
            multi_label="one-hot")  # fmt: skip
    refuses(images, "a.jpg 0,2\n", "line 1", "'2' is neither 0 nor 1", multi_label="one-hot")
    refuses(images, "a.jpg 0,,1\n", "line 1", "has no label", multi_label="names")


def test_wrong_files_of_classes(images: Path) -> None:
    classes = written(images, "dog\ncat\n", "classes.txt")
    refuses(images, "a.jpg 2\n", "line 1", "label 2 is beyond the 2 classes of classes.txt",
            classes=classes)  # fmt: skip
    refuses(images, "a.jpg -1\n", "label -1 is beyond", classes=classes)
    refuses(images, "a.jpg cta\n", "did you mean 'cat'", classes=classes)
    refuses(images, "a.jpg 0\n", "No such file", classes=str(images / "none.txt"))
    written(images, "1 dog\n2 cat\n", "classes.txt")
    refuses(images, "a.jpg 1\n", "counts its ids from 1", classes=classes)
    written(images, "crane\ndog\ncrane\n", "classes.txt")
    refuses(images, "a.jpg crane\n", "'crane' names several classes", classes=classes)
    written(images, "", "classes.txt")
    refuses(images, "a.jpg crane\n", "names no classes", classes=classes)


def test_wrong_files(images: Path) -> None:
    with pytest.raises(DataError, match="does not exist"):
        open_source(str(images / "none.txt"))
    with pytest.raises(DataError, match="does not exist"):
        open_source(
            written(images, "a.jpg 0\nb.jpg 1"), options=SourceOptions(val_list="/nothing.txt")
        )
    (images / "folder.txt").mkdir()
    with pytest.raises(DataError, match="is not a file"):
        ListSource(images / "folder.txt")
    (images / "binary.txt").write_bytes(b"\xff\xd8\xff\xe0" * 100)
    with pytest.raises(DataError, match="is not UTF-8 text"):
        open_source(str(images / "binary.txt"))


def test_a_few_missing_files_are_found_when_they_are_read(images: Path) -> None:
    source = open_source(written(images, "none.jpg 0\na.jpg 1\n"))
    assert source.size(0) is None
    assert pickle.loads(pickle.dumps(source)).read(1) == b"image 0"  # noqa: S301


@given(
    st.text(st.characters(exclude_categories=["C", "Z"]), min_size=1, max_size=12),
    st.integers(0, 10**9 - 1),
    st.sampled_from([" ", "\t", "  \t "]),
)
def test_a_path_may_hold_anything(name: str, label: int, gap: str) -> None:
    for path in (name, f"{name} {name}", f"{name},{name}"):
        assert _fields(f"{path}{gap}{label}", None, first=False) == (path, str(label))
