import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from rich.cells import cell_len

from conftest import Run


def make_run(
    folder: Path, top1: list[float], model: str | None = "MobileNetV2", **recipe: Any
) -> Path:
    folder.mkdir(parents=True)
    values = {"name": "finetune", "epochs": 30, **recipe}
    (folder / "recipe.yaml").write_text(json.dumps(values))
    if model:
        (folder / "run.json").write_text(
            json.dumps({"model": model, "data": "folder x", "recipe": values})
        )
    (folder / "metrics.jsonl").write_text(
        "".join(
            json.dumps(
                {"epoch": epoch, "train_loss": 0.5, "top1": value, "images_per_s": 1234.5,
                 "seconds": 1800}
            ) + "\n"
            for epoch, value in enumerate(top1, 1)
        )
    )  # fmt: skip
    return folder


@pytest.fixture
def some(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    make_run(tmp_path / "runs" / "first", [0.5, 0.75, 0.7], optimizer={"lr": 0.1})
    make_run(tmp_path / "runs" / "second", [0.6, 0.9], optimizer={"lr": 0.03})
    return tmp_path / "runs"


def test_the_best_comes_first_and_what_differs_is_shown(fleetnet: Run, some: Path) -> None:
    result = fleetnet("runs")
    assert result.code == 0, result
    assert [line.rstrip() for line in result.out.splitlines()] == [
        "model MobileNetV2, recipe finetune, data folder x",
        "",
        "#  run       lr  epochs  best top-1   last   loss  images/s     time",
        "1  second  0.03    2/30   90.00 (2)  90.00  0.500     1,234  1:00:00",
        "2  first    0.1    3/30   75.00 (2)  70.00  0.500     1,234  1:30:00",
    ]
    assert result.err == ""


def test_one_run(fleetnet: Run, some: Path) -> None:
    result = fleetnet("runs", some / "first")
    assert result.code == 0
    assert "model MobileNetV2, recipe finetune, data folder x" in result.out
    assert "75.00 (2)" in result.out


def test_json(fleetnet: Run, some: Path) -> None:
    values = json.loads(fleetnet("runs", some, "--json").out)
    assert [value["best"]["top1"] for value in values] == [0.9, 0.75]
    assert values[0]["settings"]["optimizer.lr"] == 0.03
    assert len(values[1]["history"]) == 3


def test_plot(fleetnet: Run, some: Path, tmp_path: Path) -> None:
    result = fleetnet("runs", "--plot", tmp_path / "curves.png")
    assert result.code == 0
    assert "curves of 2 of 2 runs" in result.err
    assert (tmp_path / "curves.png").stat().st_size > 10_000


def test_a_run_that_training_made(fleetnet: Run, run_folder: Path) -> None:
    result = fleetnet("runs", run_folder)
    assert result.code == 0
    assert " 2/2 " in result.out


@pytest.mark.parametrize("width", [40, 80, 100, 200])
@pytest.mark.parametrize("settings", [0, 1, 6, 40])
def test_it_fits_every_terminal(
    fleetnet: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, width: int, settings: int
) -> None:
    for number in range(3):
        section = {f"quite_a_setting_{key}": number for key in range(settings)}
        name = f"MobileNetV2_x0_25-20261121-23000{number}"
        make_run(tmp_path / name, [0.5], optimizer=section)
    monkeypatch.setenv("COLUMNS", str(width))
    out = fleetnet("runs", tmp_path).out
    assert max(cell_len(line.rstrip()) for line in out.splitlines()) <= width
    if width >= 80:
        assert all(f"{number} " in out for number in (1, 2, 3))
        assert out.count("50.00 (1)") == 3
        assert out.count("23000") == 3
        assert all(f"setting_{key}" in out for key in range(settings))


def test_hostile_names_are_shown_and_not_obeyed(fleetnet: Run, tmp_path: Path) -> None:
    make_run(tmp_path / "\x1b[31mred", [0.5], model="\x1b[2J", seed="\x07[bold]")
    make_run(tmp_path / "表情😀", [0.6], model=None)
    make_run(tmp_path / ("l" * 200), [0.7])
    (tmp_path / "\x1b[31mred" / "metrics.jsonl").open("a").write("junk")
    result = fleetnet("runs", tmp_path)
    assert result.code == 0, result
    assert "\x1b" not in result.out + result.err
    assert "\x07" not in result.out
    for words in ("\\x1b[31mred", "表情😀", "\\x1b[2J", "[bold]"):
        assert words in result.out
    json.loads(fleetnet("runs", tmp_path, "--json").out)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["nothing"], ["nothing does not exist", "fleetnet train"]),
        ([], ["runs does not exist"]),
        (["."], ["no runs in .", "metrics.jsonl"]),
        ([".", "--plot", "x.jpeg"], ["cannot draw 'x.jpeg'", ".png"]),
        ([".", "--plot", "x"], ["cannot draw 'x'"]),
        ([".", "--plto"], ["No such option"]),
    ],
)
def test_wrong_words(
    fleetnet: Run,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    arguments: list[str],
    words: list[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    fleetnet("runs", *arguments).assert_one_line(*words)


def test_a_plot_that_cannot_be_written(fleetnet: Run, some: Path) -> None:
    result = fleetnet("runs", "--plot", "/proc/curves.png")
    assert result.code == 2
    assert "error: cannot write /proc/curves.png" in result.err


def test_it_starts_without_a_framework() -> None:
    code = "import sys, fleetnet.cli.runs; print({'torch', 'matplotlib', 'yaml'} & {*sys.modules})"
    answer = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    )
    assert answer.stdout.strip() == "set()"
