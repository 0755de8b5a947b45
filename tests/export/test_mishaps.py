"""What goes wrong while a target is converted to: one clear line, and nothing half-written left."""

from __future__ import annotations

import contextlib
import importlib.machinery
import importlib.util
import os
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any, NoReturn

import numpy as np
import pytest

from conftest import Run
from fleetnet.bundle import Bundle
from fleetnet.errors import FleetnetError
from fleetnet.export import converted, plain_onnx
from fleetnet.export import program as exporting
from fleetnet.export.converting import converting
from fleetnet.export.devices import measure
from fleetnet.export.separate import Environment, worker
from fleetnet.export.targets import TARGETS, Files, Target
from users_environments import borrowed

pytestmark = pytest.mark.slow

WITH_ALL = pytest.mark.skipif(
    os.environ.get("FLEETNET_DEVICES") != "all", reason="FLEETNET_DEVICES=all"
)
IN_INT8_ALONE = {name for name, target in TARGETS.items() if target.precisions == ("int8",)}
CONVERTED = [
    name if target.environment is None else pytest.param(name, marks=WITH_ALL)
    for name, target in TARGETS.items()
    if name not in IN_INT8_ALONE
]
"""Those with an environment of their own take long, and are not converted to each time."""
APART = [
    name
    for name, target in TARGETS.items()
    if target.environment is not None and target.environment.ending == ".py"
]
"""Converted to by a script in another Python."""


def needs(target: Target) -> None:
    """Have all environments of this user in the cache of the tests; skip what is not here."""
    if target.lacking or (target.environment is not None and target.environment.missing):
        pytest.skip(f"no {target.name} here")
    for one in TARGETS.values():
        if one.environment is not None:
            borrowed(one.environment)
    if target.environment is not None and not target.environment.made:
        pytest.skip(f"no environment: fleetnet export --to {target.name} makes it once")


@pytest.fixture(scope="module")
def files_of(bundle: Bundle) -> Callable[[str], Files]:
    """Return what converts to a target, once for all tests."""
    made: dict[str, Files] = {}

    def files(name: str) -> Files:
        if name not in made:
            target = TARGETS[name]
            batch = 1 if target.one_size else None
            made[name] = target.convert(bundle, target.precisions[0], batch)
        return made[name]

    return files


def instead(monkeypatch: pytest.MonkeyPatch, name: str, **changed: Any) -> None:
    """Have a target with something changed."""
    found = dict(TARGETS)
    found[name] = replace(TARGETS[name], **changed)
    monkeypatch.setattr(TARGETS, "_found", found)


