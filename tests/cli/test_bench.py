import json
import subprocess
import sys
from pathlib import Path

import pytest
from rich.cells import cell_len

from conftest import Run
from fleetnet.benchmark import run as running
from fleetnet.benchmark.tables import Table
from fleetnet.bundle import Bundle
from fleetnet.cli import bench
from made_up_results import made_up

TINY = ("--threads", "1", "--batch", "1", "--batch", "2", "--budget", "0.01", "--quick")


@pytest.fixture(autouse=True)
def small_products(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(running, "SIDES", (64,))
    monkeypatch.setattr(running, "numpy_peak", lambda _: None)


@pytest.mark.slow
def test_a_bundle_from_measuring_to_files(fleetnet: Run, bundle: Bundle, tmp_path: Path) -> None:
    output = tmp_path / "measured" / "here"
    output.mkdir(parents=True)
    (output / "results.md").write_text("of an earlier run")
    result = fleetnet("bench", bundle.path, *TINY, "--precision", "fp32", "-o", output)
    assert result.code == 0, result
    assert "Latency by batch, openvino fp32, 1 thread" in result.out
    assert "shapes.bundle" in result.out
    assert "no pictures: none of these networks has a published accuracy" in result.err
    assert sorted(file.name for file in output.iterdir()) == ["results.json", "results.md"]
    values = json.loads((output / "results.json").read_text())
    assert [row["batch"] for row in values["latency"]] == [1, 2]
    assert values["processes"][0]["runs"] == 1
    assert values["plan"]["threads"] == [1]
    assert "of an earlier run" not in (output / "results.md").read_text()


@pytest.mark.slow
def test_json_and_a_precision_that_is_not_there(fleetnet: Run, bundle: Bundle) -> None:
    result = fleetnet(
        "bench", bundle.path, *TINY, "--precision", "int8", "--precision", "fp32", "--json"
    )
    assert result.code == 0, result
    rows = json.loads(result.out)["latency"]
    assert {row["precision"] for row in rows if "missing" in row} == {"int8"}
    assert {row["precision"] for row in rows if "p50_ms" in row} == {"fp32"}
    assert "2 figures are missing: openvino finds no int8 network" in " ".join(result.err.split())


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (
            ["MobilNetV2"],
            ["'MobilNetV2' is neither a file nor a network", "did you mean 'MobileNetV2'"],
        ),
        (["BUNDLE", "--threads", "0"], ["'--threads'"]),
        (["BUNDLE", "--threads", "2000"], ["threads is 2000"]),
        (["BUNDLE", "--batch", "0"], ["'--batch'"]),
        (["BUNDLE", "--batch", "5000"], ["batch is 5000"]),
        (["BUNDLE", "--engine", "tensorrt"], ["unknown engine 'tensorrt'"]),
        (["BUNDLE", "--precision", "fp8"], ["unknown precision 'fp8'", "'fp32'"]),
        (["BUNDLE", "--budget", "0"], ["budget is 0"]),
        (["BUNDLE", "-o", "FILE"], ["is a file: --output takes a folder"]),
        (["BUNDLE", "-o", "FILE/below"], ["cannot write", "Not a directory"]),
        (["BUNDLE", "-o", "/proc/bench"], ["cannot write /proc/bench"]),
        (["--size", "8"], ["size is 8", "from 32 to 1024"]),
    ],
)
def test_wrong_words(
    fleetnet: Run, bundle: Bundle, tmp_path: Path, arguments: list[str], words: list[str]
) -> None:
    file = tmp_path / "file"
    file.touch()
    given = [
        word.replace("BUNDLE", str(bundle.path)).replace("FILE", str(file)) for word in arguments
    ]
    fleetnet("bench", *given).assert_one_line(*words)


@pytest.mark.parametrize("width", [80, 120])
def test_the_tables_fit_the_terminal(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, width: int
) -> None:
    monkeypatch.setenv("COLUMNS", str(width))
    bench._print(made_up(threads=(1, 2, 4)))
    lines = capsys.readouterr().out.splitlines()
    assert max(cell_len(line.rstrip()) for line in lines) <= width
    # No figure is cut off or broken into two lines.
    assert not any("…" in line for line in lines)
    assert sum(line.startswith("ReXNet_3_0 ") for line in lines) == 1 + 2 * 5


def test_a_hostile_name_is_shown_and_not_obeyed(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    results = made_up(["MobileNetV2"])
    table = Table("title", ("model", "a"), (("\x1b[31m[bold]red", "1"),), ())
    monkeypatch.setattr(bench, "tables", lambda _: [table])
    bench._print(results)
    assert "\\x1b[31m[bold]red" in capsys.readouterr().out


@pytest.mark.slow
def test_a_bundle_is_measured_without_a_framework(bundle: Bundle, tmp_path: Path) -> None:
    """As in the base install, where neither PyTorch nor matplotlib is."""
    code = f"""
import sys
sys.modules |= dict.fromkeys(("torch", "matplotlib", "onnx", "yaml", "safetensors"))
from fleetnet.benchmark import run
run.SIDES, run.numpy_peak = (64,), lambda _: None
from fleetnet.cli import main
options = (*{TINY!r}, "--precision", "fp32", "-o", {str(tmp_path / "out")!r})
main(["bench", {str(bundle.path)!r}, *options])
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "no pictures" in done.stderr
    assert json.loads((tmp_path / "out" / "results.json").read_text())["latency"]
