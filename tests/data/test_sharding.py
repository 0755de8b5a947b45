import io
import json
import os
import pickle
import signal
import subprocess
import sys
import tarfile
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from benchmarks.shards.open_index import made
from conftest import Run
from fleetnet.data.contents import digest_of
from fleetnet.data.duplicates import exact_groups
from fleetnet.data.sharding import make
from fleetnet.data.sharding.make import make_shards
from fleetnet.data.sharding.plan import ShardOptions
from fleetnet.data.sharding.tar_shard import TarShard
from fleetnet.data.sources import Source, SourceOptions, fingerprint, open_source
from fleetnet.data.sources.shard_manifest import INDEX, MANIFEST, ShardsKind
from fleetnet.data.sources.tar_columns import load
from fleetnet.errors import DataError, FleetnetError
from samples import encode


def picture(number: int, width: int = 8, height: int = 8) -> Image.Image:
    rng = np.random.default_rng(number)
    return Image.fromarray(rng.integers(0, 256, (height, width, 3), np.uint8))


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Names that are the same but for their endings or their dots, and two equal images."""
    for kind in ("cat", "dog.v2"):
        for number in range(5):
            path = tmp_path / "in" / kind / f"{number}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            picture(number if kind == "cat" else number + 10).save(path)
    picture(30).save(tmp_path / "in" / "cat" / "0.jpg")
    picture(31).save(tmp_path / "in" / "cat" / "1.b.png")
    picture(32).save(tmp_path / "in" / "cat" / "1_b.png")
    picture(3).save(tmp_path / "in" / "cat" / "copy.png")
    return tmp_path / "in"


def by_label(source: Source) -> list[tuple[str, bytes]]:
    """Return the class and the digest of every image, sorted."""
    return sorted(
        (source.classes[sample.label], digest_of(source.read(index)))
        for index, sample in enumerate(source.samples)
    )


@pytest.mark.parametrize("kind", ["webdataset", "parquet"])
def test_the_images_in_shards_are_those_of_the_source(
    folder: Path, tmp_path: Path, kind: ShardsKind
) -> None:
    source = open_source(str(folder))
    steps: list[int] = []
    out = tmp_path / "out"
    options = ShardOptions(kind, per_shard=4)
    manifest, left_out = make_shards(source, out, options, advance=steps.append)
    made = open_source(str(out))
    assert by_label(made) == by_label(source)
    assert made.classes == source.classes
    assert (manifest.samples, sum(steps), left_out) == (14, 14, ())
    assert [entry.samples for entry in manifest.shards] == [4, 4, 4, 2]
    assert not (out / make.MAKING).exists()
    assert make_shards(source, out, options)[0] == manifest
    with pytest.raises(DataError, match="with other options"):
        make_shards(source, out, ShardOptions(kind, per_shard=5))


def test_an_index_says_what_the_headers_do(folder: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    make_shards(open_source(str(folder)), out, ShardOptions(per_shard=4))
    mapped = open_source(str(out))
    part = open_source(str(out / "shard-00000[02].tar"))
    (out / MANIFEST).unlink()
    read = open_source(str(out))
    assert getattr(read, "digests", None) is None
    assert fingerprint(mapped) == fingerprint(read)
    assert list(mapped.samples) == list(read.samples)
    assert [mapped.read(n) for n in range(14)] == [read.read(n) for n in range(14)]
    groups = exact_groups(mapped)
    assert groups.tolist() == exact_groups(read).tolist()
    assert len(set(groups.tolist())) == 13
    assert list(part.samples) == list(open_source(str(out / "shard-00000[02].tar")).samples)
    assert [part.read(n) for n in (3, 4)] == [read.read(n) for n in (3, 8)]


@pytest.mark.parametrize("damage", ["shorter", "other", "no zip", "outside"])
def test_a_damaged_index_is_refused(folder: Path, tmp_path: Path, damage: str) -> None:
    out = tmp_path / "out"
    make_shards(open_source(str(folder)), out)
    whole = (out / INDEX).read_bytes()
    places = np.load(out / INDEX)["offsets"].tobytes()
    changed = {
        "shorter": whole[:-100],
        "other": whole.replace(b"fleetnet-shard-index", b"fleetnet-other-index"),
        "no zip": bytes(len(whole)),
        "outside": whole.replace(places, (2**40).to_bytes(8, "little") * (len(places) // 8)),
    }[damage]
    (out / INDEX).write_bytes(changed)
    told = json.loads((out / MANIFEST).read_text())
    told["index"]["bytes"] = len(changed)
    (out / MANIFEST).write_text(json.dumps(told))
    with pytest.raises(DataError, match=r"is no index of shards, or is damaged"):
        open_source(str(out))


def test_changed_shards_are_read_anew(folder: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    make_shards(open_source(str(folder)), out, ShardOptions(per_shard=7))
    with tarfile.open(out / "shard-000001.tar", "a") as tar:
        for name, content in (("new.png", encode(picture(50, 90, 90))), ("new.cls", b"0")):
            info = tarfile.TarInfo(name)
            info.size = len(content)
            tar.addfile(info, io.BytesIO(content))
    assert len(open_source(str(out)).samples) == 15


def test_splits_and_several_labels_stay(tmp_path: Path) -> None:
    rows = []
    for number in range(9):
        picture(number).save(tmp_path / f"{number}.png")
        rows.append(
            f"{number}.png,{'7|8' if number % 2 else '7'},{['train', 'val', 'test'][number % 3]}"
        )
    (tmp_path / "t.csv").write_text("\n".join(["path,label,split", *rows]))
    source = open_source(str(tmp_path / "t.csv"), options=SourceOptions(multi_label="names"))
    for kind in ("webdataset", "parquet"):
        make_shards(source, tmp_path / kind, ShardOptions(kind))
        made = open_source(str(tmp_path / kind))
        assert made.multi_label
        found = sorted((s.split or "", s.labels, made.read(n)) for n, s in enumerate(made.samples))
        given = ((s.split or "", s.labels, source.read(n)) for n, s in enumerate(source.samples))
        assert found == sorted(given)
    # So it is without the index.
    (tmp_path / "webdataset" / MANIFEST).unlink()
    read = open_source(str(tmp_path / "webdataset"), options=SourceOptions(multi_label="names"))
    assert [s.labels for s in read.samples].count((0, 1)) == 4


def test_larger_images_are_made_smaller(tmp_path: Path) -> None:
    (tmp_path / "in" / "a").mkdir(parents=True)
    (tmp_path / "in" / "b").mkdir()
    turned = Image.Exif()
    turned[0x0112] = 6
    picture(1, 40, 20).save(tmp_path / "in" / "a" / "1.jpg", exif=turned)
    picture(2, 30, 60).save(tmp_path / "in" / "a" / "2.png")
    picture(3, 16, 12).save(tmp_path / "in" / "b" / "3.png")
    source = open_source(str(tmp_path / "in"))
    make_shards(source, tmp_path / "out", ShardOptions(max_side=16))
    made = open_source(str(tmp_path / "out"))
    sizes = {}
    for index, sample in enumerate(made.samples):
        with Image.open(io.BytesIO(made.read(index))) as image:
            sizes[sample.name.partition("/")[2]] = (image.format, image.size)
    assert sizes == {
        "a/1.jpg": ("JPEG", (8, 16)),
        "a/2.png": ("PNG", (8, 16)),
        "b/3.png": ("PNG", (16, 12)),
    }
    kept = next(n for n, sample in enumerate(made.samples) if "3.png" in sample.name)
    assert made.read(kept) == (tmp_path / "in" / "b" / "3.png").read_bytes()


def test_what_is_not_written_as_it_was_is_refused(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    close = TarShard.close

    def damaging(shard: TarShard) -> str:
        digest = close(shard)
        content = bytearray(shard._path.read_bytes())
        content[700] ^= 1
        shard._path.write_bytes(content)
        return digest

    monkeypatch.setattr(TarShard, "close", damaging)
    with pytest.raises(DataError, match="is not on the disk as it was written"):
        make_shards(open_source(str(folder)), tmp_path / "out")
    assert not list((tmp_path / "out").glob("*.tar"))


@pytest.mark.parametrize("after", [1, 6, 13])
def test_a_killed_call_is_continued(folder: Path, tmp_path: Path, after: int) -> None:
    """Each time it is killed after some images; in the end it is as if it had not been."""
    program = f"""
