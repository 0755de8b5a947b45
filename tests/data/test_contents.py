"""Images are known by their content, in whichever form the data keeps them."""

import io
import tarfile
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from fleetnet.data.contents import Remembered, are_among, content_of, from_bytes, to_bytes
from fleetnet.data.sources import FolderSource, Source, open_source
from samples import make_folder


def contents(source: Source) -> np.ndarray[tuple[int], np.dtype[np.uint64]]:
    count = len(source.samples)
    return np.array([content_of(source.read(index)) for index in range(count)], np.uint64)


def as_list(folder: Path, where: Path) -> Path:
    rows = [f"{file.relative_to(folder)},{file.parent.name}" for file in folder.glob("*/*")]
    (where / "list.csv").write_text("\n".join(["path,label", *rows]) + "\n")
    (where / "images").symlink_to(folder)
    for name in ("circle", "square"):
        (where / name).symlink_to(folder / name)
    return where / "list.csv"


def as_shards(folder: Path, where: Path) -> Path:
    with tarfile.open(where / "data.tar", "w") as archive:
        for number, file in enumerate(sorted(folder.glob("*/*"))):
            label = str(("circle", "square").index(file.parent.name)).encode()
            for name, data in ((file.suffix[1:], file.read_bytes()), ("cls", label)):
                info = tarfile.TarInfo(f"{number:04d}.{name}")
                info.size = len(data)
                archive.addfile(info, io.BytesIO(data))
    return where / "data.tar"


def as_table(folder: Path, where: Path) -> Path:
    files = sorted(folder.glob("*/*"))
    columns = {
        "image": pa.array([file.read_bytes() for file in files], pa.binary()),
        "label": pa.array([file.parent.name for file in files]),
    }
    pq.write_table(pa.table(columns), where / "data.parquet", row_group_size=3)
    return where / "data.parquet"


@pytest.mark.parametrize("form", [as_list, as_shards, as_table])
def test_an_image_is_the_same_in_every_form(form, tmp_path: Path) -> None:  # type: ignore[no-untyped-def]
    folder = make_folder(tmp_path / "folder", 4, ("circle", "square"))
    known = contents(FolderSource(folder))
    (tmp_path / "other").mkdir()
    source = open_source(str(form(folder, tmp_path / "other")))
    everything = np.arange(len(source.samples))
    done: list[int] = []
    assert are_among(source, everything, known, done.append).tolist() == [True] * 8
    assert sum(done) == 8
    assert are_among(source, everything, known[:0]).tolist() == [False] * 8
    some = contents(source)[[1, 6]]
    assert are_among(source, everything[1:], some).tolist() == [True, *[False] * 4, True, False]


def test_unreadable_images_are_equal_to_no_other(tmp_path: Path) -> None:
    folder = make_folder(tmp_path / "folder", 2, ("circle", "square"))
    source = FolderSource(folder)
    known = np.append(contents(source), np.uint64(0))
    (folder / "circle" / "001.jpg").unlink()
    assert are_among(source, np.arange(4), known).tolist() == [True, False, True, True]
    assert are_among(source, np.arange(0), known).tolist() == []


def test_the_numbers_are_those_of_blake2b_in_any_language() -> None:
    """As ``b2sum --length=64`` prints them, read from the last byte to the first."""
    assert content_of(b"") == int.from_bytes(bytes.fromhex("e4a6a0577479b2b4"), "little")
    numbers = np.array([3, 1, 2**64 - 1, 3], np.uint64)
    assert to_bytes(numbers) == b"\1" + b"\0" * 7 + b"\3" + b"\0" * 7 + b"\xff" * 8
    assert from_bytes(to_bytes(numbers)).tolist() == [1, 3, 2**64 - 1]
    assert from_bytes(b"cut").tolist() == []


def test_each_content_is_recorded_once() -> None:
    remembered = Remembered(np.array([5, 1], np.uint64))
    remembered.add(np.array([1, 9], np.uint64))
    remembered.add(np.array([], np.uint64))
    assert remembered.contents().tolist() == [1, 5, 9]
    remembered.add(np.array([0], np.uint64))
    assert remembered.contents().tolist() == [0, 1, 5, 9]
