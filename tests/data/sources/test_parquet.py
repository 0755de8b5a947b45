import builtins
import contextlib
import json
import os
import pickle
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from fleetnet.data.duplicates import exact_groups
from fleetnet.data.sources import ParquetSource, Sample, SourceOptions, notes_of, open_source
from fleetnet.data.splits import split
from fleetnet.errors import DataError, FleetnetError, ImageError
from listed import read_all

IMAGE = pa.struct([("bytes", pa.binary()), ("path", pa.string())])
NAMES = {"_type": "ClassLabel", "names": ["cat", "dog"]}


def images(numbers: range) -> list[dict[str, Any]]:
    return [{"bytes": b"image %d" % number, "path": f"{number}.jpg"} for number in numbers]


def written(
    path: Path,
    numbers: range = range(10),
    labels: list[Any] | None = None,
    feature: object = None,
    group: int = 4,
    **columns: Any,
) -> Path:
    """Write a file as Hugging Face does."""
    values = {
        "image": pa.array(images(numbers), IMAGE),
        "label": pa.array([number % 2 for number in numbers] if labels is None else labels),
        **columns,
    }
    table = pa.table({name: column for name, column in values.items() if column is not None})
    if feature is not None:
        features = {"image": {"_type": "Image"}, "label": feature}
        info = json.dumps({"info": {"features": features}})
        table = table.replace_schema_metadata({"huggingface": info})
    path.parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(table, path, row_group_size=group)
    return path


def refuses(path: Path, *words: str, **options: object) -> None:
    with pytest.raises(DataError) as error:
        open_source(str(path), options=SourceOptions(**options))  # type: ignore[arg-type]
    for word in words:
        assert word in str(error.value)
    assert "\n" not in str(error.value)


def test_a_file(tmp_path: Path) -> None:
    path = written(tmp_path / "a.parquet", feature=NAMES)
    source = open_source(str(path))
    assert source.size(0) is None
    assert isinstance(source, ParquetSource)
    assert source.classes == ("cat", "dog")
    assert source.samples[3] == Sample("a.parquet#3", (1,))
    assert source.shards is not None
    assert source.shards.tolist() == [0] * 4 + [1] * 4 + [2] * 2
    for index in (9, 0, 4, 5, 1):
        assert source.read(index) == b"image %d" % index
    assert read_all(pickle.loads(pickle.dumps(source))) == read_all(source)  # noqa: S301


def test_a_row_group_is_read_once_while_it_is_kept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = open_source(str(written(tmp_path / "a.parquet")))
    opened: list[int] = []
    original = pq.ParquetFile.read_row_group

    def counting(self: Any, number: int, **options: Any) -> Any:
        opened.append(number)
        return original(self, number, **options)

    monkeypatch.setattr(pq.ParquetFile, "read_row_group", counting)
    read_all(source)
    read_all(source)
    assert opened == [0, 1, 2]
    monkeypatch.setattr("fleetnet.data.sources.parquet.KEPT_BYTES", 1)
    small = open_source(str(tmp_path / "a.parquet"))
    read_all(small)
    assert opened == [0, 1, 2] * 2
    small.read(0)
    assert opened == [0, 1, 2, 0, 1, 2, 0]


def test_parts_by_name(tmp_path: Path) -> None:
    data = tmp_path / "data"
    written(data / "train-00000-of-00002.parquet", range(6), feature=NAMES)
    written(data / "train-00001-of-00002.parquet", range(6, 10), feature=NAMES)
    written(data / "validation-00000-of-00001.parquet", range(10, 14), feature=NAMES)
    written(data / "test-00000-of-00001.parquet", range(14, 18), feature=NAMES)
    source = open_source(str(tmp_path))
    assert [len(side) for side in split(source)] == [10, 4, 0, 4]
    assert source.samples[6].name == "train-00001-of-00002.parquet#0"
    assert read_all(source) == [b"image %d" % number for number in range(18)]
    only = open_source(str(data / "test-*.parquet"))
    assert [sample.split for sample in only.samples] == [None] * 4


def test_a_test_part_without_labels_is_left_out_and_said(tmp_path: Path) -> None:
    data = tmp_path / "data"
    written(data / "train-00000-of-00001.parquet", range(6), feature=NAMES)
    written(data / "test-00000-of-00001.parquet", range(6, 9), [-1, -1, -1], feature=NAMES)
    source = open_source(str(tmp_path))
    assert [len(side) for side in split(source)][2:] == [0, 0]
    assert len(source.samples) == 6
    (note,) = notes_of(source)
    assert note.startswith("the test split is left out: ")
    assert "label -1" in note
    assert read_all(source) == [b"image %d" % number for number in range(6)]


