import pickle
import shutil
from collections.abc import Iterator
from contextlib import closing
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from queue import Queue
from threading import Thread

import numpy as np
import pytest

pytest.importorskip("s3fs")
pytest.importorskip("moto")

import loopback_s3
from fleetnet.data.ahead import announced
from fleetnet.data.augment import Augment
from fleetnet.data.duplicates import exact_groups
from fleetnet.data.loader import Loader
from fleetnet.data.remote import shard_cache, store
from fleetnet.data.remote.prefetcher import Prefetcher
from fleetnet.data.sampling import Shuffled
from fleetnet.data.sharding.make import make_shards
from fleetnet.data.sharding.plan import ShardOptions
from fleetnet.data.sources import SourceOptions, fingerprint, notes_of, open_source
from fleetnet.data.sources.protocol import Fetches
from fleetnet.errors import DataError, ImageError
from fleetnet.preprocess import Preprocess
from listed import read_all
from loopback_s3 import BUCKET, BadLine
from tars import Members, pairs, shard

CONTENT = b"x" * 60_000


@pytest.fixture(autouse=True)
def quick(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FLEETNET_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(store, "WAIT_S", 0.01)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for number in range(4):
        numbers = range(number * 3, number * 3 + 3)
        members = [
            (name, content + CONTENT if name.endswith("jpg") else content)
            for name, content in pairs(numbers)
        ]
        shard(tmp_path / "d" / f"{number:03d}.tar", members)
    (tmp_path / "d" / "classes.txt").write_text("even\nodd\n")
    return tmp_path / "d"


@pytest.fixture(scope="session")
def s3() -> Iterator[int]:
    with loopback_s3.server() as port:
        yield port


@pytest.fixture
def line(s3: int, folder: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[BadLine]:
    with loopback_s3.bad_line(s3, folder, "set", monkeypatch) as line:
        yield line


def cached(tmp_path: Path) -> list[Path]:
    return sorted((tmp_path / "cache" / "shards").glob("*.shard"))


@pytest.mark.parametrize("pattern", ["", "/", "/{000..003}.tar", "/*.tar", "/00[0-3].tar"])
def test_the_forms_of_an_address(folder: Path, pattern: str) -> None:
    source = open_source(f"file://{folder}{pattern}")
    assert fingerprint(source) == fingerprint(open_source(str(folder)))
    assert read_all(source) == read_all(open_source(str(folder)))


@pytest.mark.parametrize("pattern", ["/", "/{000..003}.tar"])
def test_shards_in_s3_are_those_of_the_folder(folder: Path, line: BadLine, pattern: str) -> None:
    local = open_source(str(folder))
    source = open_source(f"s3://{BUCKET}/set{pattern}")
    assert source.classes == ("even", "odd")
    assert fingerprint(source) == fingerprint(local)
    assert read_all(source) == read_all(local)
    assert source.shards is not None
    assert source.shards.tolist() == [0] * 3 + [1] * 3 + [2] * 3 + [3] * 3
    again = pickle.loads(pickle.dumps(source))  # noqa: S301 - our own
    assert again.read(7) == source.read(7)


def test_what_is_in_shards_is_found_out_once(folder: Path, line: BadLine, tmp_path: Path) -> None:
    address = f"s3://{BUCKET}/set/{{000..003}}.tar"
    first = open_source(address)
    assert line.passed > 4 * 3 * len(CONTENT)
    shutil.rmtree(tmp_path / "cache" / "shards")
    line.passed = 0
    second = open_source(address)
    assert line.passed < len(CONTENT)
    assert fingerprint(first) == fingerprint(second)
    assert first.read(5) == second.read(5)


@pytest.mark.parametrize("made", [False, True])
def test_a_damaged_index_in_the_cache_is_made_anew(
    folder: Path, tmp_path: Path, made: bool
) -> None:
    """Whether it was found out here, or fetched because it lies beside the shards."""
    place = folder
    if made:
        place = tmp_path / "made"
        make_shards(open_source(str(folder)), place, ShardOptions(per_shard=4))
    first = open_source(f"file://{place}")
    (index,) = (tmp_path / "cache" / "indexes").glob("*.npz")
    whole = index.read_bytes()
    index.unlink()  # what is mapped stays
    index.write_bytes(whole[: len(whole) // 2])
    second = open_source(f"file://{place}")
    assert fingerprint(first) == fingerprint(second)
    assert second.read(5) == first.read(5)
    assert index.read_bytes() == whole


def test_a_connection_that_is_cut_goes_on(folder: Path, line: BadLine) -> None:
    line.cuts = 3
    source = open_source(f"s3://{BUCKET}/set/{{000..003}}.tar")
    assert line.cuts == 0
    assert read_all(source) == read_all(open_source(str(folder)))


def test_an_answer_that_does_not_come_is_asked_for_again(
    folder: Path, line: BadLine, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = open_source(f"s3://{BUCKET}/set/{{000..003}}.tar")
    shutil.rmtree(shard_cache.usual_cache().folder)
    monkeypatch.setattr(store, "TIMEOUT_S", 1.0)
    line.stalls = 1
    assert source.read(4) == b"image 4" + CONTENT
    assert line.stalls == 0


def test_a_shard_that_is_missing_is_named(folder: Path, line: BadLine) -> None:
    address = f"s3://{BUCKET}/set/{{000..005}}.tar"
    with pytest.raises(DataError, match=r"s3://data/set/00[45]\.tar does not exist"):
        open_source(address)
    source = open_source(address, options=SourceOptions(bad_shards="skip"))
    assert len(source.samples) == 12
    named = [note for note in notes_of(source) if "is left out" in note]
    assert [note.split()[5] for note in named] == [f"s3://{BUCKET}/set/00{n}.tar" for n in (4, 5)]


def test_a_damaged_shard_stops_or_is_skipped_as_asked(folder: Path, tmp_path: Path) -> None:
    whole = (folder / "002.tar").read_bytes()
    (folder / "002.tar").write_bytes(whole[:70_000])
    with pytest.raises(DataError, match=r"002\.tar .* damaged.*bad_shards='skip'") as error:
        open_source(f"file://{folder}")
    assert error.value.arguments == ("bad_shards",)
    source = open_source(f"file://{folder}", options=SourceOptions(bad_shards="skip"))
    assert len(source.samples) == 9
    assert any("002.tar is no tar file, or is damaged" in note for note in notes_of(source))
    (folder / "002.tar").write_bytes(whole)
    assert len(open_source(f"file://{folder}").samples) == 12


def test_a_shard_that_is_gone_later_is_named_and_the_others_are_read(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = open_source(f"file://{folder}")
    shutil.rmtree(tmp_path / "cache" / "shards")
    (folder / "001.tar").unlink()
    for index in (3, 4, 5):
        with pytest.raises(ImageError, match=r"001\.tar does not exist"):
            source.read(index)
    assert source.read(6).startswith(b"image 6")


def test_the_cache_stays_within_its_bound(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    size = (folder / "000.tar").stat().st_size
    monkeypatch.setenv("FLEETNET_SHARD_CACHE_GIB", str(2.5 * size / 2**30))
    source = open_source(f"file://{folder}")
    assert isinstance(source, Fetches)
    assert source.at_once == 1
    for index in np.random.default_rng(0).permutation(12).tolist() * 2:
        assert source.read(index).startswith(b"image %d" % index)
        assert sum(file.stat().st_size for file in cached(tmp_path)) <= 2.5 * size
    assert len(exact_groups(source)) == 12
    assert len(cached(tmp_path)) == 2
    monkeypatch.setenv("FLEETNET_SHARD_CACHE_GIB", str(0.5 * size / 2**30))
    with pytest.raises(DataError, match="more than the cache of shards may take"):
        open_source(f"file://{folder}", options=SourceOptions(label_columns=("x",)))


def test_what_a_killed_download_left_is_cleared(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    size = (folder / "000.tar").stat().st_size
    monkeypatch.setenv("FLEETNET_SHARD_CACHE_GIB", str(1.5 * size / 2**30))
    left = tmp_path / "cache" / "shards" / ("0" * 32 + ".part")
    left.parent.mkdir(parents=True)
    left.write_bytes(bytes(size))
    assert open_source(f"file://{folder}").read(0).startswith(b"image 0")
    assert not left.exists()


def test_over_http(folder: Path) -> None:
    class Quiet(SimpleHTTPRequestHandler):
        def log_request(self, *args: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(Quiet, directory=str(folder)))
    thread = Thread(target=server.serve_forever)
    thread.start()
    try:
        address = f"http://127.0.0.1:{server.server_address[1]}"
        for pattern in ("/{000..003}.tar", "/"):
            source = open_source(address + pattern)
            assert fingerprint(source) == fingerprint(open_source(str(folder)))
            # This server knows no ranges.
            assert read_all(source) == read_all(open_source(str(folder)))
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def test_it_is_told_what_the_next_batches_need(folder: Path) -> None:
    source = open_source(f"file://{folder}")
    expected: list[list[int]] = []
    monkey = pytest.MonkeyPatch()
    monkey.setattr(type(source), "expect", lambda _, shards: expected.append(list(shards)))
    order = Shuffled(source, np.arange(12), batch_size=2, seed=3, buffer=2)
    heard = announced(source, order)
    draws = list(heard.draws(1))
    monkey.undo()
    plain = list(order.draws(1))
    assert [draw.indices.tolist() for draw in draws] == [draw.indices.tolist() for draw in plain]
    assert (heard.images, heard.batch_size) == (order.images, order.batch_size)
    assert len(expected) == len(draws)
    assert source.shards is not None
    for shards, draw in zip(expected, draws, strict=True):
        assert set(source.shards[draw.indices]) <= set(shards)
    assert len(expected[0]) == 4
    assert announced(open_source(str(folder)), order) is order


def test_shards_are_fetched_ahead() -> None:
    fetched: Queue[int] = Queue()
    prefetcher = Prefetcher(fetched.put)
    prefetcher.want([3, 1])
    assert {fetched.get(), fetched.get()} == {1, 3}
    prefetcher.want([1, 2])
    assert fetched.get() == 2


@pytest.mark.slow
def test_training_goes_on_within_an_epoch_with_any_number_of_workers(
    shapes: Path, tmp_path: Path
) -> None:
    images = sorted(shapes.glob("*/*.jpg"))[:24]
    for number in range(3):
        members: Members = []
        for index, image in enumerate(images[number * 8 : number * 8 + 8]):
            members += [(f"{index}.jpg", image.read_bytes()), (f"{index}.cls", b"%d" % (index % 2))]
        shard(tmp_path / "s" / f"{number}.tar", members)
    source = open_source(f"file://{tmp_path}/s")
    preprocess = Preprocess(resize=36, crop=32)
    options = {"batch_size": 4, "buffer": 8, "seed": 5, "augment": Augment(preprocess)}
    open_loader = partial(Loader, source, np.arange(24), preprocess, **options)  # type: ignore[arg-type]
    with closing(open_loader(workers=0)) as loader:
        whole = [batch.indices.tolist() for batch in loader.batches(2)]
        pixels = [batch.pixels for batch in loader.batches(2)]
    shutil.rmtree(tmp_path / "cache" / "shards")
    with closing(open_loader(workers=2)) as loader:
        rest = list(loader.batches(2, start=2))
    assert [batch.indices.tolist() for batch in rest] == whole[2:]
    assert all((one.pixels == other).all() for one, other in zip(rest, pixels[2:], strict=True))
