"""The scripts in ``examples/`` run as their first lines say."""

import re
import runpy
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from PIL import Image

from fleetnet.bundle import Bundle
from samples import ROOT, TINY

EXAMPLES = ROOT / "examples"

Script = Callable[..., list[str]]


@pytest.fixture
def script(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Script:
    """Run a script in this process; return the lines that it prints."""

    def run(name: str, *arguments: str | Path) -> list[str]:
        monkeypatch.setattr(sys, "argv", [name, *map(str, arguments)])
        capsys.readouterr()
        runpy.run_path(str(EXAMPLES / name), run_name="__main__")
        return capsys.readouterr().out.splitlines()

    return run


def test_predict(script: Script, bundle: Bundle, shapes: Path, tmp_path: Path) -> None:
    square = shapes / "square" / "003.png"
    answered, failed = script("predict.py", bundle.path, square, tmp_path / "none.jpg")
    assert re.fullmatch(rf"{re.escape(str(square))}: square [01]\.\d+, circle [01]\.\d+", answered)
    assert failed.startswith(f"{tmp_path / 'none.jpg'}: ")


@pytest.mark.slow
def test_train(script: Script, shapes: Path, tmp_path: Path) -> None:
    first, last = script("train.py", shapes, tmp_path / "run", *TINY, "epochs=1")
    assert first.startswith("epoch 1: loss ")
    assert "on 9 held-out images" in last
    assert Bundle.load(tmp_path / "run" / "model.bundle").manifest.classes == (
        "circle",
        "square",
        "stripes",
    )


def test_custom_engine(script: Script, tmp_path: Path) -> None:
    names = ("red", "green", "blue")
    for name in names:
        Image.new("RGB", (40, 30), name).save(tmp_path / f"{name}.png")
    lines = script("custom_engine.py", *(tmp_path / f"{name}.png" for name in names))
    assert [line.rpartition(" ")[2] for line in lines] == list(names)


def test_every_script_is_listed_and_run() -> None:
    listed = re.findall(r"\]\((\w+\.py)\)", (EXAMPLES / "README.md").read_text("utf-8"))
    tests = Path(__file__).read_text("utf-8")
    assert sorted(listed) == sorted(path.name for path in EXAMPLES.glob("*.py"))
    assert all(f'"{name}"' in tests for name in listed)