def test_copies_are_found(tmp_path: Path) -> None:
    written(tmp_path / "a.parquet", range(6))
    written(tmp_path / "b.parquet", range(4, 8))
    assert exact_groups(open_source(str(tmp_path))).tolist() == [0, 1, 2, 3, 4, 5, 4, 5, 8, 9]


@pytest.mark.parametrize(
    ("labels", "classes"),
    [
        ([3, 1] * 5, ("1", "3")),
        (["dog", "cat"] * 5, ("cat", "dog")),
        (["10", "9"] * 5, ("9", "10")),
    ],
)
def test_labels_without_names(tmp_path: Path, labels: list[Any], classes: tuple[str, str]) -> None:
    source = open_source(str(written(tmp_path / "a.parquet", labels=labels)))
    assert source.classes == classes
    assert [sample.label for sample in source.samples] == [1, 0] * 5


def test_a_file_of_classes(tmp_path: Path) -> None:
    path = written(tmp_path / "a.parquet")
    (tmp_path / "classes.txt").write_text("Katze\nHund\n")
    assert open_source(str(path)).classes == ("Katze", "Hund")
    (tmp_path / "other.txt").write_text("0\n1\n2\n")
    options = SourceOptions(classes=str(tmp_path / "other.txt"))
    assert open_source(str(path), options=options).classes == ("0", "1", "2")


def test_ids_are_ids_even_where_names_are_numbers(tmp_path: Path) -> None:
    feature = {"_type": "ClassLabel", "names": ["1", "2"]}
    source = open_source(str(written(tmp_path / "a.parquet", feature=feature)))
    assert [sample.label for sample in source.samples][:3] == [0, 1, 0]


@pytest.mark.parametrize("wrap", [lambda f: {"_type": "Sequence", "feature": f}, lambda f: [f]])
def test_several_labels(tmp_path: Path, wrap: Any) -> None:
    labels = [[1, 0], [], [1]]
    path = written(tmp_path / "a.parquet", range(3), labels, feature=wrap(NAMES))
    source = open_source(str(path))
    assert source.multi_label
    assert source.classes == ("cat", "dog")
    assert [sample.labels for sample in source.samples] == [(0, 1), (), (1,)]


def test_labels_one_hot(tmp_path: Path) -> None:
    path = written(tmp_path / "a.parquet", range(2), [[0, 1, 1], [1, 0, 0]])
    source = open_source(str(path), options=SourceOptions(multi_label="one-hot"))
    assert [sample.labels for sample in source.samples] == [(1, 2), (0,)]


def test_damaged_names_of_columns_are_damage(tmp_path: Path) -> None:
    """The footer names each column once more, where its pages are described."""
    path = written(tmp_path / "a.parquet", range(3), [0, 1, 0])
    content = bytearray(path.read_bytes())
    for start in [at for at in range(len(content)) if content.startswith(b"bytes", at)]:
        damaged = bytearray(content)
        damaged[start] = 0xF8
        path.write_bytes(damaged)
        with contextlib.suppress(DataError, ImageError):
            read_all(open_source(str(path)))


def test_other_columns(tmp_path: Path) -> None:
    binary = pa.array([b"a", b"b"], pa.large_binary())
    path = written(tmp_path / "a.parquet", range(2), photo_data=binary, image=None, label=None,
                   kind=pa.array(["x", "y"]))  # fmt: skip
    source = open_source(str(path), options=SourceOptions(label_columns=("kind",)))
    assert read_all(source) == [b"a", b"b"]
    refuses(path, "no column for the label among 'photo_data', 'kind'", "label_columns=")
    refuses(path, "did you mean 'kind'", label_columns=("knd",))
    refuses(path, "'kind' is string: images must be binary", image_column="kind",
            label_columns=("kind",))  # fmt: skip
    refuses(path, "no column 'image' for the image", image_column="image")
    two = written(tmp_path / "b.parquet", range(2), image=None, x=binary, y=binary)
    refuses(two, "no column for the image among 'label', 'x', 'y'", "image_column=")


