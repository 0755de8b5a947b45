"""The base install: inference in an environment that has no deep-learning framework."""

import json
import os
import subprocess
import sys
import venv
from pathlib import Path

import pytest

from fleetnet.bundle import Bundle
from samples import ROOT

pytestmark = pytest.mark.slow

ABSENT = ("torch", "onnx", "onnxscript", "onnxruntime", "safetensors", "yaml")


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Install the package without extras into an environment of its own."""
    folder = tmp_path_factory.mktemp("base")
    venv.create(folder, with_pip=True)
    subprocess.run(
        [folder / "bin" / "python", "-m", "pip", "--disable-pip-version-check", "install",
         "--quiet", "--constraint", ROOT / "constraints.txt", ROOT],
        check=True,
    )  # fmt: skip
    return folder / "bin"


def run(*command: str | Path, **options: object) -> subprocess.CompletedProcess[str]:
    environment = {key: value for key, value in os.environ.items() if key != "PYTHONPATH"}
    return subprocess.run(  # type: ignore[call-overload,no-any-return]
        [str(word) for word in command],
        capture_output=True,
        text=True,
        check=False,
        env={**environment, "COLUMNS": "100"},
        **options,
    )


def test_the_base_install_has_no_framework(base: Path) -> None:
    listed = run(base / "python", "-m", "pip", "list", "--format=json")
    names = {package["name"].lower() for package in json.loads(listed.stdout)}
    assert {"fleetnet", "openvino", "numpy", "pillow", "pydantic", "typer", "rich"} <= names
    assert not names & {*ABSENT, "pyyaml"}


def test_predict_works_without_torch(base: Path, bundle: Bundle, shapes: Path) -> None:
    image = shapes / "circle" / "000.jpg"
    result = run(base / "fleetnet", "predict", bundle.path, image, "--json")
    assert result.returncode == 0, result.stderr
    answer = json.loads(result.stdout)
    here = run(sys.executable, "-m", "fleetnet", "predict", bundle.path, image, "--json")
    expected = json.loads(here.stdout)
    for found, known in zip(answer["top"], expected["top"], strict=True):
        assert found["class"] == known["class"]
        assert found["probability"] == pytest.approx(known["probability"], abs=1e-6)


def test_verify_works_without_torch(base: Path, bundle: Bundle, shapes: Path) -> None:
    result = run(base / "fleetnet", "verify", bundle.path, "--images", shapes, "--json")
    assert result.returncode == 0, result.stderr
    report = json.loads(result.stdout)
    assert report["passed"]
    assert report["reference"] == "self_test"
    assert [engine["engine"] for engine in report["engines"]] == ["openvino"]


def test_the_base_install_conforms(base: Path, bundle: Bundle, tmp_path: Path) -> None:
    result = run(base / "fleetnet", "conformance", "--json", cwd=tmp_path)
    assert result.returncode == 0, result.stderr
    report = json.loads(result.stdout)
    assert report["passed"]
    assert Path(report["set"]).is_relative_to(base.parent)
    assert report["checks"][-1]["name"].startswith("logits, openvino")
    result = run(base / "fleetnet", "conformance", bundle.path)
    assert result.returncode == 0, result.stderr
    refused = run(base / "fleetnet", "conformance", "--write", tmp_path / "set")
    assert refused.returncode == 2
    assert "pip install 'fleetnet[export]'" in refused.stderr


def test_evaluate_works_without_torch(base: Path, bundle: Bundle, shapes: Path) -> None:
    result = run(base / "fleetnet", "evaluate", bundle.path, shapes, "--json")
    assert result.returncode == 0, result.stderr
    assert json.loads(result.stdout)["images"] == 9


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["predict", "BUNDLE", "x.jpg", "--engine", "torch"], "pip install 'fleetnet[train]'"),
        (["predict", "BUNDLE", "x.jpg", "--engine", "onnxruntime"], "'fleetnet[onnxruntime]'"),
        (["train", "elpv"], "pip install 'fleetnet[train]'"),
        (["export", "CHECKPOINT"], "pip install 'fleetnet[export]'"),
        (["evaluate", "CHECKPOINT", "SHAPES"], "pip install 'fleetnet[train]'"),
        (["quantize", "BUNDLE", "--images", "SHAPES"], "pip install 'fleetnet[quantize]'"),
        (["models"], "pip install 'fleetnet[train]'"),
        (["serve", "BUNDLE"], "pip install 'fleetnet[serve]'"),
        (["demo"], "pip install 'fleetnet["),
    ],
)
def test_commands_that_need_an_extra_name_it(
    base: Path, bundle: Bundle, checkpoint: Path, shapes: Path, arguments: list[str], words: str
) -> None:
    places = {"BUNDLE": bundle.path, "CHECKPOINT": checkpoint, "SHAPES": shapes}
    result = run(base / "fleetnet", *(places.get(word, word) for word in arguments))
    assert result.returncode == 2, result
    assert len(result.stderr.strip().splitlines()) == 1, result.stderr
    assert words in result.stderr


def test_importing_the_package_imports_hardly_anything(base: Path) -> None:
    """Time is not asserted, because machines are noisy; what takes the time is."""
    code = "import sys, fleetnet; print(*sys.modules)"
    loaded = set(run(base / "python", "-c", code).stdout.split())
    assert not loaded & {"numpy", "PIL", "pydantic", "openvino", "rich", "typer", *ABSENT}
    assert {name for name in loaded if name.startswith("fleetnet")} == {"fleetnet"}


def test_the_public_names_that_need_no_framework_are_importable(base: Path) -> None:
    code = "from fleetnet import Bundle, Classifier, FleetnetError, Prediction, Preprocess"
    result = run(base / "python", "-c", code)
    assert result.returncode == 0, result.stderr
