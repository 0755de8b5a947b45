import io
import tarfile
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fleetnet.data.sources import (
    CsvSource,
    FolderSource,
    ListSource,
    Sample,
    SampleTable,
    SourceOptions,
    WebDatasetSource,
    fingerprint,
    open_source,
    open_source_spec,
)
from fleetnet.data.sources.samples import NO_SPLIT, TEST, TRAIN, VAL
from fleetnet.data.sources.shards import expand
from fleetnet.data.sources.split_names import split_of_name
from fleetnet.errors import DataError
from samples import make_folder


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder of class folders, with lists of its images in a folder beside it."""
    root = make_folder(tmp_path / "images", 3, ("circle", "square"))
    lists = tmp_path / "lists"
    lists.mkdir()
    names = [sample.name for sample in open_source(str(root)).samples]
    rows = [f"{name} {name.split('/')[0]}" for name in names]
    (lists / "train_list.txt").write_text("\n".join(rows[:2] + rows[3:5]))
    (lists / "val_list.txt").write_text("\n".join([rows[2], rows[5]]))
    (lists / "all.lst").write_text("\n".join(rows))
    (lists / "ids.txt").write_text("0 circle\n1 square\n")
    table = "\n".join(f"{name};{name[0] == 'c':d};{name[0] == 's':d}" for name in names)
    (lists / "all.csv").write_text("file;circle;square\n" + table)
    with tarfile.open(lists / "all.tar", "w") as tar:
        for name in names:
            key, _, _ = name.partition(".")
            for member, content in ((name, (root / name).read_bytes()),
                                    (f"{key}.cls", b"%d" % (name[0] == "s"))):  # fmt: skip
                info = tarfile.TarInfo(member)
                info.size = len(content)
                tar.addfile(info, io.BytesIO(content))
    return tmp_path


def test_every_kind_is_recognised_and_opens_again_from_its_spec(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(folder)
    root = SourceOptions(root="images")
    kinds = [
        ("images", SourceOptions(), FolderSource),
        ("lists/all.lst", SourceOptions(root="images", classes="lists/ids.txt"), ListSource),
        ("lists", root, ListSource),
        ("lists/train_list.txt", SourceOptions(root="images", val_list="lists/val_list.txt"),
         ListSource),
        ("lists/all.csv", SourceOptions(root="images", multi_label="one-hot", separator="semicolon",
                                        label_columns=("circle", "square")), CsvSource),
        ("lists/all.tar", SourceOptions(classes="lists/ids.txt"), WebDatasetSource),
        ("lists/*.tar", SourceOptions(), WebDatasetSource),
    ]  # fmt: skip
    for data, options, kind in kinds:
        source = open_source(data, options=options)
        assert type(source) is kind
        assert all(isinstance(value, str) for value in source.spec.values())
        monkeypatch.chdir("/")
        again = open_source_spec(source.spec)
        assert fingerprint(again) == fingerprint(source)
        assert list(again.samples) == list(source.samples)
        assert again.read(3)
        monkeypatch.chdir(folder)


def test_older_specs_open(shapes: Path) -> None:
    assert open_source_spec({"data": str(shapes)}).classes == ("circle", "square", "stripes")
    assert open_source_spec({"data": "elpv", "label": "defect"}).classes[1] == "defective"


@pytest.mark.parametrize(
    ("spec", "words"),
    [
        ({}, "does not say where"),
        ({"data": "elpv", "lable": "type"}, "unknown key 'lable'"),
        ({"data": "elpv", "label_columns": "["}, "damaged label_columns"),
        ({"data": "elpv", "label_columns": "3"}, "damaged label_columns"),
        ({"data": "x", "multi_label": "hot"}, "unknown value of multi_label= 'hot'"),
    ],
)
def test_wrong_specs(spec: dict[str, str], words: str) -> None:
    with pytest.raises(DataError, match=words):
        open_source_spec(spec)


def test_options_that_mean_nothing_are_refused(folder: Path) -> None:
    def refuses(data: str, words: str, **options: object) -> None:
        with pytest.raises(DataError, match=words):
            open_source(data, options=SourceOptions(**options))  # type: ignore[arg-type]

    refuses(str(folder / "images"), "root= has no meaning for a folder", root="x")
    refuses("elpv", "classes= has no meaning for 'elpv' .they take label=", classes="x")
    refuses(str(folder / "lists"), "split_column= has no meaning for lists", split_column="x")
    refuses(str(folder / "lists" / "all.csv"), "val_list= has no meaning for CSV", val_list="x")
    refuses(str(folder / "lists" / "all.tar"), "root= has no meaning for tar files", root="x")
    refuses("x.parquet", "separator= has no meaning for Parquet", separator=",")
    refuses("x.txt", "label= chooses among the labels of 'elpv'", label="type")
    refuses("x.txt", "separator= is empty", separator="")
    refuses("x.txt", "did you mean 'one-hot'", multi_label="onehot")


@pytest.mark.parametrize("suffix", ["tar", "parquet"])
@pytest.mark.parametrize("scheme", ["", "file://"])
def test_shards_have_their_labels_in_one_place(tmp_path: Path, suffix: str, scheme: str) -> None:
    (tmp_path / f"0.{suffix}").write_bytes(b"read by nobody")
    options = SourceOptions(label_columns=("fine", "coarse"))
    with pytest.raises(DataError, match="in one place, not in 2: give one in label_columns="):
        open_source(f"{scheme}{tmp_path}/0.{suffix}", options=options)


@pytest.mark.parametrize("data", ["ftp://host/0.tar", "S3://lake/0.tar", "://", "x://{0..9}.tar"])
def test_an_address_that_nobody_reads_says_which_are(data: str) -> None:
    with pytest.raises(DataError, match=r"://: give a path, or an address of .*s3://"):
        open_source(data)


def test_data_of_no_known_kind_is_refused(tmp_path: Path) -> None:
    (tmp_path / "a.zip").touch()
    with pytest.raises(DataError, match=r"a\.zip is not a folder, nor does its name end in \.txt"):
        open_source(str(tmp_path / "a.zip"))
    with pytest.raises(DataError, match="nor does its name end in"):
        open_source(str(tmp_path / "*.jpg"))
    with pytest.raises(DataError, match="does not exist"):
        open_source(str(tmp_path / "nothing"))
    with pytest.raises(DataError, match=r"cannot read x+: File name too long"):
        open_source("x" * 5000)


@pytest.mark.parametrize(
    ("name", "split"),
    [
        ("train-00000-of-00001.parquet", TRAIN),
        ("validation_0.tar", VAL),
        ("Val.tar", VAL),
        ("mini-imagenet-train-000.tar", TRAIN),
        ("trains-000.tar", NO_SPLIT),
        ("valley.tar", NO_SPLIT),
        ("train-val-000.tar", NO_SPLIT),
        ("000.tar", NO_SPLIT),
        ("eval.tar", VAL),
        ("c-test-0.tar", TEST),
    ],
)
def test_splits_in_names(name: str, split: int) -> None:
    assert split_of_name(name) == split


@pytest.mark.parametrize(
    ("pattern", "words"),
    [
        ("a", ["a"]),
        ("a{08..10}", ["a08", "a09", "a10"]),
        ("{2..0}{x,y}", ["2x", "2y", "1x", "1y", "0x", "0y"]),
        ("{a}", ["a"]),
        ("{", ["{"]),
    ],
)
def test_braces(pattern: str, words: list[str]) -> None:
    assert list(expand(pattern)) == words


SAMPLES = st.lists(
    st.builds(
        Sample,
        st.text(max_size=8),
        st.lists(st.integers(0, 9), max_size=3).map(tuple),
        st.sampled_from([None, "train", "val", "test"]),
    ),
    max_size=8,
)


@given(SAMPLES)
def test_a_table_is_the_samples_it_is_made_of(samples: list[Sample]) -> None:
    table = SampleTable.of(samples)
    assert list(table) == samples
    assert [table[index] for index in range(len(samples))] == samples
    assert table[1:5] == samples[1:5]
    assert SampleTable.of(table) is table
    assert list(table.take(np.arange(len(samples))[::-2])) == samples[::-2]
    if samples:
        assert table[-1] == samples[-1]
    with pytest.raises(IndexError):
        table[len(samples)]


def test_a_table_longer_than_it_is_read_at_a_time() -> None:
    table = SampleTable((f"ünicode {n}" for n in range(10_000)), np.arange(10_000) % 7)
    for index, sample in enumerate(table):
        assert sample == table[index]


def test_names_that_are_not_unicode_have_a_fingerprint(tmp_path: Path) -> None:
    folder = make_folder(tmp_path / "d", 2)
    (folder / "circle" / "000.jpg").rename(folder / "circle" / "\udcff.jpg")
    source = open_source(str(folder))
    assert len(fingerprint(source)) == 64
    assert source.read(0)


@given(st.lists(st.text(st.characters(exclude_categories=())), min_size=1))
def test_a_table_keeps_any_name(names: list[str]) -> None:
    table = SampleTable(names, [0] * len(names))
    assert [sample.name for sample in table] == names
    assert [table.name(index) for index in range(len(names))] == names
