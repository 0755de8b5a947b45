"""CMake downloads sources only where it is told to, and then none but those that are pinned."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

CPP = Path(__file__).parents[2] / "cpp"


def configured(folder: Path, *settings: str) -> subprocess.CompletedProcess[str]:
    """Configure without the packages of the headers; doctest is not asked for without tests."""
    if shutil.which("cmake") is None:
        pytest.skip("CMake is not installed")
    return subprocess.run(
        ["cmake", "-S", CPP, "-B", folder, "-D", "CMAKE_DISABLE_FIND_PACKAGE_nlohmann_json=ON",
         "-D", "FLEETNET_TESTS=OFF", *settings],
        capture_output=True,
        text=True,
        timeout=300,
    )  # fmt: skip


@pytest.mark.usefixtures("cpp_build")
def test_nothing_is_downloaded_unasked(tmp_path: Path) -> None:
    done = configured(tmp_path)
    assert done.returncode != 0
    assert "nlohmann_json was not found" in done.stderr
    assert "FLEETNET_FETCH=ON" in done.stderr
    assert not list(tmp_path.glob("_deps"))


@pytest.mark.usefixtures("cpp_build")
def test_what_is_not_the_pinned_archive_is_refused(tmp_path: Path) -> None:
    """Here a file in the place of the download; nothing leaves this machine."""
    place = tmp_path / "pool" / "n" / "nlohmann-json3"
    place.mkdir(parents=True)
    (place / "nlohmann-json3_3.11.2.orig.tar.gz").write_bytes(b"another archive")
    fetched = ["-D", "FLEETNET_FETCH=ON", "-D", f"FLEETNET_SOURCES=file://{tmp_path}/pool"]
    done = configured(tmp_path / "build", *fetched)
    assert done.returncode != 0
    assert "hash" in done.stderr + done.stdout


@pytest.mark.usefixtures("cpp_build")
def test_headers_in_a_folder_are_used(tmp_path: Path) -> None:
    """Such as those that were fetched before, on a machine without a network."""
    headers = tmp_path / "headers"
    (headers / "include").mkdir(parents=True)
    settings = [
        "-D", "FLEETNET_FETCH=ON",
        "-D", f"FETCHCONTENT_SOURCE_DIR_FLEETNET_NLOHMANN_JSON={headers}",
    ]  # fmt: skip
    done = configured(tmp_path / "build", *settings)
    assert done.returncode == 0, done.stderr
