"""What is copied to a machine without Python runs in a root that has nothing else in it.

``make cpp-runtime`` makes that folder and runs this. As root, because of ``chroot``.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest

from fleetnet.conformance.files import ConformanceSet

pytestmark = pytest.mark.slow

RUNTIME = Path(__file__).parents[2] / "build" / "linux"
MAX_BYTES = 96_000_000
"""OpenVINO's six libraries are 92.4 million bytes of it."""
SYSTEM = re.compile(r"(ld-linux[^ ]*|lib(c|m|dl|pthread|rt|gcc_s|stdc\+\+))\.so")
"""The C and C++ libraries, which every Linux has."""
CONFORMANCE = ConformanceSet.load().path


@pytest.fixture(scope="module")
def runtime() -> Path:
    if not (RUNTIME / "fleetnet-predict").is_file():
        pytest.skip(f"{RUNTIME} is not there ('make cpp-runtime' makes it)")
    return RUNTIME


def needed(runtime: Path) -> dict[str, Path]:
    """Return the libraries that the folder's files need, by their names."""
    output = subprocess.run(
        ["ldd", *sorted(runtime.iterdir())], capture_output=True, text=True, check=True
    ).stdout
    assert "not found" not in output
    found = re.findall(r"^\s*(?:(\S+) => )?(/\S+) \(0x", output, re.MULTILINE)
    return {name or path: Path(path) for name, path in found}


def test_needs_the_system_libraries_only(runtime: Path) -> None:
    others = [
        name
        for name, path in needed(runtime).items()
        if runtime.resolve() not in path.resolve().parents and not SYSTEM.match(Path(name).name)
    ]
    assert others == []


def test_is_small(runtime: Path) -> None:
    assert sum(file.stat().st_size for file in runtime.iterdir()) < MAX_BYTES


def test_runs_in_an_empty_root(runtime: Path, tmp_path: Path) -> None:
    """With ``/proc``, which every container has: OpenVINO reads it, and waits for ever without."""
    if os.geteuid() != 0:
        pytest.skip("chroot is root's")
    root = tmp_path / "root"
    for name in ("proc", "data"):
        (root / name).mkdir(parents=True)
    shutil.copytree(runtime, root / "fleetnet")
    for name, path in needed(runtime).items():
        if SYSTEM.match(Path(name).name):
            place = root / (name if name.startswith("/") else f"lib/{name}").lstrip("/")
            place.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(path, place)
    shutil.copy(CONFORMANCE / "network.onnx", root / "fleetnet")
    for picture in ("jpeg-baseline.jpg", "png-rgb.png", "webp.webp", "gif.gif"):
        shutil.copy(CONFORMANCE / "pictures" / picture, root / "data")

    # What is mounted in a namespace of its own is gone with it.
    apart = ["unshare", "--mount", "--propagation", "private", "sh", "-c"]
    if subprocess.run(
        [*apart, f"mount -t proc proc '{root}/proc'"], capture_output=True
    ).returncode:
        pytest.skip("nothing may be mounted here")
    inside = f"env -i $(command -v chroot) '{root}'"
    command = "/fleetnet/fleetnet-predict --csv /fleetnet/network.onnx /data"
    done = subprocess.run(
        [
            *apart,
            f"mount -t proc proc '{root}/proc' && exec {inside} {command}",
        ],
        capture_output=True,
        text=True,
    )
    assert (done.returncode, done.stderr) == (0, "")
    rows = done.stdout.splitlines()[1:]
    assert len(rows) == 4
    assert {row.split(",")[1] for row in rows} == {"square"}
