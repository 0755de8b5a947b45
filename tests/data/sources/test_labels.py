"""Labels as texts and numbers, the same whatever they are read from."""

import io
import tarfile
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from fleetnet.data.sources import Source, SourceOptions, open_source
from fleetnet.data.sources.labels import as_number
from fleetnet.errors import DataError


def as_list(folder: Path, labels: Sequence[str]) -> Path:
    lines = [f"{number}.jpg\t{label}" for number, label in enumerate(labels)]
    path = folder / "list.txt"
    path.write_text("\n".join(lines), "utf-8")
    return path


def as_csv(folder: Path, labels: Sequence[str]) -> Path:
    quoted = ['"' + label.replace('"', '""') + '"' for label in labels]
    lines = ["image,label", *(f"{number}.jpg,{label}" for number, label in enumerate(quoted))]
    path = folder / "table.csv"
    path.write_text("\n".join(lines), "utf-8")
    return path


def as_tar(folder: Path, labels: Sequence[str]) -> Path:
    path = folder / "shard.tar"
    with tarfile.open(path, "w") as tar:
        for number, label in enumerate(labels):
            for name, content in ((f"{number}.jpg", b"x"), (f"{number}.cls", label.encode())):
                info = tarfile.TarInfo(name)
                info.size = len(content)
                tar.addfile(info, io.BytesIO(content))
    return path


def as_parquet(folder: Path, labels: Sequence[str]) -> Path:
    path = folder / "data.parquet"
    images = [{"bytes": b"x", "path": None}] * len(labels)
    pq.write_table(pa.table({"image": images, "label": list(labels)}), path)
    return path


def as_folders(folder: Path, labels: Sequence[str]) -> Path:
    for number, label in enumerate(labels):
        place = folder / "classes" / label
        place.mkdir(parents=True, exist_ok=True)
        (place / f"{number}.jpg").write_bytes(b"x")
    return folder / "classes"


Writer = Callable[[Path, Sequence[str]], Path]
TEXTS: tuple[Writer, ...] = (as_list, as_csv, as_tar, as_parquet)


def opened(writer: Writer, labels: Sequence[str], options: SourceOptions | None = None) -> Source:
    with tempfile.TemporaryDirectory() as place:
        (Path(place) / "0.jpg").write_bytes(b"x")
        if writer is as_list:
            options = replace(options or SourceOptions(), separator="\t")
        return open_source(str(writer(Path(place), labels)), options=options)


def read_back(writer: Writer, labels: Sequence[str]) -> tuple[tuple[str, ...], list[str]]:
    """Return the classes, and each image's label in the order that they were written."""
    source = opened(writer, labels)
    by_number = {
        int(sample.name.rpartition("/")[2].rpartition("#")[2].removesuffix(".jpg")): sample
        for sample in source.samples
    }
    return source.classes, [source.classes[by_number[n].label] for n in range(len(labels))]


@pytest.mark.parametrize("writer", [*TEXTS, as_folders])
def test_labels_in_digits_stay_apart(writer: Writer) -> None:
    labels = ["01", "1", "007", "01", "1", "007"]
    assert read_back(writer, labels) == (("007", "01", "1"), labels)


@pytest.mark.parametrize("writer", TEXTS)
@pytest.mark.parametrize(
    ("labels", "classes"),
    [
        (["10", "9", "2"], ("2", "9", "10")),
        (["10", "9", "02"], ("02", "10", "9")),
        (["1.0", "2.0", "10.0"], ("1.0", "10.0", "2.0")),
        (["1", "1.0"], ("1", "1.0")),
        (["3", "T", "n"], ("3", "T", "n")),
        (["+1", "1", "1_0", "１"], ("+1", "1", "1_0", "１")),  # noqa: RUF001
        (["4006381333931", "12"], ("12", "4006381333931")),
        (["Cat", "cat", "nan"], ("Cat", "cat", "nan")),
    ],
)
def test_classes_are_the_texts_that_occur(
    writer: Writer, labels: list[str], classes: tuple[str, ...]
) -> None:
    assert read_back(writer, labels) == (classes, labels)


