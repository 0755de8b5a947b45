import json
from pathlib import Path

import pytest

from conftest import Run
from fleetnet.bundle import Bundle, Judgement
from fleetnet.inference.tuning_cache import load_tuned
from made_up_int8 import cell_of, with_int8


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


def test_the_table_shows_what_fewer_bits_lose(
    fleetnet: Run, bundle: Bundle, shapes: Path, tmp_path: Path
) -> None:
    path = with_int8(bundle, tmp_path / "int8.bundle").path
    command = (
        "tune", path, "--images", shapes, "--engine", "onnxruntime", "--mode", "latency",
        "--threads", "1", "--seconds", "0",
    )  # fmt: skip
    trials = json.loads(fleetnet(*command, "--json").out)["modes"]["latency"]["trials"]
    (found,) = [trial["judgement"] for trial in trials if trial["precision"] == "int8"]
    assert (found["judged_by"], found["images"]) == ("confidence", 36)
    result = fleetnet(*command)
    assert result.code == 0, result
    heading = result.out.splitlines()[0].split()
    (row,) = [line for line in result.out.splitlines() if line.startswith("onnxruntime int8")]
    judgement = Judgement.model_validate({key: found[key] for key in Judgement.model_fields})
    assert row.split()[heading.index("lost") + 1] == cell_of(judgement)
    assert "lost: points of top-1 by confidence, with its bound at 95% confidence" in result.out


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
