import json
from pathlib import Path

import pytest

from conftest import Run
from fleetnet.bundle import Bundle
from fleetnet.inference.tuning_cache import load_tuned


@pytest.fixture(autouse=True)
def cache(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    monkeypatch.setenv("FLEETNET_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


def test_the_table_names_the_choice(fleetnet: Run, bundle: Bundle, shapes: Path) -> None:
    result = fleetnet(
        "tune", bundle.path, "--images", shapes, "--engine", "openvino", "--mode", "latency",
        "--threads", "1", "--seconds", "0",
    )  # fmt: skip
    assert result.code == 0
    assert "← chosen" in result.out
    assert "latency: openvino" in result.err
    choice = load_tuned(bundle, "latency", threads=1)
    assert choice is not None
    assert choice.engine == "openvino"


@pytest.mark.slow
def test_nothing_of_the_table_is_cut_off_in_80_columns(
    fleetnet: Run, bundle: Bundle, shapes: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    result = fleetnet(
        "tune", bundle.path, "--images", shapes, "--engine", "openvino", "--engine", "onnxruntime",
        "--seconds", "0", "--limit", "8",
    )  # fmt: skip
    assert "…" not in result.out
    assert "onnxruntime fp32" in result.out
    assert all(len(line) <= 80 for line in result.out.splitlines())


def test_json_has_every_trial(fleetnet: Run, bundle: Bundle, shapes: Path) -> None:
    result = fleetnet(
        "tune", bundle.path, "--images", shapes, "--engine", "onnxruntime", "--threads", "1",
        "--seconds", "0", "--limit", "8", "--json",
    )  # fmt: skip
    assert result.code == 0
    assert "8 images are too few" in result.err
    found = json.loads(result.out)
    assert set(found["modes"]) == {"latency", "throughput"}
    assert len(found["modes"]["throughput"]["trials"]) == 3
    assert found["modes"]["latency"]["choice"]["precision"] == "fp32"
    assert load_tuned(bundle, "latency", threads=1) is None


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--mode", "latencey"], "unknown mode 'latencey', did you mean 'latency'"),
        (["--engine", "tensorrt"], "unknown engine 'tensorrt'"),
        (["--images", "nowhere"], "nowhere does not exist"),
    ],
)
def test_bad_arguments_are_one_line(
    fleetnet: Run, bundle: Bundle, shapes: Path, arguments: list[str], message: str
) -> None:
    images = [] if "--images" in arguments else ["--images", shapes]
    result = fleetnet("tune", bundle.path, *images, *arguments)
    assert result.code == 2
    assert message in result.err
    assert result.err.strip().count("\n") <= 1