def test_wrong_labels_are_named(tmp_path: Path) -> None:
    path = written(tmp_path / "a.parquet", range(3), [0, 1, 2], feature=NAMES)
    refuses(path, "row 2: label 2 is beyond the 2 classes of the schema")
    written(path, range(3), [0, None, 1])
    refuses(path, "row 1: label 'None' is neither")
    written(path, range(3), [0.5, 1.0, 0.0])
    refuses(path, "row 0: label '0.5' is neither")
    written(path, range(3), [-1, -1, -1])
    refuses(path, "row 0: label -1 is below 0")
    written(path, range(0), pa.array([], pa.int64()))
    refuses(path, "no labels")
    written(path, range(2), [0, 0])
    assert open_source(str(path)).classes == ("0",)  # enough to evaluate


@pytest.mark.parametrize("info", [b"{", b"[]", b'{"info": 3}', b"[" * 100_000, b"\xff",
                                  b'{"info":{"features":{"label":{"names":[1,2]}}}}'])  # fmt: skip
def test_a_strange_schema_names_nothing(tmp_path: Path, info: bytes) -> None:
    path = written(tmp_path / "a.parquet")
    table = pq.read_table(path).replace_schema_metadata({"huggingface": info})
    pq.write_table(table, path)
    assert open_source(str(path)).classes == ("0", "1")


def test_files_that_differ_are_refused(tmp_path: Path) -> None:
    written(tmp_path / "a.parquet", feature=NAMES)
    written(tmp_path / "b.parquet", feature={"_type": "ClassLabel", "names": ["dog", "cat"]})
    refuses(tmp_path, "b.parquet has other columns or classes than", "a.parquet")


def test_damaged_files(tmp_path: Path) -> None:
    path = written(tmp_path / "a.parquet")
    whole = path.read_bytes()
    for content in (b"", b"junk" * 100, whole[: len(whole) // 2], b"PAR1" + bytes(100) + b"PAR1"):
        path.write_bytes(content)
        refuses(path, "a.parquet is no Parquet file, or is damaged")
    source = None
    path.write_bytes(whole)
    source = open_source(str(path))
    path.write_bytes(whole[:4] + bytes(300) + whole[304:])
    with pytest.raises(ImageError, match=r"row group 0 of a\.parquet"):
        source.read(0)
    path.unlink()
    with pytest.raises(ImageError, match=r"row group 1 of a\.parquet"):
        source.read(5)


def test_a_file_that_changed_is_an_unreadable_image(tmp_path: Path) -> None:
    path = written(tmp_path / "a.parquet")
    source = open_source(str(path))
    written(path, group=3)
    with pytest.raises(ImageError, match="changed since it was opened"):
        source.read(0)


def test_rows_without_bytes_are_unreadable(tmp_path: Path) -> None:
    rows = [{"bytes": None, "path": "/etc/passwd"}, None, {"bytes": b"", "path": None},
            {"bytes": b"x", "path": None}]  # fmt: skip
    path = written(tmp_path / "a.parquet", range(4), image=pa.array(rows, IMAGE))
    source = open_source(str(path))
    for index in range(3):
        with pytest.raises(ImageError, match="no bytes of an image"):
            source.read(index)
    assert source.read(3) == b"x"


def test_limits(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = written(tmp_path / "a.parquet")
    monkeypatch.setattr("fleetnet.data.sources.parquet.MAX_BYTES", 3)
    with pytest.raises(ImageError, match="larger than"):
        open_source(str(path)).read(0)
    monkeypatch.setattr("fleetnet.data.sources.parquet.MAX_GROUP", 10)
    refuses(path, "row group 0 has 0.0 GiB of images", "100 rows per group")


def test_without_pyarrow_the_extra_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = written(tmp_path / "a.parquet")
    original = builtins.__import__

    def without(name: str, *rest: Any) -> Any:
        if name.startswith("pyarrow"):
            raise ModuleNotFoundError(name=name)
        return original(name, *rest)

    monkeypatch.setattr(builtins, "__import__", without)
    with pytest.raises(FleetnetError, match=r"pip install 'fleetnet\[parquet\]'"):
        open_source(str(path))


def test_a_path_that_is_not_utf8(tmp_path: Path) -> None:
    path = tmp_path / os.fsdecode(b"caf\xe9.parquet")
    try:
        written(tmp_path / "a.parquet", feature=NAMES).rename(path)
    except OSError:
        pytest.skip("this file system has no such names")
    source = open_source(str(path))
    assert source.description == r"Parquet caf\udce9.parquet, 1 file"
    assert source.read(9) == b"image 9"
