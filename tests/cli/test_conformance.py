"""``fleetnet conformance``: its tables, its JSON, and how it ends."""

import hashlib
import json
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.numpy import load, save

from conftest import Run
from fleetnet import native
from fleetnet.bundle import MANIFEST, Bundle
from fleetnet.conformance.description import DESCRIPTION
from fleetnet.conformance.files import ConformanceSet
from fleetnet.conformance.reference import reference_input
from fleetnet.inference.engines import Pixels, engines_for
from fleetnet.inference.judging import sentence
from fleetnet.preprocess import Preprocess
from made_up_int8 import JUDGEMENT, with_int8
from samples import ROOT

OURS = ConformanceSet.load()


@pytest.fixture
def few_engines(monkeypatch: pytest.MonkeyPatch) -> None:
    """OpenVINO takes a second to compile, and what is tested here is the verb."""
    for module in ("check", "bundles"):
        name = f"fleetnet.conformance.{module}.engines_for"
        monkeypatch.setattr(name, lambda _: ["onnxruntime"])


@pytest.fixture
def wrong(tmp_path: Path) -> Path:
    """A set in which one picture has another logit and another expected crop."""
    folder = Path(shutil.copytree(OURS.path, tmp_path / "wrong"))
    values: Any = json.loads((folder / DESCRIPTION).read_text("utf-8"))
    picture = next(one for one in values["pictures"] if one["name"] == "jpeg-grey")
    picture["logits"][0] += 1
    one = picture["inputs"][1]
    black = bytes(24 * 24 * 3)
    (folder / one["file"]).write_bytes(black)
    one["sha256"] = hashlib.sha256(black).hexdigest()
    (folder / DESCRIPTION).write_text(json.dumps(values), "utf-8")
    return folder


