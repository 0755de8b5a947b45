"""Clones of data sets from the Hugging Face hub, in the forms that it keeps them in."""

import io
import json
import tarfile
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from fleetnet.data.sources import FolderSource, ParquetSource, WebDatasetSource, open_source
from fleetnet.data.splits import split
from fleetnet.errors import DataError
from samples import make_folder

FEATURES = {"image": {"_type": "Image"}, "label": {"_type": "ClassLabel", "names": ["cat", "dog"]}}


def parquet(path: Path, first: int = 0, count: int = 6) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    numbers = range(first, first + count)
    table = pa.table(
        {
            "image": [{"bytes": b"image %d" % number, "path": None} for number in numbers],
            "label": [number % 2 for number in numbers],
        }
    )
    info = json.dumps({"info": {"features": FEATURES}})
    pq.write_table(table.replace_schema_metadata({"huggingface": info}), path)
    return path


def tar(path: Path) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    with tarfile.open(path, "w") as file:
        for number in range(4):
            for name, data in ((f"{number}.jpg", b"x"), (f"{number}.cls", b"%d" % (number % 2))):
                info = tarfile.TarInfo(name)
                info.size = len(data)
                file.addfile(info, io.BytesIO(data))
    return path


def clone(folder: Path) -> Path:
    """Write what every clone has beside its data."""
    folder.mkdir(exist_ok=True)
    (folder / "README.md").write_text("---\nlicense: mit\n---\n")
    (folder / ".gitattributes").write_text("*.parquet filter=lfs\n")
    (folder / ".git" / "lfs" / "objects").mkdir(parents=True)
    parquet(folder / ".git" / "x" / "train.parquet")
    return folder


def refuses(path: Path, *words: str) -> None:
    with pytest.raises(DataError) as error:
        open_source(str(path))
    for word in words:
        assert word in str(error.value)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("train", "val"),
    [
        ("data/train-00000-of-00001.parquet", "data/validation-00000-of-00001.parquet"),
        ("plain_text/train-00000-of-00001.parquet", "plain_text/validation-00000-of-00001.parquet"),
        ("default/train/0000.parquet", "default/validation/0000.parquet"),
        ("default/partial-train/0000.parquet", "default/partial-validation/0000.parquet"),
        ("Train/0.parquet", "Validation/0.parquet"),
        ("unpacked/plain_text/data/train.parquet", "unpacked/plain_text/data/val.parquet"),
    ],
)
def test_one_configuration_is_read(tmp_path: Path, train: str, val: str) -> None:
    root = clone(tmp_path / "clone")
    parquet(root / train)
    parquet(root / val, 6, 4)
    source = open_source(str(root))
    assert isinstance(source, ParquetSource)
    assert source.classes == ("cat", "dog")
    assert [len(side) for side in split(source)] == [6, 4, 0, 0]


def test_a_test_part_beside_train_does_not_train(tmp_path: Path) -> None:
    root = clone(tmp_path / "clone")
    parquet(root / "plain_text" / "train-00000-of-00001.parquet")
    parquet(root / "plain_text" / "test-00000-of-00001.parquet", 6, 4)
    parts = split(open_source(str(root)))
    assert len(parts.train) + len(parts.val) == 6


def test_several_configurations_are_named(tmp_path: Path) -> None:
    root = clone(tmp_path / "clone")
    parquet(root / "full" / "train-00000-of-00001.parquet")
    parquet(root / "small" / "train-00000-of-00001.parquet")
    refuses(root, "several configurations, each with Parquet files", "full, small",
            f"such as {root / 'full'}")  # fmt: skip
    assert len(open_source(str(root / "small")).samples) == 6
    for number in range(20):
        parquet(root / f"v{number:02d}" / "train.parquet", count=2)
    refuses(root, "full, small, v00", "and 10 more")


def test_configurations_of_tar_files(tmp_path: Path) -> None:
    root = clone(tmp_path / "clone")
    tar(root / "small" / "train-000.tar")
    assert isinstance(open_source(str(root)), WebDatasetSource)
    tar(root / "large" / "train" / "000.tar")
    refuses(root, "each with tar files", "large, small")


def test_class_folders_stay_class_folders(tmp_path: Path) -> None:
    root = make_folder(tmp_path / "d", 2)
    parquet(root / "circle" / "embeddings.parquet")
    tar(root / "square" / "backup.tar")
    source = open_source(str(root))
    assert isinstance(source, FolderSource)
    assert source.classes == ("circle", "square", "stripes")


def test_images_with_a_table_beside_them(tmp_path: Path) -> None:
    root = clone(tmp_path / "clone")
    for name in ("0001", "0002"):
        (root / "train").mkdir(exist_ok=True)
        (root / "train" / f"{name}.png").write_bytes(b"x")
    lines = root / "train" / "metadata.jsonl"
    lines.write_text('{"file_name": "0001.png", "label": 0}\n')
    refuses(root, f"{lines} is not read", "columns file_name and label")
    table = root / "train" / "metadata.csv"
    table.write_text("file_name,label\n0001.png,cat\n0002.png,dog\n")
    refuses(root, f"if their labels are in {table}, give that file")
    assert open_source(str(table)).classes == ("cat", "dog")


def test_a_clone_whose_files_are_not_fetched(tmp_path: Path) -> None:
    root = clone(tmp_path / "clone")
    path = parquet(root / "plain_text" / "train-00000-of-00001.parquet")
    path.write_text("version https://git-lfs.github.com/spec/v1\noid sha256:4d7a\nsize 9\n")
    refuses(root, f"{path} is a Git LFS pointer", "run 'git lfs pull'")
