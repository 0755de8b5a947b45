"""The command, with a process of the pool in place of Ray."""

from __future__ import annotations

import importlib.util
import json
import shutil
import socket
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("pyarrow")

import pyarrow.dataset
import pyarrow.parquet as parquet

import loopback_s3
from conftest import Run
from fleetnet.bundle import Bundle, Rejection, write_rejection
from fleetnet.cluster import pool, run
from fleetnet.cluster.connection import check_reachable
from fleetnet.cluster.job import OpenPart
from fleetnet.cluster.worker import Answered, Order, PartClassifier
from fleetnet.data.remote import store
from fleetnet.errors import require_all
from loopback_s3 import BUCKET
from samples import make_folder
from tars import shard


@pytest.fixture(autouse=True)
def no_ray(monkeypatch: pytest.MonkeyPatch) -> list[str | None]:
    """Answer in this process, and return the addresses that Ray would have been asked for."""
    addresses: list[str | None] = []

    def answered(
        order: Order, parts: Sequence[OpenPart], *, address: str | None, workers: int | None
    ) -> Iterator[Answered]:
        addresses.append(address)
        yield from (PartClassifier(order)(part._asdict()) for part in parts)

    monkeypatch.setattr(run, "answered", answered)
    monkeypatch.setattr(run, "require_all", lambda *_: None)
    monkeypatch.setattr(run, "check_reachable", lambda _: None)
    monkeypatch.delenv("RAY_ADDRESS", raising=False)
    return addresses


@pytest.fixture
def out(tmp_path: Path) -> Path:
    return tmp_path / "out"


def rows(output: Path) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = pyarrow.dataset.dataset(output).to_table().to_pylist()
    return found


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--ray"], "give --output"),
        (["--ray", "--output", "OUT", "--reject", "much"], "--reject is 'much'; it must be"),
        (["--ray", "--output", "OUT", "--csv"], "leave --json and --csv out"),
        (["--ray", "--output", "OUT", "--engine", "auto"], "name an engine"),
        (["--ray", "--output", "OUT", "--engine", "opnvino"], "did you mean 'openvino'"),
        (["--ray", "--output", "OUT", "--device", "gpu"], "leave --device gpu out"),
        (["--ray", "--output", "https://example.org/x"], "nothing can be written"),
        (["--output", "OUT"], "--output is for many processes: give --ray too"),
        (["--workers", "2"], "--workers is for many processes"),
        (["--per-part", "2"], "--per-part is for many processes"),
        (["--ray-address", "x:1"], "--ray-address is for many processes"),
    ],
)
def test_what_cannot_be_meant_is_one_line(
    fleetnet: Run, bundle: Bundle, shapes: Path, out: Path, arguments: list[str], words: str
) -> None:
    given = [str(out) if word == "OUT" else word for word in arguments]
    fleetnet("predict", bundle.path, shapes, *given).assert_one_line(words)
    assert not out.exists()


def test_a_server_answers_by_itself(fleetnet: Run, shapes: Path, out: Path) -> None:
    asked = ("predict", "http://127.0.0.1:1/x", shapes, "--ray", "--output", out)
    fleetnet(*asked).assert_one_line("give a bundle")


@pytest.mark.parametrize("source", ["nothing", "empty", "empty/*.jpg", "-"])
def test_a_source_without_images_leaves_nothing_behind(
    fleetnet: Run, bundle: Bundle, shapes: Path, tmp_path: Path, out: Path, source: str
) -> None:
    (tmp_path / "empty").mkdir()
    word = source if source == "-" else str(tmp_path / source)
    # Beside one that has images, too.
    fleetnet("predict", "--ray", bundle.path, shapes, word, "--output", out).assert_one_line()
    assert not out.exists()


