"""Prediction by Ray, whose processes are killed on the way.

One image is a pipe that nobody writes to until then, so the job is on the way whenever that is.
``FLEETNET_RAY=all`` runs what takes longer too: a driver and a machine that are killed.
"""

from __future__ import annotations

import contextlib
import importlib.util
import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

pytest.importorskip("pyarrow")

import pyarrow.dataset

from cluster import apart
from conftest import Run
from fleetnet.bundle import Bundle
from fleetnet.cluster import run
from samples import make_folder

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(
        importlib.util.find_spec("ray") is None, reason="Ray is not installed: make cluster"
    ),
    pytest.mark.skipif(bool(apart.why_not()), reason=apart.why_not() or "-"),
]
ALL = os.environ.get("FLEETNET_RAY") == "all"
TITLE = "PartClassifier"
"""In the names of the pool's processes."""
IMAGES = 33
MACHINES = """
import subprocess, sys, time
from pathlib import Path
from ray.cluster_utils import Cluster

out, *command = sys.argv[1:]
here = {"num_cpus": 1, "object_store_memory": 100 * 2**20, "node_ip_address": "127.0.0.1"}
cluster = Cluster(initialize_head=True, head_node_args=here | {"include_dashboard": False})
second = cluster.add_node(**here)
with subprocess.Popen([*command, "--ray-address", cluster.address]) as predict:
    while not Path(out, "_job", "lose").exists():
        assert predict.poll() is None
        time.sleep(0.01)
    cluster.remove_node(second, allow_graceful=False)
cluster.shutdown()
sys.exit(predict.returncode)
"""


@pytest.fixture
def images(tmp_path: Path) -> Path:
    folder = make_folder(tmp_path / "shapes", images=10)
    (folder / "circle" / "bad.jpg").write_bytes(b"no image")
    (folder / "circle" / "empty.png").write_bytes(b"")
    os.mkfifo(tmp_path / "pipe.jpg")
    return folder


def command(bundle: Bundle, images: Path) -> list[str | Path]:
    pipe, out = images.parent / "pipe.jpg", images.parent / "out"
    return [sys.executable, "-m", "fleetnet", "predict", "--ray", bundle.path, pipe, images,
            "--output", out, "--workers", "2", "--per-part", "3"]  # fmt: skip


def done(images: Path) -> list[Path]:
    return sorted((images.parent / "out" / "_job" / "done").glob("*.json"))


def write_pipe(images: Path, process: subprocess.Popen[bytes], log: Path) -> None:
    """Give whoever reads the pipe an image, once there is somebody."""
    opened: list[int] = []

    def is_read() -> bool:
        with contextlib.suppress(OSError):
            opened.append(os.open(images.parent / "pipe.jpg", os.O_WRONLY | os.O_NONBLOCK))
        return bool(opened)

    apart.wait_for(is_read, process, log)
    with os.fdopen(opened[0], "wb") as pipe:
        pipe.write((images / "circle" / "000.jpg").read_bytes())


def check_rows(fleetnet: Run, bundle: Bundle, images: Path) -> None:
    """Hold that every image has one row, which is what prediction without Ray answers."""
    plain = fleetnet("predict", str(bundle.path), str(images), "--json")
    expected = {answer["image"]: answer for answer in map(json.loads, plain.out.splitlines())}
    pipe = str(images.parent / "pipe.jpg")
    expected[pipe] = expected[str(images / "circle" / "000.jpg")]
    rows = pyarrow.dataset.dataset(images.parent / "out").to_table().to_pylist()
    assert len(rows) == len(expected) == IMAGES
    assert {row["image"] for row in rows} == set(expected)
    for row in rows:
        answer = expected[row["image"]]
        assert row["error"] == answer["error"]
        for rank, score in enumerate(answer["top"], 1):
            assert row[f"class_{rank}"] == score["class"]
            assert row[f"probability_{rank}"] == pytest.approx(score["probability"], abs=1e-5)
    assert sum(row["error"] is not None for row in rows) == 2


def test_a_process_is_killed_and_no_row_is_lost_or_twice(
    fleetnet: Run,
    bundle: Bundle,
    images: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    log = tmp_path / "log"
    with apart.started(command(bundle, images), log) as process:
        apart.wait_for(lambda: len(done(images)) > 0, process, log)
        ports, loopback = apart.listening(process)
        assert ports == loopback > 0
        victim = apart.processes(process, TITLE)[0]
        os.kill(victim, signal.SIGKILL)
        apart.wait_for(lambda: apart.is_gone(victim), process, log)
        write_pipe(images, process, log)
        assert process.wait() == 1, log.read_text()  # some images cannot be read
    printed = log.read_text()
    assert "33 images in 11 parts, 11 parts made now" in printed
    assert "2 of 33 images could not be read" in printed
    check_rows(fleetnet, bundle, images)
    # What is whole is left alone, and takes no Ray.
    before = [file.stat().st_mtime_ns for file in done(images)]
    monkeypatch.setattr(run, "answered", lambda *_, **__: pytest.fail("Ray was asked"))
    again = fleetnet(*command(bundle, images)[3:])
    assert (again.code, "11 parts, 0 parts made now" in again.out) == (1, True)
    assert [file.stat().st_mtime_ns for file in done(images)] == before


@pytest.mark.skipif(not ALL, reason="takes long: FLEETNET_RAY=all")
def test_a_driver_is_killed_and_the_next_one_goes_on(
    fleetnet: Run, bundle: Bundle, images: Path, tmp_path: Path
) -> None:
    log = tmp_path / "log"
    with apart.started(command(bundle, images), log) as process:
        apart.wait_for(lambda: len(done(images)) >= 3, process, log)
        os.kill(apart.processes(process, "--output")[-1], signal.SIGKILL)
        process.wait()
    before = {file: file.stat().st_mtime_ns for file in done(images)}
    assert 3 <= len(before) < 11
    with apart.started(command(bundle, images), log) as process:
        write_pipe(images, process, log)
        assert process.wait() == 1, log.read_text()
    assert f"{11 - len(before)} parts made now" in log.read_text()
    assert all(file.stat().st_mtime_ns == when for file, when in before.items())
    check_rows(fleetnet, bundle, images)


@pytest.mark.skipif(not ALL, reason="takes long: FLEETNET_RAY=all")
def test_a_machine_of_a_cluster_is_lost(
    fleetnet: Run, bundle: Bundle, images: Path, tmp_path: Path
) -> None:
    log = tmp_path / "log"
    script = [sys.executable, "-c", MACHINES, images.parent / "out", *command(bundle, images)]
    with apart.started(script, log) as process:
        apart.wait_for(
            lambda: len(done(images)) > 0 and len(apart.processes(process, TITLE)) == 2,
            process,
            log,
        )
        pool = apart.processes(process, TITLE)
        (images.parent / "out" / "_job" / "lose").touch()
        apart.wait_for(lambda: any(map(apart.is_gone, pool)), process, log)
        write_pipe(images, process, log)
        assert process.wait() == 1, log.read_text()
    check_rows(fleetnet, bundle, images)