def test_this_installation_conforms(
    fleetnet: Run, few_engines: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    result = fleetnet("conformance")
    assert result.code == 0, result
    assert "conforms: every answer is the conformance set's" in result.err
    assert max(map(len, result.out.splitlines())) <= 80
    for row in (
        "files of the set",
        "refusals",
        "decoded pictures",
        "inputs, Python",
        "rejection",
        "logits, onn",
    ):
        assert row in result.out


def test_its_json(fleetnet: Run, few_engines: None) -> None:
    result = fleetnet("conformance", "--json")
    assert result.code == 0, result
    report = json.loads(result.out)
    assert report["passed"]
    assert report["written_by"] == OURS.description.written_by
    assert all(check["passed"] and check["answers"] for check in report["checks"])
    assert report["checks"][-1]["max_abs_diff"] <= OURS.description.network.tolerance


def test_differences_are_named_with_the_exit_code_of_verify(
    fleetnet: Run, few_engines: None, wrong: Path
) -> None:
    result = fleetnet("conformance", "--set", wrong)
    assert result.code == 2
    lines = result.err.splitlines()
    assert any(
        line.startswith("differs: jpeg-grey: bicubic, Python: the pixel in row 0, column 0 is (")
        for line in lines
    )
    assert "differs: jpeg-grey: onnxruntime's logits differ by up to 1 (allowed: 0.001)" in lines
    assert "answers are not the conformance set's, the first: jpeg-grey: bicubic" in lines[-1]
    report = json.loads(fleetnet("conformance", "--set", wrong, "--json").out)
    assert not report["passed"]
    assert [check["name"] for check in report["checks"] if not check["passed"]][-3:] == [
        "inputs, Python",
        "rejection",
        report["checks"][-1]["name"],
    ]


def test_bad_input_is_one_line(fleetnet: Run, tmp_path: Path, wrong: Path) -> None:
    fleetnet("conformance", "--set", tmp_path).assert_one_line("is no conformance set")
    (wrong / "pictures" / "webp.webp").unlink()
    fleetnet("conformance", "--set", wrong).assert_one_line("webp.webp is missing")
    text = (wrong / DESCRIPTION).read_text("utf-8").replace('"bicubic"', '"nearest"', 1)
    (wrong / DESCRIPTION).write_text(text, "utf-8")
    fleetnet("conformance", "--set", wrong).assert_one_line("interpolation", "not 'nearest'")
    (tmp_path / "mine").write_text("mine")
    fleetnet("conformance", "--write", tmp_path).assert_one_line("is not a conformance set: choose")
    fleetnet("conformance", "x", "--write", tmp_path).assert_one_line("--write goes with no MODEL")
    fleetnet("conformance", "nothing").assert_one_line("'nothing' is neither a file nor a network")


@pytest.fixture
def torch_and_onnxruntime(monkeypatch: pytest.MonkeyPatch) -> None:
    def few(bundle: Bundle) -> list[str]:
        return [name for name in engines_for(bundle) if name != "openvino"]

    monkeypatch.setattr("fleetnet.conformance.bundles.engines_for", few)


def test_a_bundle_conforms(
    fleetnet: Run, bundle: Bundle, torch_and_onnxruntime: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    monkeypatch.chdir(bundle.path.parent)
    result = fleetnet("conformance", bundle.path.name, OURS.path / "network.onnx")
    assert result.code == 0, result
    assert "0 different; engines compared with torch in fp32" in result.out
    assert "engines compared with onnxruntime in fp32" in result.out  # which has no weights
    assert "no other engine is installed to compare with" in result.err
    table = [line for line in result.out.splitlines() if not line.startswith("/")]
    assert max(map(len, table)) <= 80
    report = json.loads(fleetnet("conformance", bundle.path, "--json").out)
    assert report["passed"]
    (model,) = report["models"]
    assert model["inputs"]["answers"] in (0, 2 * 63)
    engines = {(engine["engine"], engine["precision"]): engine for engine in model["engines"]}
    assert engines["onnxruntime", "fp32"]["images"] == 63
    assert ("torch", "fp32") not in engines


def test_what_is_on_record_of_fewer_bits_is_said(
    fleetnet: Run, bundle: Bundle, few_engines: None, tmp_path: Path
) -> None:
    int8 = with_int8(bundle, tmp_path / "int8.bundle").path
    result = fleetnet("conformance", int8)
    assert result.code == 0, result
    assert "not required" in result.out
    assert f"on record: onnxruntime in int8 {sentence(JUDGEMENT)}" in result.out
    (model,) = json.loads(fleetnet("conformance", int8, "--json").out)["models"]
    (engine,) = [one for one in model["engines"] if one["precision"] == "int8"]
    assert engine["judgement"] == JUDGEMENT.model_dump(mode="json")
    unjudged = with_int8(bundle, tmp_path / "unjudged.bundle", judgement=None).path
    printed = fleetnet("conformance", unjudged)
    assert "what onnxruntime loses in int8 is not on record: 'fleetnet tune' ju" in printed.out


def test_a_bundle_whose_graph_is_of_other_weights_does_not(
    fleetnet: Run, bundle: Bundle, torch_and_onnxruntime: None, tmp_path: Path
) -> None:
    folder = Path(shutil.copytree(bundle.path, tmp_path / "odd.bundle"))
    weights = load((folder / "model.safetensors").read_bytes())
    weights["classifier.bias"] = weights["classifier.bias"] + np.array([0, 0.5, 0], np.float32)
    content = save(weights)
    (folder / "model.safetensors").write_bytes(content)
    manifest = json.loads((folder / MANIFEST).read_text("utf-8"))
    for artifact in manifest["artifacts"]:
        for file in artifact["files"]:
            if file["name"] == "model.safetensors":
                file["sha256"] = hashlib.sha256(content).hexdigest()
                file["bytes"] = len(content)
    (folder / MANIFEST).write_text(json.dumps(manifest), "utf-8")
    result = fleetnet("conformance", folder)
    assert result.code == 2
    assert "onnxruntime differs from torch by up to" in result.err.splitlines()[-1]
    report = json.loads(fleetnet("conformance", folder, "--json").out)
    assert not report["passed"]
    assert not report["models"][0]["passed"]


def test_a_bundle_whose_preprocessing_differs_here_does_not(
    fleetnet: Run, bundle: Bundle, few_engines: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    def off(preprocess: Preprocess, data: bytes, *, exact: bool = True) -> Pixels:
        pixels = reference_input(data, preprocess, exact=exact).copy()
        pixels[1, 2, 0] ^= 1
        return pixels

    monkeypatch.setattr(Preprocess, "from_bytes", off)
    monkeypatch.setattr(native, "core", object())  # also where there was no compiler
    result = fleetnet("conformance", bundle.path)
    assert result.code == 2
    assert "jpeg-baseline: bilinear 72/64, C core: the pixel in row 1, column 2" in result.err


def test_a_picture_that_is_not_decoded_here_is_named(
    fleetnet: Run, bundle: Bundle, few_engines: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("fleetnet.formats._has", lambda _: False)
    result = fleetnet("conformance", bundle.path)
    assert result.code == 2
    assert "webp: refused: WEBP is not in this Pillow" in result.err.splitlines()[-1]
    assert "differs: webp-animated: refused: WEBP is not in this Pillow" in result.err
    report = json.loads(fleetnet("conformance", bundle.path, "--json").out)
    refused = [one["picture"] for one in report["models"][0]["inputs"]["differences"]]
    assert refused == ["webp", "webp-lossless", "webp-alpha", "webp-animated"]


@pytest.mark.slow
def test_a_wheel_carries_the_set_and_what_is_generated(tmp_path: Path) -> None:
    subprocess.run(
        [sys.executable, "-m", "pip", "--disable-pip-version-check", "wheel", "--quiet",
         "--no-deps", "--no-build-isolation", "--wheel-dir", tmp_path, ROOT],
        check=True,
    )  # fmt: skip
    (wheel,) = tmp_path.glob("*.whl")
    prefix = "fleetnet/conformance/set/"
    with zipfile.ZipFile(wheel) as packed:
        carried = {
            entry.filename.removeprefix(prefix): packed.read(entry)
            for entry in packed.infolist()
            if entry.filename.startswith(prefix)
        }
        size = sum(
            entry.compress_size for entry in packed.infolist() if "conformance" in entry.filename
        )
        names = ("/serving/brpc/meta.", "/serving/open_inference.")
        generated = [name for name in packed.namelist() if any(one in name for one in names)]
    assert sorted(generated) == [
        *(f"fleetnet/serving/brpc/meta.{ending}" for ending in ("pb", "proto", "py", "pyi")),
        *(f"fleetnet/serving/open_inference.{ending}" for ending in ("pb", "proto", "py")),
    ]
    assert carried == {
        file.relative_to(OURS.path).as_posix(): file.read_bytes()
        for file in OURS.path.rglob("*")
        if file.is_file()
    }
    assert size < 1e6
