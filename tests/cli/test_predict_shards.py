import json
from collections.abc import Iterator
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread

import pytest

from conftest import Run
from fleetnet.bundle import Bundle
from fleetnet.data.sources import open_source
from fleetnet.image_files import find_images

pytest.importorskip("pyarrow")
pytest.importorskip("aiohttp")

from tars import shard


@pytest.fixture(autouse=True)
def own_place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FLEETNET_CACHE", str(tmp_path / "cache"))


@pytest.fixture(scope="module", params=["webdataset", "parquet"])
def shards(
    request: pytest.FixtureRequest, shapes: Path, tmp_path_factory: pytest.TempPathFactory
) -> Path:
    from fleetnet.cli import main

    folder = tmp_path_factory.mktemp("shards") / "d"
    command = ["data", "shard", str(shapes), str(folder), "--per-shard", "20"]
    with pytest.raises(SystemExit) as ended:
        main([*command, "--format", request.param])
    assert ended.value.code in (0, None)
    return folder


@pytest.fixture
def address(shards: Path) -> Iterator[str]:
    class Quiet(SimpleHTTPRequestHandler):
        def log_request(self, *args: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(Quiet, directory=str(shards)))
    thread = Thread(target=server.serve_forever)
    thread.start()
    yield f"http://127.0.0.1:{server.server_address[1]}"
    server.shutdown()
    thread.join()
    server.server_close()


def rows_of(text: str) -> dict[str, object]:
    rows = [json.loads(line) for line in text.splitlines()]
    return {row["image"]: row["top"] for row in rows}


def test_rows_are_those_of_the_index_and_answers_those_of_the_files(
    fleetnet: Run, bundle: Bundle, shapes: Path, shards: Path, address: str
) -> None:
    result = fleetnet("predict", bundle.path, shards, "--json")
    assert result.code == 0, result.err
    found = rows_of(result.out)
    assert list(found) == [sample.name for sample in open_source(str(shards)).samples]
    files = rows_of(fleetnet("predict", bundle.path, shapes, "--json").out)
    assert len(files) == len(found) == len(list(find_images([str(shapes)])))
    assert sorted(map(str, found.values())) == sorted(map(str, files.values()))
    for there in (f"{address}/", f"file://{shards}"):
        assert fleetnet("predict", bundle.path, there, "--json").out == result.out


def test_what_cannot_be_read_is_a_row(
    fleetnet: Run, bundle: Bundle, shapes: Path, tmp_path: Path
) -> None:
    image = next(find_images([str(shapes)]))
    good = Path(image).read_bytes()
    name = Path(image).suffix
    shard(tmp_path / "0.tar", [(f"a{name}", good), (f"b{name}", b"no image"), ("c.txt", b"3")])
    damaged = shard(tmp_path / "1.tar", [(f"d{name}", good), (f"e{name}", good * 20)])
    damaged.write_bytes(damaged.read_bytes()[:-30_000])
    (tmp_path / "2.parquet").write_bytes(b"PAR1 but no more")
    given = [tmp_path / "0.tar", f"file://{tmp_path}/1.tar", tmp_path / "2.parquet"]
    result = fleetnet("predict", bundle.path, *given, tmp_path / "3.tar", "--json")
    assert result.code == 1
    rows = [json.loads(line) for line in result.out.splitlines()]
    errors = {row["image"]: row["error"] for row in rows}
    assert list(errors)[:3] == [f"0.tar/a{name}", f"0.tar/b{name}", f"1.tar/d{name}"]
    assert errors[f"0.tar/a{name}"] is errors[f"1.tar/d{name}"] is None
    assert errors[f"0.tar/b{name}"]
    assert f"file://{tmp_path}/1.tar is no tar file, or is damaged" in str(errors["1.tar"])
    assert "is no Parquet file" in str(errors["2.parquet"])
    assert errors["3.tar"] == "No such file or directory"


def test_a_folder_with_images_stays_one_of_images(
    fleetnet: Run, bundle: Bundle, shapes: Path, tmp_path: Path
) -> None:
    image = Path(next(find_images([str(shapes)])))
    (tmp_path / image.name).write_bytes(image.read_bytes())
    shard(tmp_path / "0.tar", [("a.jpg", b"")])
    result = fleetnet("predict", bundle.path, tmp_path, "--json")
    assert list(rows_of(result.out)) == [str(tmp_path / image.name)]


@pytest.mark.parametrize("shards", ["webdataset"], indirect=True)
def test_shards_verify_a_bundle(fleetnet: Run, bundle: Bundle, address: str) -> None:
    result = fleetnet("verify", bundle.path, "--images", f"{address}/", "--limit", 4, "--json")
    assert result.code == 0, result.err
    assert {one["images"] for one in json.loads(result.out)["engines"]} == {4}


@pytest.mark.parametrize("shards", ["parquet"], indirect=True)
def test_evaluating_from_afar_is_evaluating_here(
    fleetnet: Run, bundle: Bundle, shards: Path, address: str
) -> None:
    here = fleetnet("evaluate", bundle.path, shards, "--bootstrap", 0, "--json")
    there = fleetnet("evaluate", bundle.path, f"{address}/", "--bootstrap", 0, "--json")
    assert here.code == there.code == 0, there.err
    found = [json.loads(one.out) for one in (here, there)]
    for one in found:
        del one["part"]  # says where the images are
    assert found[0] == found[1]
