"""Environments and processes apart: made once, and their deaths are lines."""

from __future__ import annotations

import shutil
import sys
import threading
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from fleetnet.errors import FleetnetError
from fleetnet.export.converted_engine import ConvertedEngine
from fleetnet.export.separate import Environment, Worker, convert, worker
from fleetnet.export.separate import environment as environments
from fleetnet.export.separate.environment import clean_environment
from fleetnet.export.targets import TARGETS

ANSWERS = """
import sys
sys.path.insert(0, {scripts!r})
from channel import answer

def load():
    {load}
    def run(pixels):
        print("noise of a native library")
        {run}
        return pixels.reshape(len(pixels), -1)[:, :2].astype("float32")
    return run

answer(load)
"""
Write = Callable[..., str]


class Here(Environment):
    """This environment in place of one of its own, of which no lock tells the versions."""

    @property
    def variables(self) -> dict[str, str]:
        return clean_environment()

    def make(self, *_: object, **__: object) -> Path:
        return Path(sys.executable)


HERE = Here("none", 1)


@pytest.fixture
def write(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Write:
    """Return a function that writes a script and returns its name."""
    with worker._script("channel") as channel:
        scripts = str(channel.parent)
    monkeypatch.setattr(worker, "resources", lambda _: tmp_path)
    (tmp_path / "scripts").mkdir()

    def written(text: str = ANSWERS, load: str = "pass", run: str = "pass") -> str:
        if text is ANSWERS:
            text = text.format(scripts=scripts, load=load, run=run)
        (tmp_path / "scripts" / "script.py").write_text(text)
        return "script"

    return written


def pixels(count: int) -> np.ndarray:
    return np.random.default_rng(count).integers(0, 256, (count, 4, 4, 3), np.uint8)


def test_a_worker_answers_whatever_it_prints(write: Write) -> None:
    answering = Worker(HERE, write(), {})
    try:
        for count in (1, 3):
            given = pixels(count)
            np.testing.assert_array_equal(answering(given), given.reshape(count, -1)[:, :2])
        assert answering.latency_ms(pixels(1), 5) > 0
    finally:
        answering.close()
    answering.close()
    assert answering._process.poll() is not None


def test_time_is_taken_of_whole_batches(write: Write) -> None:
    script = write(run="assert len(pixels) == 2")
    target = replace(TARGETS["litert"], load=lambda _: Worker(HERE, script, {}))
    with ConvertedEngine(target, {}, "fp32", 2) as engine:
        assert engine.latency_ms(pixels(1), 2) > 0


def test_callers_take_turns(write: Write) -> None:
    answering = Worker(HERE, write(), {})
    wrong: list[int] = []

    def ask(seed: int) -> None:
        given = pixels(seed)
        if not (answering(given) == given.reshape(seed, -1)[:, :2]).all():
            wrong.append(seed)

    threads = [threading.Thread(target=ask, args=(seed,)) for seed in range(1, 9)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    answering.close()
    assert not wrong


@pytest.mark.parametrize(
    ("load", "reason"),
    [
        ("raise ValueError('no such\\n operator')", "ValueError: no such operator"),
        ("import os; os.kill(os.getpid(), 11)", "died: SIGSEGV"),
        ("import sys; sys.exit('something')", "something"),
        ("import nothing_of_this_name", "No module named 'nothing_of_this_name'"),
    ],
)
def test_what_cannot_be_loaded_is_a_line(load: str, reason: str, write: Write) -> None:
    with pytest.raises(FleetnetError, match=reason):
        Worker(HERE, write(load=load), {})


@pytest.mark.parametrize(
    ("run", "reason"),
    [
        ("raise MemoryError('arena')", "MemoryError: arena"),
        ("import os; os.kill(os.getpid(), 6)", "died: SIGABRT"),
    ],
)
def test_what_cannot_be_computed_is_a_line(run: str, reason: str, write: Write) -> None:
    answering = Worker(HERE, write(run=run), {})
    with pytest.raises(FleetnetError, match=reason):
        answering(pixels(1))
    answering.close()


def test_converts_by_files(write: Write) -> None:
    script = write(
        "import json, pathlib, sys\n"
        "folder = pathlib.Path(sys.argv[1])\n"
        "factor = json.loads((folder / 'settings.json').read_text())['factor']\n"
        "(folder / 'out').write_bytes((folder / 'in').read_bytes() * factor)\n"
    )
    assert convert(HERE, script, {"in": b"ab"}, ("out",), {"factor": 2}) == {"out": b"abab"}
    with pytest.raises(FleetnetError, match="left no other"):
        convert(HERE, script, {"in": b"ab"}, ("other",), {"factor": 2})
    with pytest.raises(FleetnetError, match="KeyError: 'factor'"):
        convert(HERE, script, {"in": b"ab"}, ("out",))


def test_a_converter_that_hangs_is_ended(write: Write) -> None:
    with pytest.raises(FleetnetError, match="was not done after"):
        convert(HERE, write("import time; time.sleep(60)"), {}, ("out",), patience=0.2)


@pytest.mark.slow
def test_an_environment_is_made_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FLEETNET_CACHE", str(tmp_path))
    package = tmp_path / "package"
    package.mkdir()
    (package / "pyproject.toml").write_text('[project]\nname = "odd"\nversion = "1.5"\n')
    monkeypatch.setattr(Environment, "_lock", b"# a remark\nodd==1.5\n")
    # What a package needs to be built is not at hand without a network, so nothing is installed.
    monkeypatch.setattr(environments, "_QUIETLY", ("--dry-run", "--no-index", "--help"))
    environment = Environment("odd", 1)
    assert not environment.made
    assert environment.version("Odd") == "1.5"
    assert environment.version("other") == ""
    said: list[str] = []
    program = environment.make(said.append)
    assert program.is_file()
    assert environment.made
    assert len(said) == 1
    environment.make(said.append)
    assert len(said) == 1


@pytest.mark.slow
def test_an_environment_that_cannot_be_made_leaves_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FLEETNET_CACHE", str(tmp_path))
    monkeypatch.setattr(Environment, "_lock", b"odd==1.5\n")
    monkeypatch.setattr(environments, "_QUIETLY", ("--no-index", "--no-input"))
    environment = Environment("odd", 1)
    with pytest.raises(FleetnetError, match=r"cannot install the environment 'odd': ERROR: .*odd"):
        environment.make()
    assert not environment.folder.exists()
    assert not environment.made


def test_without_space_it_is_not_begun(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FLEETNET_CACHE", str(tmp_path))
    free = shutil.disk_usage(tmp_path).free // 10**6
    environment = Environment("mnn", free * 10)
    said: list[str] = []
    with pytest.raises(FleetnetError, match=r"takes .*B, and \d+ MB are free in .*FLEETNET_CACHE"):
        environment.make(said.append)
    assert not said
    assert not environment.folder.exists()


@pytest.mark.slow
def test_without_a_network_it_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FLEETNET_CACHE", str(tmp_path))
    # Nobody listens at port 1, and at once: pip's own words would be that there is no version.
    monkeypatch.setenv("PIP_INDEX_URL", "http://127.0.0.1:1/simple")
    monkeypatch.setenv("PIP_RETRIES", "1")
    monkeypatch.setattr(Environment, "_lock", b"odd==1.5\n")
    environment = Environment("odd", 1)
    with pytest.raises(FleetnetError, match="'odd': no index of packages could be reached"):
        environment.make()
    assert not environment.folder.exists()


def test_every_package_of_an_environment_has_a_version() -> None:
    found = {target.environment for target in TARGETS.values() if target.environment}
    assert found
    for environment in found:
        assert environment.requirements
        for requirement in environment.requirements:
            assert requirement.count("==") == 1, requirement
    for target in TARGETS.values():
        if target.environment is not None:
            assert target.version, target.name
            assert all(target.converters.values()), target.name


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("[][0]", "the converter of 'none' failed in script: IndexError: list index out of range"),
        ("import sys; sys.exit('no such layer')", "no such layer"),
        ("import sys; sys.exit(3)", "the converter of 'none' ended with 3"),
        ("import os; os.kill(os.getpid(), 9)", "the converter of 'none' died: SIGKILL"),
    ],
)
def test_a_converter_that_ends_says_where(text: str, reason: str, write: Write) -> None:
    with pytest.raises(FleetnetError, match=f"^{reason}$"):
        convert(HERE, write(text), {}, ("out",))
