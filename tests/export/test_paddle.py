"""Paddle Inference and Paddle Lite; where their environments were not made, nothing is fetched."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path

import numpy as np
import pytest

from export.pages import check_program
from export.test_mobile_targets import needs
from fleetnet.benchmark.untrained import make_untrained
from fleetnet.bundle import Bundle
from fleetnet.errors import FleetnetError, VerificationError
from fleetnet.export.converted import export_to
from fleetnet.export.converted_engine import ConvertedEngine
from fleetnet.export.plain_onnx import plain_graph
from fleetnet.export.plain_steps import STEPS, WEIGHTS, steps_of
from fleetnet.export.separate import Environment
from fleetnet.export.separate import environment as environments
from fleetnet.export.targets import TARGETS

pytestmark = pytest.mark.slow
LONG = pytest.mark.skipif(
    os.environ.get("FLEETNET_DEVICES") != "all", reason="FLEETNET_DEVICES=all"
)


def test_steps_hold_what_the_graph_does(bundle: Bundle, tmp_path: Path) -> None:
    files = steps_of(plain_graph(bundle, 1))
    program = json.loads(files[STEPS])
    assert (program["input"], program["output"]) == ("pixels", "logits")
    (tmp_path / "weights.npz").write_bytes(files[WEIGHTS])
    weights = dict(np.load(tmp_path / "weights.npz", allow_pickle=False))
    known = {"pixels", *weights}
    for step in program["steps"]:
        assert {name for name in step["takes"] if name} <= known, step
        known |= set(step["gives"])
    assert "logits" in known
    clips = [step for step in program["steps"] if step["op"] == "Clip"]
    assert clips
    assert all(step["numbers"] == {"1": 0.0, "2": 6.0} for step in clips)


@pytest.mark.parametrize(
    ("to", "batch"),
    [
        ("paddle-lite", None),
        pytest.param("paddle-lite", 2, marks=LONG),
        pytest.param("paddle", None, marks=LONG),
    ],
)
def test_converted_and_verified(
    to: str, batch: int | None, bundle: Bundle, shapes: Path, tmp_path: Path
) -> None:
    needs("paddle")
    needs(to)
    written = export_to(
        bundle.path, to, tmp_path / "made", batch=batch, images=[str(shapes)], limit=5
    )
    (artifact,) = written.artifacts
    (record,) = artifact.verification
    assert artifact.key == (to, "fp32", batch or 1)
    assert (record.engine, record.images) == (TARGETS[to].package, 5)
    assert record.top1_agreement == 1.0
    assert record.max_abs_diff <= 1e-4
    names = {path.name for path in written.files_of(artifact)}
    if to == "paddle":
        assert names == {"model.json", "model.pdiparams", "older.pdmodel", "older.pdiparams"}
        picture = sorted(shapes.glob("*/*"))[0]
        check_program(written, bundle, picture, TARGETS[to].environment)
    else:
        assert names == {"model.x86.nb", "model.arm.nb"}
        assert (written.path / "classify.cpp").is_file()


@LONG
def test_a_network_whose_shortcuts_are_padded(tmp_path: Path) -> None:
    needs("paddle")
    needs("paddle-lite")
    rexnet = make_untrained("ReXNet_1_0", 32, tmp_path / "rexnet")
    for to in ("paddle", "paddle-lite"):
        written = export_to(rexnet.path, to, tmp_path / to, limit=3)
        assert written.artifacts[0].verification[0].max_abs_diff <= 1e-3


def test_what_is_no_network_is_a_line() -> None:
    needs("paddle-lite")
    files = {"model.x86.nb": b"no network", "model.arm.nb": b""}
    with pytest.raises(VerificationError, match=r"paddlelite cannot run [^\n]*$"):
        ConvertedEngine(TARGETS["paddle-lite"], files, "fp32", 1)


def other(version: str) -> Environment:
    return Environment("paddle-lite", 1, python=version)


def test_another_python_is_looked_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYENV_ROOT", str(tmp_path / "pyenv"))
    shims, folder = tmp_path / "shims", tmp_path / "bin"
    for place in (shims, folder):
        place.mkdir()
        (place / "python3.1").symlink_to(sys.executable)
    monkeypatch.setenv("PATH", str(shims))
    environment = other("3.1")
    assert environment.interpreter is None
    assert "Python 3.1 as 'python3.1' on the PATH" in environment.missing
    assert not environment.made
    monkeypatch.setenv("FLEETNET_CACHE", str(tmp_path / "cache"))
    with pytest.raises(FleetnetError, match=r"'paddle-lite' needs Python 3\.1"):
        environment.make()
    assert not environment.folder.exists()
    monkeypatch.setenv("PATH", f"{shims}:{folder}")
    assert environment.interpreter == folder / "python3.1"
    assert environment.missing == ""
    before = environment.folder
    kept = tmp_path / "pyenv" / "versions" / "3.1.4" / "bin"
    kept.mkdir(parents=True)
    (kept / "python").symlink_to(sys.executable)
    assert environment.interpreter == kept / "python"
    assert environment.folder != before


def test_it_is_made_with_that_python(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    place = tmp_path / "versions" / "3.1.4" / "bin"
    place.mkdir(parents=True)
    (place / "python").write_text('#!/bin/sh\necho "error: it was $0 $1 $2"\nexit 1\n')
    (place / "python").chmod(0o700)
    monkeypatch.setenv("PYENV_ROOT", str(tmp_path))
    monkeypatch.setenv("FLEETNET_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(environments, "_QUIETLY", ("--no-index",))
    with pytest.raises(FleetnetError, match=r"it was .*3\.1\.4/bin/python -m venv"):
        other("3.1").make()
