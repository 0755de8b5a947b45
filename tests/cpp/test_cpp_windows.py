"""``fleetnet-predict.exe`` under wine: Windows' paths, pipes and Ctrl-C (``make cpp-windows``).

What is run is the folder that a user copies: the command and OpenVINO's libraries beside it.
"""

from __future__ import annotations

import csv
import io
import os
import shlex
import shutil
import subprocess
from collections.abc import Sequence
from pathlib import Path

import pytest

from fleetnet.cli import main
from fleetnet.conformance.files import ConformanceSet

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parents[2]
RUNTIME = ROOT / "build" / "windows"
NETWORK = ConformanceSet.load().path / "network.onnx"
PICTURE = ConformanceSet.load().path / "pictures" / "jpeg-baseline.jpg"
INTERRUPTED = 130


@pytest.fixture(scope="module")
def wine(cpp_build: Path) -> list[str]:
    """Return how to start a program of the build for Windows, or skip the test."""
    if not (cpp_build / "command" / "fleetnet-predict.exe").is_file():
        pytest.skip(f"{cpp_build} is no build for Windows ('make cpp-windows' makes one)")
    return shlex.split(os.environ.get("FLEETNET_CPP_RUNNER", ""))


@pytest.fixture(scope="module")
def command(wine: list[str]) -> list[str]:
    return [*wine, str(RUNTIME / "fleetnet-predict.exe")]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Return a folder with a space and Chinese characters in its name and in those of its files."""
    folder = tmp_path / "旧 照片"
    (folder / "子 目录").mkdir(parents=True)
    shutil.copy(NETWORK, folder / "网络 1.onnx")
    shutil.copy(PICTURE, folder / "图 片.jpg")
    shutil.copy(PICTURE, folder / "子 目录" / "b.jpg")
    return folder


def run(
    command: Sequence[str], *arguments: str | Path, cwd: Path | None = None, data: bytes = b""
) -> tuple[int, str, str]:
    """Return code, output and errors, with this system's ends of lines.

    What wine says of itself is left out: its services now and then fail while they start.
    """
    done = subprocess.run(
        [*command, *map(str, arguments)], cwd=cwd, input=data, capture_output=True
    )
    out, err = (part.decode().replace("\r\n", "\n") for part in (done.stdout, done.stderr))
    kept = [line for line in err.splitlines(keepends=True) if not line.startswith("wine: ")]
    return done.returncode, out, "".join(kept)


def expected(capsys: pytest.CaptureFixture[str], *arguments: str | Path) -> str:
    """Return what the Python command writes."""
    with pytest.raises(SystemExit) as ended:
        main(["predict", *map(str, arguments)])
    assert ended.value.code == 0
    return capsys.readouterr().out


def rows(text: str) -> list[list[str]]:
    """Return CSV rows; their numbers have digits enough to tell classes apart, and no more."""
    return [
        [
            f"{float(cell):.4f}" if cell.startswith(("0.", "1.")) else cell.replace("\\", "/")
            for cell in row
        ]
        for row in csv.reader(io.StringIO(text))
    ]


def test_folder_of_photographs(
    command: list[str], photos: list[Path], capsys: pytest.CaptureFixture[str]
) -> None:
    """The same rows as Python's, for a folder whose name ends with a separator."""
    found = run(command, "--csv", NETWORK, f"{photos[0].parent}/")
    python = expected(capsys, "--csv", NETWORK, photos[0].parent)
    assert found[0] == 0, found[2]
    assert rows(found[1]) == rows(python)
    assert len(rows(python)) > len(photos)


def test_spaces_and_chinese_characters(command: list[str], folder: Path) -> None:
    code, out, err = run(command, "--csv", "网络 1.onnx", "图 片.jpg", "子 目录", cwd=folder)
    assert (code, err) == (0, "")
    assert [row[0] for row in rows(out)[1:]] == ["图 片.jpg", "子 目录/b.jpg"]
    assert {row[1] for row in rows(out)[1:]} == {"square"}


def test_backslashes_and_drives(command: list[str], folder: Path) -> None:
    drive = "Z:" + str(folder).replace("/", "\\")
    code, out, err = run(command, "--csv", f"{drive}\\网络 1.onnx", f"{drive}\\子 目录\\b.jpg")
    assert (code, err) == (0, "")
    assert out.splitlines()[1].startswith(f"{drive}\\子 目录\\b.jpg,square,")


def test_globs(command: list[str], folder: Path) -> None:
    """Windows' shells leave them to the programs."""
    code, out, err = run(command, "--csv", "网络 1.onnx", "*.jpg", "子*\\?.jpg", cwd=folder)
    assert (code, err) == (0, "")
    assert [row[0] for row in rows(out)[1:]] == ["图 片.jpg", "子 目录/b.jpg"]


def test_pipe(command: list[str]) -> None:
    """Bytes come in as they are: with what text would end at (0x1A) and what it would change."""
    data = PICTURE.read_bytes()
    assert b"\x1a" in data or b"\n" in data
    code, out, err = run(command, "--csv", NETWORK, "-", data=data)
    assert (code, err) == (0, "")
    direct = run(command, "--csv", NETWORK, PICTURE)[1]
    assert rows(out)[1][1:] == rows(direct)[1][1:]


def test_mistakes_are_one_line(command: list[str], folder: Path) -> None:
    code, out, err = run(command, "没有 2.onnx", "图 片.jpg", cwd=folder)
    assert (code, out) == (2, "")
    assert err.startswith("error: ")
    assert "没有 2.onnx" in err
    assert err.count("\n") == 1


def test_ctrl_c(wine: list[str], command: list[str], cpp_build: Path, tmp_path: Path) -> None:
    """Ends at once with code 130, and the rows so far are whole."""
    pictures = tmp_path / "many"
    pictures.mkdir()
    many = 20_000
    for number in range(many):
        (pictures / f"{number:06d}.jpg").symlink_to(PICTURE)
    press = [*wine, str(cpp_build / "tests" / "fleetnet-ctrl-c.exe")]
    code, out, err = run(press, command[-1], "--csv", NETWORK, pictures)
    assert (code, err) == (INTERRUPTED, "")
    found = rows(out)
    assert out.endswith("\n")
    assert 1 < len(found) < many
    assert {len(row) for row in found} == {len(found[0])}