import os, signal
from fleetnet.data.sharding.make import make_shards
from fleetnet.data.sharding.tar_shard import TarShard
from fleetnet.data.sharding.plan import ShardOptions
from fleetnet.data.sources import open_source
done = 0
def advance(number):
    global done
    done += number
    if done > {after}:
        os.kill(os.getpid(), signal.SIGKILL)
make_shards(open_source({str(folder)!r}), __import__("pathlib").Path({str(tmp_path / "out")!r}),
            ShardOptions(per_shard=3), workers=1, advance=advance)
"""
    code = subprocess.run([sys.executable, "-c", program], check=False).returncode
    assert code == (-signal.SIGKILL if os.name == "posix" else 1)
    out = tmp_path / "out"
    there = {path: path.stat().st_mtime_ns for path in out.glob("*.tar")}
    assert not (out / MANIFEST).exists()
    source = open_source(str(folder))
    make_shards(source, out, ShardOptions(per_shard=3))
    assert {path: path.stat().st_mtime_ns for path in there} == there
    make_shards(source, tmp_path / "whole", ShardOptions(per_shard=3))
    contents = [
        {path.name: path.read_bytes() for path in place.iterdir() if path.suffix == ".tar"}
        for place in (out, tmp_path / "whole")
    ]
    assert contents[0] == contents[1]
    assert by_label(open_source(str(out))) == by_label(source)
    assert not list(out.glob(".*"))


def test_what_a_damaged_disk_left_half_made_is_made_again(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    source, out = open_source(str(folder)), tmp_path / "out"
    with monkeypatch.context() as patched, pytest.raises(FleetnetError, match="no space left"):
        patched.setattr(make, "_finish", full)
        make_shards(source, out, ShardOptions(per_shard=3))
    found = sorted((out / make.MAKING).glob("*.npz"))
    found[0].write_bytes(b"PK, and then nothing")
    found[1].unlink()
    make_shards(source, out, ShardOptions(per_shard=3))
    assert by_label(open_source(str(out))) == by_label(source)


def test_other_things_at_the_place_are_left(folder: Path, tmp_path: Path) -> None:
    source = open_source(str(folder))
    with pytest.raises(DataError, match="holds other things"):
        make_shards(source, folder)
    (tmp_path / "half" / make.MAKING).mkdir(parents=True)
    (tmp_path / "half" / make.MAKING / "plan").write_text("another")
    with pytest.raises(DataError, match="has the beginning of shards of other data"):
        make_shards(source, tmp_path / "half")


def test_the_command(fleetnet: Run, folder: Path, tmp_path: Path) -> None:
    (folder / "cat" / "bad.png").write_bytes(b"")
    out = str(tmp_path / "out")
    done = fleetnet("data", "shard", str(folder), out, "--per-shard", "10", "--max-side", "6")
    assert done.code == 1
    assert "14 images of 2 classes in 2 shards" in done.out
    assert "bad.png" in done.err
    assert len(open_source(out).samples) == 14
    refused = fleetnet("data", "shard", str(folder), out)
    assert refused.code == 2
    assert "with other options: choose another place" in refused.err


def test_an_index_is_mapped_and_not_copied(tmp_path: Path) -> None:
    """Not into this process, nor into the workers that it is sent to."""
    made(20_000).save(tmp_path / "index.npz")
    found = load(tmp_path / "index.npz")
    assert len(pickle.dumps(found)) < 1000
    for name in ("name_ends", "labels", "label_ends", "shards", "offsets", "sizes", "digests"):
        column = getattr(found, name)
        assert not column.flags.owndata
        assert not column.flags.writeable
    table = found.table(np.zeros(len(found.files), np.int8))
    assert len(table) == 20_000
    assert table[19_999].labels == (19_999,)