@pytest.mark.parametrize("name", CONVERTED)
def test_a_full_disk_leaves_nothing(
    name: str,
    fleetnet: Run,
    bundle: Bundle,
    shapes: Path,
    files_of: Callable[[str], Files],
    small_disk: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    needs(TARGETS[name])
    files = files_of(name)
    instead(monkeypatch, name, convert=lambda *_: files)
    (small_disk / "filler").write_bytes(bytes(960 * 1024))
    command = ("export", bundle.path, "--to", name, "--images", shapes, "--limit", "2")
    result = fleetnet(*command, "-o", small_disk / "made")
    assert result.code == 2, result
    assert "Traceback" not in result.err
    last = result.err.splitlines()[-1]
    assert last.startswith(f"error: no space left on the disk while writing {small_disk / 'made'}")
    assert [entry.name for entry in small_disk.iterdir()] == ["filler"]


@pytest.mark.parametrize("name", CONVERTED)
def test_files_that_were_half_written_are_refused(
    name: str,
    fleetnet: Run,
    bundle: Bundle,
    shapes: Path,
    files_of: Callable[[str], Files],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    target = TARGETS[name]
    if target.load is None:
        pytest.skip("nothing here reads its files")
    needs(target)
    (first, content), *others = files_of(name).items()
    half = {first: content[: len(content) // 2], **dict(others)}
    instead(monkeypatch, name, convert=lambda *_: half)
    command = ("export", bundle.path, "--to", name, "--images", shapes, "--limit", "2")
    result = fleetnet(*command, "-o", tmp_path / "made")
    assert result.code == 2, result
    assert "Traceback" not in result.err
    assert target.title in result.err.splitlines()[-1]
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("name", CONVERTED)
def test_an_interruption_leaves_nothing(
    name: str, fleetnet: Run, bundle: Bundle, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    needs(TARGETS[name])

    def interrupted(*_: object) -> NoReturn:
        raise KeyboardInterrupt

    instead(monkeypatch, name, convert=interrupted)
    result = fleetnet("export", bundle.path, "--to", name, "-o", tmp_path / "made")
    assert result.code == 130, result
    assert "Traceback" not in result.err
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("name", "module"), [(name, one) for name, target in TARGETS.items() for one in target.needs]
)
def test_what_is_not_installed_is_named_with_what_brings_it(
    name: str,
    module: str,
    fleetnet: Run,
    bundle: Bundle,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    find = importlib.util.find_spec

    def without(wanted: str, package: str | None = None) -> importlib.machinery.ModuleSpec | None:
        return None if wanted == module else find(wanted, package)

    monkeypatch.setattr(importlib.util, "find_spec", without)
    result = fleetnet("export", bundle.path, "--to", name, "-o", tmp_path / "made")
    result.assert_one_line("not installed: pip install", "fleetnet")
    assert list(tmp_path.iterdir()) == []


@pytest.fixture
def quickly(monkeypatch: pytest.MonkeyPatch) -> None:
    """Convert by this Python, and make what goes into a converter once for all tests."""
    plain = plain_onnx.plain_graph

    def once(bundle: Bundle, *arguments: Any) -> bytes:
        if arguments not in GRAPHS:
            GRAPHS[arguments] = plain(bundle, *arguments)
        return GRAPHS[arguments]

    monkeypatch.setattr(Environment, "make", lambda *_, **__: Path(sys.executable))
    monkeypatch.setattr(exporting, "exported_program", lambda *_, **__: b"no program")
    monkeypatch.setattr(plain_onnx, "plain_graph", once)


GRAPHS: dict[tuple[Any, ...], bytes] = {}
GOES_WRONG = {
    "killed": "pathlib.Path('model').write_bytes(b'half'); os.kill(os.getpid(), 9)",
    "nothing made": "",
    "unforeseen": "[][0]",
    "full disk": "raise AssertionError('it has begun')",
}
SAID = {
    "killed": "the converter of '[a-z-]+' died: SIGKILL",
    "nothing made": r"the converter of '[a-z-]+' left no [\w.]+",
    "unforeseen": "the converter of '[a-z-]+' failed in [a-z_]+: IndexError: list index .*",
    "full disk": "no space left on the disk while writing .*: free some and retry",
}


@pytest.mark.usefixtures("quickly")
@pytest.mark.parametrize("name", APART)
@pytest.mark.parametrize("mishap", SAID)
def test_a_converter_apart_that_goes_wrong_leaves_nothing(
    mishap: str,
    name: str,
    bundle: Bundle,
    tmp_path: Path,
    small_disk: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    target = TARGETS[name]
    script = tmp_path / "script.py"
    script.write_text(f"import os, pathlib\n{GOES_WRONG[mishap]}\n")
    monkeypatch.setattr(worker, "_script", lambda *_: contextlib.nullcontext(script))
    temporary = small_disk if mishap == "full disk" else tmp_path / "temporary"
    temporary.mkdir(exist_ok=True)
    monkeypatch.setattr(tempfile, "tempdir", str(temporary))
    with contextlib.suppress(OSError):
        (small_disk / "filler").write_bytes(bytes(2**20))
    crop = bundle.manifest.preprocess.crop
    pixels = np.zeros((2, crop, crop, 3), np.uint8)
    with (
        pytest.raises(FleetnetError, match=f"^{SAID[mishap]}$"),
        converting(bundle, target),
    ):
        if target.int8 is not None and target.name in IN_INT8_ALONE:
            target.int8.calibrate(bundle, 1, pixels, ())
        else:
            target.convert(bundle, target.precisions[0], 1)
    assert {entry.name for entry in temporary.iterdir()} <= {"filler"}


STOPPED = """
import contextlib, pathlib, sys
from fleetnet.cli import main
from fleetnet.export import program
from fleetnet.export.separate import Environment, worker
Environment.make = lambda *_, **__: pathlib.Path(sys.executable)
program.exported_program = lambda *_, **__: b"no program"
worker._script = lambda *_: contextlib.nullcontext(pathlib.Path(sys.argv[1]))
main(sys.argv[2:])
"""


@pytest.mark.skipif(sys.platform != "linux", reason="looks at processes as Linux has them")
def test_a_termination_ends_the_converter_and_leaves_nothing(
    bundle: Bundle, tmp_path: Path
) -> None:
    temporary, told = tmp_path / "temporary", tmp_path / "pid"
    temporary.mkdir()
    script = tmp_path / "script.py"
    script.write_text(
        f"import os, pathlib, time\npathlib.Path({str(told)!r}).write_text(str(os.getpid()))\n"
        "time.sleep(600)\n"
    )
    arguments: list[str | Path] = [
        "export",
        bundle.path,
        "--to",
        "litert",
        "-o",
        tmp_path / "made",
        "--limit",
        "2",
    ]
    with subprocess.Popen(
        [sys.executable, "-c", STOPPED, script, *arguments],
        env={**os.environ, "TMPDIR": str(temporary)},
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        while not (told.is_file() and told.read_text()):
            assert process.poll() is None, process.communicate()[1]
            time.sleep(0.05)
        process.terminate()
        _, err = process.communicate()
    assert process.returncode == 143, err
    assert "Traceback" not in err
    assert not Path("/proc", told.read_text()).exists()
    assert {entry.name for entry in tmp_path.iterdir()} == {"temporary", "pid", "script.py"}
    assert list(temporary.iterdir()) == []


def test_no_row_of_the_targets_shows_a_bare_exception(
    bundle: Bundle, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("FLEETNET_CACHE", str(tmp_path))

    def unforeseen(*_: object, **__: object) -> NoReturn:
        raise IndexError("index 0 is out of bounds")

    monkeypatch.setattr(converted, "description", unforeseen)
    rows = list(measure(bundle, ["onnx", "vendors", "cpp"]))
    assert [row.target.name for row in rows] == ["onnx", "vendors", "cpp"]
    for row in rows:
        if row.target.name != "vendors":  # which takes no made-up pictures
            words = f"{row.word} failed at the step 'verifying on .*': IndexError: index 0 is out"
            assert re.match(words, row.refused), row.refused
    assert not list(tmp_path.rglob("fleetnet.json"))