@pytest.mark.parametrize("writer", TEXTS)
@pytest.mark.parametrize(
    ("label", "words"),
    [
        ("007", "'007' is not among the classes of names.txt, nor is it an id, which would be '7'"),
        ("1.0", "nor is it an id, which would be '1'"),
        ("1.5", "'1.5' is not among the classes of names.txt"),
        ("dgo", "did you mean 'dog'"),
        ("2", "label 2 is beyond the 2 classes"),
    ],
)
def test_an_id_among_known_classes_is_a_number(
    writer: Writer, label: str, words: str, tmp_path: Path
) -> None:
    (tmp_path / "names.txt").write_text("cat\ndog\n")
    options = SourceOptions(classes=str(tmp_path / "names.txt"))
    assert [s.label for s in opened(writer, ["1", "cat", "dog"], options).samples] == [1, 0, 1]
    with pytest.raises(DataError) as error:
        opened(writer, ["1", label], options)
    assert words in str(error.value)
    assert ("nor is it an id" in str(error.value)) == ("nor is it an id" in words)


@pytest.mark.parametrize("writer", TEXTS)
def test_names_in_digits_take_no_ids(writer: Writer, tmp_path: Path) -> None:
    (tmp_path / "names.txt").write_text("01\n02\n007\n")
    options = SourceOptions(classes=str(tmp_path / "names.txt"))
    source = opened(writer, ["007", "02"], options)
    assert [sample.label for sample in source.samples] == [2, 1]
    with pytest.raises(DataError, match="label '1' is not among the classes"):
        opened(writer, ["1", "02"], options)


def test_a_column_of_fractions_says_how_to_write_it(tmp_path: Path) -> None:
    path = tmp_path / "a.parquet"
    images = [{"bytes": b"x", "path": None}] * 2
    for labels, words in (
        ([1.0, 0.0], "'1.0' is neither a whole number nor a name: write the labels as whole"),
        ([float("nan"), 0.0], "'nan' is neither a whole number nor a name: it is missing"),
    ):
        pq.write_table(pa.table({"image": images, "label": labels}), path)
        with pytest.raises(DataError) as error:
            open_source(str(path))
        assert words in str(error.value)


def is_plain(label: str) -> bool:
    """Tell whether the rules take a text as it is, wherever it stands."""
    parts = label.replace("|", ",").replace(";", ",").split(",")
    return (
        label == label.strip()
        and not (as_number(label) or 0) < 0
        and not (len(parts) > 1 and all(part.strip().lstrip("-").isdigit() for part in parts))
    )


def is_folder_name(label: str) -> bool:
    return "/" not in label and not label.startswith(".") and len(label.encode()) < 256


LABEL = st.one_of(
    st.sampled_from(["0", "1", "01", "007", "7", "1.0", "-0", "10", "9", "cat", "Cat", "nan", "é"]),
    st.from_regex(r"0{0,3}[0-9]{1,3}(\.0)?", fullmatch=True),
    st.text(st.characters(exclude_categories=["C", "Zl", "Zp"]), min_size=1, max_size=6),
).filter(is_plain)


@given(st.lists(LABEL, min_size=2, max_size=6, unique=True))
@example(["01", "1", "007"])
@example(["3", "cat"])
@pytest.mark.slow
def test_every_text_is_a_class_as_every_folder_is(labels: list[str]) -> None:
    for writer in TEXTS:
        classes, back = read_back(writer, labels)
        assert back == labels
        assert len(classes) == len(labels)
    names = [label for label in labels if is_folder_name(label)]
    if len(names) > 1:
        as_text, _ = read_back(as_csv, names)
        as_folder, back = read_back(as_folders, names)
        assert back == names
        assert set(as_text) == set(as_folder)


@given(st.integers(-(10**17), 10**17))
def test_a_number_is_what_it_is_written_as(number: int) -> None:
    assert as_number(str(number)) == number
    assert as_number(f"0{number}") is None
    assert as_number(f"{number}.0") is None
    assert as_number(f" {number}") is None
