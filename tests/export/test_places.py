"""Places that cannot be written: found out for every target before any work is done."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import NoReturn

import pytest

from conftest import Run
from fleetnet.bundle import Bundle
from fleetnet.export import converted
from fleetnet.export.quantize import session
from fleetnet.export.targets import TARGETS

KINDS = ("below /proc", "a file", "below a file", "read-only", "the longest name and more", "none")


@pytest.fixture
def read_only(tmp_path: Path) -> Iterator[Path]:
    """A folder that nobody may write to, not even root."""
    place = tmp_path / "locked"
    place.mkdir()
    if os.geteuid():
        place.chmod(0o555)
        yield place
        place.chmod(0o755)
        return
    command = ["mount", "-t", "tmpfs", "-o", "size=1m,ro", "tmpfs", str(place)]
    if subprocess.run(command, capture_output=True, check=False).returncode:
        pytest.skip("nothing can be mounted here")
    yield place
    subprocess.run(["umount", place], check=True)


@pytest.fixture
def places(tmp_path: Path, read_only: Path) -> dict[str, tuple[Path, str]]:
    """Places by their kind, with what is said of each."""
    file = tmp_path / "file"
    file.write_text("mine")
    return {
        "below /proc": (Path("/proc/made"), "cannot write /proc/made: "),
        "a file": (file, "file exists and is not a bundle: choose another place"),
        "below a file": (file / "deep" / "made", f"{file} is no folder; choose another place"),
        "read-only": (read_only / "made", f"cannot write {read_only / 'made'}: "),
        "the longest name and more": (tmp_path / ("n" * 300), "File name too long"),
        "none": (Path(), "cannot write .: it cannot be replaced"),
    }


def work(*_: object, **__: object) -> NoReturn:
    raise AssertionError("the work has begun")


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("to", TARGETS)
def test_no_target_is_converted_for_a_place_that_cannot_be(
    to: str,
    kind: str,
    fleetnet: Run,
    bundle: Bundle,
    places: dict[str, tuple[Path, str]],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    environment = TARGETS[to].environment
    if TARGETS[to].lacking or (environment is not None and environment.missing):
        pytest.skip(f"{to} is not here")
    monkeypatch.setattr(converted, "bundle_of", work)
    place, words = places[kind]
    fleetnet("export", bundle.path, "--to", to, "-o", place).assert_one_line(words)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("verb", ["export", "quantize", "reject"])
def test_no_bundle_is_made_for_a_place_that_cannot_be(
    verb: str,
    kind: str,
    fleetnet: Run,
    bundle: Bundle,
    checkpoint: Path,
    shapes: Path,
    places: dict[str, tuple[Path, str]],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("fleetnet.export.bundle.to_onnx", work)
    monkeypatch.setattr(session.Session, "__init__", work)
    monkeypatch.setattr("fleetnet.cli.reject.write_rejection", work)
    place, words = places[kind]
    given: dict[str, list[str | Path]] = {
        "export": [checkpoint],
        "quantize": [bundle.path, "--images", shapes],
        "reject": [bundle.path, shapes, "--coverage", "0.9"],
    }
    fleetnet(verb, *given[verb], "-o", place).assert_one_line(words)


def test_a_place_on_no_disk_at_all_leaves_nothing(
    fleetnet: Run, bundle: Bundle, small_disk: Path
) -> None:
    result = fleetnet("export", bundle.path, "--to", "onnx", "-o", small_disk)
    result.assert_one_line(f"cannot write {small_disk}: it cannot be replaced")
    assert list(small_disk.iterdir()) == []
