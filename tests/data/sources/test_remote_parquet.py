import io
import pickle
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from numpy.random import default_rng
from PIL import Image

pytest.importorskip("s3fs")
pytest.importorskip("moto")
pytest.importorskip("pyarrow")

import loopback_s3
from fleetnet.cluster.images import images_of
from fleetnet.cluster.parts import parts_of
from fleetnet.data.remote import store
from fleetnet.data.remote.shard_cache import ShardCache
from fleetnet.data.remote.store import RemoteFile
from fleetnet.data.shard_images import images_in
from fleetnet.data.sharding.make import make_shards
from fleetnet.data.sharding.plan import ShardOptions
from fleetnet.data.sources import SourceOptions, fingerprint, notes_of, open_source
from fleetnet.errors import DataError, ImageError
from fleetnet.left_out import LeftOut
from listed import read_all
from loopback_s3 import BUCKET, BadLine
from parquets import write


@pytest.fixture(autouse=True)
def quick(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FLEETNET_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(store, "WAIT_S", 0.01)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for number in range(3):
        rows = range(number * 5, number * 5 + 5)
        images = [b"image %d" % row + default_rng(row).bytes(30_000) for row in rows]
        write(tmp_path / "d" / f"{number:03d}.parquet", images, [row % 2 for row in rows], 2)
    (tmp_path / "d" / "classes.txt").write_text("even\nodd\n")
    return tmp_path / "d"


@pytest.fixture(scope="module")
def s3() -> Iterator[int]:
    with loopback_s3.server() as port:
        yield port


@pytest.fixture
def line(s3: int, folder: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[BadLine]:
    with loopback_s3.bad_line(s3, folder, folder.parent.name, monkeypatch) as line:
        yield line


def test_they_are_those_of_the_folder_and_looked_into_once(folder: Path, line: BadLine) -> None:
    here = open_source(str(folder))
    line.cuts = 2
    address = f"s3://{BUCKET}/{folder.parent.name}/{{000..002}}.parquet"
    there = open_source(address)
    assert not line.cuts
    assert fingerprint(there) == fingerprint(here)
    assert there.classes == ("even", "odd")
    assert there.shards is not None
    assert here.shards is not None
    assert there.shards.tolist() == here.shards.tolist()
    assert read_all(there) == read_all(here)
    assert read_all(pickle.loads(pickle.dumps(there))) == read_all(here)  # noqa: S301
    shutil.rmtree(folder.parent / "cache" / "shards")
    before = line.passed
    again = open_source(f"s3://{BUCKET}/{folder.parent.name}/")
    assert line.passed - before < 30_000
    assert fingerprint(again) == fingerprint(here)
    assert again.read(7) == here.read(7)


@pytest.mark.parametrize("asked", ["stop", "skip"])
def test_a_bad_one_stops_or_is_left_out_as_asked(folder: Path, asked: str) -> None:
    (folder / "001.parquet").write_bytes(b"PAR1 and no more")
    address = f"file://{folder}/{{000..003}}.parquet"
    options = SourceOptions(bad_shards=asked)  # type: ignore[arg-type]
    if asked == "stop":
        with pytest.raises(DataError, match=r"003\.parquet does not exist"):
            open_source(address, options=options)
        with pytest.raises(DataError, match=r"001\.parquet is no Parquet file.*bad_shards='skip'"):
            open_source(f"file://{folder}/", options=options)
        return
    source = open_source(address, options=options)
    assert len(source.samples) == 10
    assert len(notes_of(source)) == 2
    assert source.read(9).startswith(b"image 14")


def picture(seed: int) -> bytes:
    out = io.BytesIO()
    Image.fromarray(default_rng(seed).integers(0, 256, (40, 40, 3), "u1")).save(out, "PNG")
    return out.getvalue()


def test_a_manifest_says_what_they_are(tmp_path: Path) -> None:
    folder = tmp_path / "d"
    write(folder / "a.parquet", list(map(picture, range(12))), [0, 1] * 6, 5)
    options = ShardOptions("parquet", per_shard=4)
    make_shards(open_source(str(folder)), tmp_path / "made", options)
    address = f"file://{tmp_path}/made/"
    source = open_source(address)
    assert fingerprint(source) == fingerprint(open_source(str(tmp_path / "made")))
    assert sorted(read_all(source)) == sorted(read_all(open_source(str(folder))))
    file = sorted((tmp_path / "made").glob("*.parquet"))[1]
    content = bytearray(file.read_bytes())
    content[len(content) // 2] ^= 1
    file.write_bytes(content)
    shutil.rmtree(tmp_path / "cache" / "shards")
    with pytest.raises(ImageError, match="SHA-256"):
        open_source(address).read(5)


def test_one_that_changes_or_is_gone_later_is_named(folder: Path, tmp_path: Path) -> None:
    source = open_source(f"file://{folder}/")
    shutil.rmtree(tmp_path / "cache" / "shards")
    (folder / "000.parquet").unlink()
    with pytest.raises(ImageError, match=r"000\.parquet does not exist"):
        source.read(0)
    assert source.read(14).startswith(b"image 14")


def test_one_that_has_just_gone_from_the_cache_is_fetched_again(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As where another process needs its place between fetching and opening it."""
    gone = iter(range(2))
    fetch = ShardCache.fetch

    def fetched(cache: ShardCache, file: RemoteFile) -> Path:
        path = fetch(cache, file)
        if next(gone, None) is not None:
            path.unlink()
        return path

    monkeypatch.setattr(ShardCache, "fetch", fetched)
    found = list(images_in(f"file://{folder}/000.parquet"))
    assert [image.name for image in found] == [f"000.parquet#{row}" for row in range(5)]
    contents = [image.content for image in found]
    assert all(isinstance(one, bytes) and one.startswith(b"image") for one in contents)
    (part,) = parts_of([f"file://{folder}/001.parquet"], 10, LeftOut())
    gone = iter(range(2))
    assert all(isinstance(image, bytes) for _, image in images_of(part, ""))


def test_options_of_another_kind_are_refused(folder: Path) -> None:
    with pytest.raises(DataError, match="image_column= has no meaning for tar files"):
        (folder / "a.tar").write_bytes(b"")
        open_source(f"file://{folder}/a.tar", options=SourceOptions(image_column="image"))
