from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fleetnet.errors import DataError
from fleetnet.evaluation.slices import ABSENT, SliceTable, read_slices, slice_accuracy

NAMES = ("cat/a.jpg", "cat/b.jpg", "dog/a.jpg", "dog/c.jpg")


def write(folder: Path, text: str) -> Path:
    path = folder / "slices.csv"
    path.write_text(text, "utf-8")
    return path


def test_columns_by_image(tmp_path: Path) -> None:
    path = write(
        tmp_path,
        "\ufeffsite,File,camera\nA,cat/a.jpg,1\nB,./cat\\b.jpg,2\n\nA,dog/a.jpg,\n,c.jpg,2\n",
    )
    table = read_slices(path, NAMES)
    assert table.columns == {
        "site": {0: "A", 1: "B", 2: "A", 3: ""},
        "camera": {0: "1", 1: "2", 2: "", 3: "2"},
    }
    assert table.notes == ()
    assert list(read_slices(path, NAMES, ["camera"]).columns) == ["camera"]


def test_accuracy_of_each_value() -> None:
    table = SliceTable({"site": {0: "A", 1: "B", 2: "A"}}, ())
    right = np.array([True, False, True, True])
    rows = {s.value: s for s in slice_accuracy(table, np.arange(4), right)}
    assert set(rows) == {"A", "B", ABSENT}
    assert (rows["A"].images, rows["A"].accuracy) == (2, 1.0)
    assert (rows["B"].images, rows["B"].accuracy) == (1, 0.0)
    assert rows["A"].interval.low < 1.0
    only = slice_accuracy(table, np.array([1]), np.array([True]))
    assert [(s.value, s.images) for s in only] == [("B", 1)]
    assert rows["B"].to_json()["interval"] == list(rows["B"].interval)


def test_many_numbers_become_quartiles_and_few_stay() -> None:
    many = SliceTable({"age": {i: f"{i / 2}" for i in range(40)}}, ())
    rows = slice_accuracy(many, np.arange(41), np.ones(41, bool))
    assert [row.images for row in rows] == [10, 10, 10, 10, 1]
    assert rows[0].value.startswith("up to ")
    assert rows[4].value == ABSENT
    few = SliceTable({"year": {i: str(2012 - i % 12) for i in range(40)}}, ())
    values = [row.value for row in slice_accuracy(few, np.arange(40), np.ones(40, bool))]
    assert values == [str(year) for year in range(2001, 2013)]


def test_the_rarest_of_many_values_are_one_slice() -> None:
    names = {i: f"patient {min(i, 200 - i)}" for i in range(200)}
    rows = slice_accuracy(SliceTable({"patient": names}, ()), np.arange(200), np.ones(200, bool))
    assert len(rows) == 20
    assert rows[-1].value == "82 other values"
    assert sum(row.images for row in rows) == 200


@given(st.lists(st.text(max_size=6) | st.floats().map(str), min_size=1, max_size=60))
def test_every_image_is_in_one_slice(values: list[str]) -> None:
    table = SliceTable({"x": dict(enumerate(values))}, ())
    rows = slice_accuracy(table, np.arange(len(values)), np.ones(len(values), bool))
    assert sum(row.images for row in rows) == len(values)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "has no rows"),
        ("path,site\n", "has no rows"),
        ("pth,site\ncat/a.jpg,A\n", r"no column of image names.*'pth', did you mean 'path'"),
        ("path\ncat/a.jpg\n", "no column to slice by"),
        ("path,site,site\ncat/a.jpg,A,B\n", "two columns 'site'"),
        ("path,site\ncat/a.jpg\n", "row 2: 1 cells under a header of 2"),
        ("path,site\ncat/a.jpg,A\ncat/a.jpg,B\n", "row 3: 'cat/a.jpg' is in row 2 already"),
        ("path,site\ncat/x.jpg,A\n", "names no image of the data.*did you mean 'cat/"),
        ('path,site\n"cat/a.jpg,A\n', "not a CSV file"),
        ("path,site\na.jpg,A\n", "names no image"),
    ],
)
def test_a_wrong_file_is_refused(tmp_path: Path, text: str, words: str) -> None:
    with pytest.raises(DataError, match=words):
        read_slices(write(tmp_path, text), NAMES)


def test_an_unknown_column_gets_the_nearest(tmp_path: Path) -> None:
    path = write(tmp_path, "path,camera\ncat/a.jpg,1\n")
    with pytest.raises(DataError, match=r"no column 'camra', did you mean 'camera'"):
        read_slices(path, NAMES, ["camra"])


def test_rows_of_other_images_are_noted(tmp_path: Path) -> None:
    path = write(tmp_path, "path,site\ncat/a.jpg,A\ncow/q.jpg,B\ncat/bb.jpg,B\n")
    (note,) = read_slices(path, NAMES).notes
    assert "2 rows" in note
    assert "row 3: 'cow/q.jpg'" in note


def test_an_unreadable_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"cannot read .*nothing\.csv: No such file"):
        read_slices(tmp_path / "nothing.csv", NAMES)
    (tmp_path / "binary.csv").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(DataError, match="not UTF-8"):
        read_slices(tmp_path / "binary.csv", NAMES)
    with pytest.raises(DataError, match="cannot read"):
        read_slices(tmp_path, NAMES)
