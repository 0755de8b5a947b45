from pathlib import Path

import pytest

from fleetnet.data.sources import Sample, SourceOptions, notes_of, open_source
from fleetnet.data.splits import split
from fleetnet.errors import DataError


@pytest.fixture
def images(tmp_path: Path) -> Path:
    for name in "abcdef":
        (tmp_path / f"{name}.jpg").write_bytes(name.encode())
    return tmp_path


def written(folder: Path, text: str, name: str = "table.csv") -> str:
    (folder / name).write_text(text, "utf-8")
    return str(folder / name)


def refuses(folder: Path, text: str, *words: str, **options: object) -> None:
    with pytest.raises(DataError) as error:
        open_source(written(folder, text), options=SourceOptions(**options))  # type: ignore[arg-type]
    for word in words:
        assert word in str(error.value)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("table.csv", "path,label\na.jpg,dog\nb.jpg,cat\n"),
        ("table.csv", '\ufeffid,File_Name,Class\r\n1,a.jpg,dog\r\n\r\n2,"b.jpg",cat\r\n'),
        ("table.csv", "image;target\na.jpg;dog\nb.jpg;cat"),
        ("table.tsv", "filename\tcategory\na.jpg\tdog\nb.jpg\tcat\n"),
    ],
)
def test_usual_headings(images: Path, name: str, text: str) -> None:
    source = open_source(written(images, text, name))
    assert source.classes == ("cat", "dog")
    assert list(source.samples) == [Sample("a.jpg", (1,)), Sample("b.jpg", (0,))]
    assert source.read(1) == b"b"


def test_columns_are_named(images: Path) -> None:
    text = "path|label|where|kind\nx|y|a.jpg|3\nx|z|b.jpg|1\n"
    options = SourceOptions(image_column="where", label_columns=("kind",), separator="|")
    source = open_source(written(images, text), options=options)
    assert source.classes == ("1", "3")
    assert [sample.name for sample in source.samples] == ["a.jpg", "b.jpg"]


def test_a_column_of_parts(images: Path) -> None:
    text = "path,label,split\na.jpg,x,train\nb.jpg,y,Train\nc.jpg,x,validation\nd.jpg,z,test\n"
    source = open_source(written(images, text))
    assert [sample.split for sample in source.samples] == ["train", "train", "val"]
    assert source.classes == ("x", "y")
    assert [len(side) for side in split(source)] == [2, 1, 0, 0]
    assert "the test split is left out: class 'z' has no counterpart" in notes_of(source)[0]
    source = open_source(written(images, text.replace(",z,", ",y,")))
    assert [sample.split for sample in source.samples] == ["train", "train", "val", "test"]
    assert [len(side) for side in split(source)] == [2, 1, 0, 1]
    assert notes_of(source) == ()
    only = open_source(written(images, "path,label,split\na.jpg,x,test\nb.jpg,y,test\n"))
    assert [sample.split for sample in only.samples] == [None, None]


def test_several_labels_in_a_cell(images: Path) -> None:
    text = 'path,labels\na.jpg,dog|cat\nb.jpg,\nc.jpg,"cat"\n'
    source = open_source(written(images, text), options=SourceOptions(multi_label="names"))
    assert source.classes == ("cat", "dog")
    assert [sample.labels for sample in source.samples] == [(0, 1), (), (0,)]


def test_columns_of_zeros_and_ones(images: Path) -> None:
    text = "path,split,dog,cat,age\na.jpg,train,1,1,0\nb.jpg,val,0,1.0,1\n"
    options = SourceOptions(multi_label="one-hot")
    source = open_source(written(images, text), options=options)
    assert source.classes == ("dog", "cat", "age")
    assert [sample.labels for sample in source.samples] == [(0, 1), (1, 2)]
    chosen = SourceOptions(multi_label="one-hot", label_columns=("cat", "dog"))
    assert open_source(written(images, text), options=chosen).classes == ("cat", "dog")


def test_wrong_columns_name_the_nearest(images: Path) -> None:
    text = "path,kind\na.jpg,x\n"
    refuses(images, text, "no column for the label among 'path', 'kind'", "--label-column")
    refuses(images, text, "no column 'knid' for the label, did you mean 'kind'?",
            label_columns=("knid",))  # fmt: skip
    refuses(images, text, "did you mean 'path'", image_column="pth")
    refuses(images, text, "no column 'part' for the split", split_column="part")
    refuses(images, "a.jpg,x\n", "no column for the image's path", "--image-column")
    refuses(images, "path,label,label\n", "two columns are called 'label'")
    refuses(images, "path,a,b\na.jpg,1,0", "--multi-label one-hot", label_columns=("a", "b"))


def test_wrong_rows_are_named(images: Path) -> None:
    head = "path,label,split\n"
    refuses(images, head + "a.jpg,x\n", "line 2", "2 cells for 3 columns")
    refuses(images, head + "a.jpg,x,train\n,y,val", "line 3", "no path")
    refuses(images, head + "a.jpg,x,train\na.jpg,x,val", "line 3", "a second time")
    refuses(images, head + "a.jpg,x,trian", "line 2", "unknown split", "did you mean 'train'")
    refuses(images, head + "a.jpg,x,", "line 2", "unknown split ''")
    refuses(images, head + "a.jpg,,val", "line 2", "has no label")
    refuses(images, head, "lists no images")
    refuses(images, "", "no column for the image's path")
    refuses(images, head + "a.jpg,0,val\nb.jpg,1|2,val", "line 3", "looks like several")
    refuses(images, "path,a\na.jpg,2\n", "line 2", "neither 0 nor 1", multi_label="one-hot")
    refuses(images, 'path,label\n"a.jpg,x\n' + "y" * 200_000, "field larger than field limit")
    refuses(images, "path,label\na\0.jpg,x\n", "line 2")
    refuses(images, head + "a.jpg,x,train\nb.jpg,y,train\nc.jpg,z,val\n", "'z' has no counterpart")
    refuses(images, "path,label\nno.jpg,x\nnor.jpg,y\n", "there is no", "--root")


def test_wrong_files(images: Path) -> None:
    with pytest.raises(DataError, match="does not exist"):
        open_source(str(images / "none.csv"))
    (images / "t.csv").write_bytes(b"path,label\n\xff\xfe,x\n")
    with pytest.raises(DataError, match="not UTF-8"):
        open_source(str(images / "t.csv"))
    refuses(images, "path,label\n", "cannot be separated by '::'", separator="::")