def test_without_ray_the_line_says_what_to_install(
    fleetnet: Run, bundle: Bundle, shapes: Path, out: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(run, "require_all", require_all)
    found = importlib.util.find_spec
    monkeypatch.setattr(
        importlib.util, "find_spec", lambda name: None if name == "ray" else found(name)
    )
    fleetnet("predict", "--ray", bundle.path, shapes, "--output", out).assert_one_line(
        "pip install 'fleetnet[cluster]'"
    )
    assert not out.exists()


def test_a_folder_of_something_else_stays_as_it_is(
    fleetnet: Run, bundle: Bundle, shapes: Path, out: Path
) -> None:
    asked = ("predict", "--ray", bundle.path, shapes, "--output", out)
    (out / "inside").mkdir(parents=True)
    fleetnet(*asked).assert_one_line("holds other things: choose another --output")
    assert [file.name for file in out.rglob("*")] == ["inside"]
    (out / "inside").rmdir()
    assert fleetnet(*asked).code == 0
    fleetnet(*asked, "-k", "1").assert_one_line("top_k=3, not 1: choose another --output")
    assert fleetnet(*asked).code == 0


def test_options_reach_the_rows(
    fleetnet: Run, bundle: Bundle, shapes: Path, out: Path, tmp_path: Path
) -> None:
    (tmp_path / "labels.txt").write_text("0 round\n1 corners\n2 lines\n")
    result = fleetnet(
        "predict", "--ray", bundle.path, shapes, "--output", out, "-k", "1", "--per-part", "7",
        "--labels", tmp_path / "labels.txt",
    )  # fmt: skip
    assert result.code == 0, result
    assert "36 images in 6 parts, 6 parts made now" in result.out
    assert {row["class_1"] for row in rows(out)} <= {"round", "corners", "lines"}
    names = parquet.read_schema(out / "part-000000.parquet").names
    assert names == ["image", "class_1", "probability_1", "error"]


def test_another_threshold_reaches_the_rows(
    fleetnet: Run, bundle: Bundle, shapes: Path, out: Path, tmp_path: Path
) -> None:
    told = Rejection(
        score="max-logit", threshold=-1e9, coverage=1, risk=0, images=9, source="made up"
    )
    rejecting = write_rejection(bundle, told, tmp_path / "rejecting.bundle")

    def asked(where: str, *options: str) -> tuple[object, ...]:
        return ("predict", "--ray", rejecting.path, shapes, "--output", out / where, *options)

    for where, options, expected in (
        ("as-it-is", (), {False}),
        ("higher", ("--reject", "1e9"), {True}),
        ("one", ("--reject", "1"), None),
    ):
        assert fleetnet(*asked(where, *options)).code == 0
        found = {row["rejected"] for row in rows(out / where)}
        assert expected is None or found == expected
    assert fleetnet(*asked("off", "--reject", "off")).code == 0
    names = parquet.read_schema(out / "off" / "part-000000.parquet").names
    assert not {"rejected", "score"} & set(names)
    fleetnet(*asked("as-it-is", "--reject", "1")).assert_one_line(
        "another rejection (by the bundle's threshold): choose another --output"
    )
    fleetnet(*asked("one")).assert_one_line("another rejection (by 1.0)")
    fleetnet(*asked("off", "--reject", "0")).assert_one_line("another rejection (none)")
    fleetnet("predict", "--ray", bundle.path, shapes, "--output", out / "none", "--reject", "1"
    ).assert_one_line("has no rejection")  # fmt: skip
    assert not (out / "none").exists()


@pytest.mark.parametrize(
    ("arguments", "variable", "expected"),
    [
        ([], None, None),
        ([], "10.0.0.4:6379", "10.0.0.4:6379"),
        (["--ray-address", "local"], "10.0.0.4:6379", None),
        (["--ray-address", "here:1"], "10.0.0.4:6379", "here:1"),
    ],
)
def test_the_cluster_that_is_asked(
    fleetnet: Run,
    bundle: Bundle,
    shapes: Path,
    out: Path,
    no_ray: list[str | None],
    monkeypatch: pytest.MonkeyPatch,
    arguments: list[str],
    variable: str | None,
    expected: str | None,
) -> None:
    if variable is not None:
        monkeypatch.setenv("RAY_ADDRESS", variable)
    image = shapes / "circle" / "000.jpg"
    assert fleetnet("predict", "--ray", bundle.path, image, "--output", out, *arguments).code == 0
    assert no_ray == [expected]


def test_parts_that_nobody_made_are_named(
    fleetnet: Run, bundle: Bundle, shapes: Path, out: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = ("predict", "--ray", bundle.path, shapes, "--output", out, "--per-part", "20")
    answered: Any = vars(run)["answered"]

    def only_the_first(order: Order, parts: Sequence[OpenPart], **more: Any) -> Iterator[Answered]:
        yield from answered(order, parts[:1], **more)

    monkeypatch.setattr(run, "answered", only_the_first)
    result = fleetnet(*asked)
    assert result.code == 1
    assert "20 images in 1 part, 1 part made now" in result.out
    assert "1 part could not be made" in result.err
    monkeypatch.setattr(run, "answered", answered)
    result = fleetnet(*asked)
    assert (result.code, "36 images in 2 parts, 1 part made now" in result.out) == (0, True)


def test_shards_and_answers_in_a_store(
    fleetnet: Run, bundle: Bundle, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    s3fs = pytest.importorskip("s3fs")
    pytest.importorskip("moto")
    monkeypatch.setattr(store, "WAIT_S", 0.01)
    files = sorted(make_folder(tmp_path / "shapes", images=2).rglob("*.*"))
    for number in range(2):
        members = [(file.name, file.read_bytes()) for file in files[number * 2 : number * 2 + 2]]
        shard(tmp_path / "tars" / f"{number}.tar", members)
    with loopback_s3.server() as port:
        loopback_s3.used(port, monkeypatch)
        monkeypatch.setenv("FLEETNET_CACHE", str(tmp_path / "cache"))
        loopback_s3.upload(port, tmp_path / "tars", "tars")
        for file in files[4:]:
            loopback_s3.file_system(port).pipe_file(
                f"{BUCKET}/loose/deep/{file.parent.name}-{file.name}", file.read_bytes()
            )
        lake = f"s3://{BUCKET}"
        asked = ("predict", "--ray", bundle.path, f"{lake}/tars", f"{lake}/tars/{{0..1}}.tar",
                 f"{lake}/loose/", "--output", f"{lake}/out")  # fmt: skip
        fleetnet(*asked[:3], f"{lake}/nothing/", *asked[-2:]).assert_one_line("nothing")
        result = fleetnet(*asked)
        assert (result.code, "10 images in 5 parts, 5 parts made now" in result.out) == (0, True)
        fs = loopback_s3.file_system(port)
        found = [
            row
            for file in sorted(fs.glob(f"{BUCKET}/out/*.parquet"))
            for row in parquet.read_table(fs.open(file)).to_pylist()
        ]
        assert [row["image"].removeprefix(lake) for row in found[-2:]] == [
            f"/loose/deep/stripes-{file.name}" for file in files[4:]
        ]
        assert found[0]["image"] == f"{lake}/tars/0.tar/{files[0].name}"
        plain = fleetnet("predict", bundle.path, *files, "--json").out.splitlines()
        expected = [json.loads(line)["top"][0] for line in plain]
        for row, best in zip(found[:4], expected[:4], strict=True):
            assert row["class_1"] == best["class"]
            assert row["probability_1"] == pytest.approx(best["probability"], abs=1e-5)
        fs.rm_file(f"{BUCKET}/out/part-000001.parquet")
        result = fleetnet(*asked)
        assert "10 images in 5 parts, 1 part made now" in result.out
        s3fs.S3FileSystem.clear_instance_cache()


def test_an_address_without_a_cluster_is_one_line(
    fleetnet: Run, bundle: Bundle, shapes: Path, out: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ray = pytest.importorskip("ray")
    monkeypatch.setattr(run, "answered", pool.answered)
    monkeypatch.setattr(run, "check_reachable", check_reachable)

    def refuse(**_: object) -> None:
        raise ConnectionError("Could not find any running Ray instance")

    monkeypatch.setattr(ray, "init", refuse)
    asked = ("predict", "--ray", bundle.path, shapes, "--output", out, "--ray-address")
    with socket.create_server(("127.0.0.1", 0)) as server:
        taken = f"127.0.0.1:{server.getsockname()[1]}"
        fleetnet(*asked, taken).assert_one_line("no Ray cluster: Could not", "check --ray-address")
    shutil.rmtree(out)
    # Nothing listens there any more.
    fleetnet(*asked, taken).assert_one_line(f"no Ray cluster: {taken}: ", "check --ray-address")
    fleetnet(*asked, "10.0.0.4").assert_one_line("'10.0.0.4' is no address such as 10.0.0.4:6379")
    assert not out.exists()
    fleetnet(*asked, "auto").assert_one_line("no Ray cluster: Could not")
