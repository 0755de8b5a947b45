"""``fleetnet quantize``, and ``fleetnet verify`` of what it made."""

import hashlib
import importlib.util
import json
import shutil
from importlib.machinery import ModuleSpec
from pathlib import Path

import numpy as np
import onnx
import pytest

from conftest import Run
from fleetnet.bundle import MANIFEST, Bundle
from fleetnet.data.contents import content_of
from fleetnet.evaluation.overlap import trained_images_of
from fleetnet.export.finetune import run
from fleetnet.inference.judging import sentence
from made_up_int8 import cell_of
from samples import make_folder

QUICK = ("--engine", "onnxruntime", "--agreement", "0.3")
"""The session's network says one class of all images: int8 is sure to agree on some."""


@pytest.fixture(scope="module")
def images(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_folder(tmp_path_factory.mktemp("images") / "shapes", 16, seed=11)


@pytest.fixture
def copy(bundle: Bundle, tmp_path: Path) -> Path:
    path = tmp_path / "b.bundle"
    shutil.copytree(bundle.path, path)
    return path


@pytest.mark.slow
def test_quantize_then_verify(fleetnet: Run, copy: Path, images: Path) -> None:
    result = fleetnet("quantize", copy, "--images", images, *QUICK)
    assert result.code == 0, result
    assert "16 calibration images, 32 validation images" in result.err
    assert "32 images cannot show that 30.00%" not in result.err
    heading, row, *_ = result.out.splitlines()
    assert heading.split()[:4] == ["engine", "images", "same", "answer"]
    assert row.split()[:2] == ["onnxruntime", "32"]
    judgement = Bundle.load(copy).judgement("onnxruntime", "int8")
    assert judgement is not None
    assert "lost" in heading.split()
    assert row.split()[3] == cell_of(judgement)
    assert f"onnxruntime: {sentence(judgement)}" in result.out
    assert "54" in row
    assert f"written: {copy}" in result.out
    assert all(len(line) <= 100 for line in (heading, row))

    verified = fleetnet("verify", copy, "--images", images, "--json")
    assert verified.code == 0, verified
    report = json.loads(verified.out)
    assert [engine["precision"] for engine in report["engines"]] == ["fp32", "fp32"]
    (int8,) = report["fewer_bits"]
    assert (int8["engine"], int8["precision"]) == ("onnxruntime", "int8")
    assert (int8["required_agreement"], int8["passed"]) == (pytest.approx(0.3), True)
    table = fleetnet("verify", copy, "--images", images)
    assert "int8" in table.out
    assert "onnxruntime in int8: gives the same answer on" in table.err
    options = ("--precision", "int8", "--engine", "onnxruntime")
    assert fleetnet("predict", copy, images, *options).code == 0


@pytest.mark.slow
def test_json_to_another_folder(
    fleetnet: Run, bundle: Bundle, images: Path, tmp_path: Path
) -> None:
    output = tmp_path / "new.bundle"
    result = fleetnet(
        "quantize", bundle.path, "--images", images, *QUICK, "-o", output, "--json",
        "--calibration", "12", "--judging", "30", "--weight-bits", "8",
    )  # fmt: skip
    assert result.code == 0, result
    report = json.loads(result.out)
    assert report["bundle"] == str(output)
    assert (report["calibration_images"], report["judging_images"]) == (12, 30)
    (engine,) = report["engines"]
    assert engine["engine"] == "onnxruntime"
    assert engine["required_agreement"] == 0.3 <= engine["agreement"]
    assert engine["agreement_at_least"] < engine["agreement"]
    assert engine["weight_bits"] == 8
    assert engine["kept_layers"] == []
    assert set(engine["latency_ms"]) == {"fp32", "int8"}
    assert Bundle.load(bundle.path).find(format="onnx", precision="int8") is None
    assert Bundle.load(output).find(format="onnx", precision="int8")


@pytest.mark.slow
def test_int8_that_answers_otherwise_fails_verification(
    fleetnet: Run, copy: Path, images: Path
) -> None:
    assert fleetnet("quantize", copy, "--images", images, *QUICK).code == 0
    content = (copy / "model.int8.onnx").read_bytes()
    damaged = _with_other_answers(content)
    (copy / "model.int8.onnx").write_bytes(damaged)
    values = json.loads((copy / MANIFEST).read_text())
    entry = next(a for a in values["artifacts"] if a["files"][0]["name"] == "model.int8.onnx")
    entry["files"][0]["sha256"] = hashlib.sha256(damaged).hexdigest()
    entry["quantization"]["agreement"] = 0.99
    (copy / MANIFEST).write_text(json.dumps(values))
    result = fleetnet("verify", copy, "--images", images)
    assert result.code == 2
    line = result.err.strip().splitlines()[-1]
    assert line.startswith("error: onnxruntime in int8 gives the same answer on 0.00%")
    assert "99.00% are wanted" in line


def _with_other_answers(graph: bytes) -> bytes:
    """Turn the sign of the logits."""
    model = onnx.load_from_string(graph)
    for node in model.graph.node:
        for index, name in enumerate(node.output):
            if name == "logits":
                node.output[index] = "turned"
    model.graph.node.append(onnx.helper.make_node("Neg", ["turned"], ["logits"], "turn"))
    for node in model.graph.node:
        if node.op_type == "Softmax":
            node.input[0] = "turned"
    content: bytes = model.SerializeToString()
    return content


@pytest.mark.slow
def test_few_images_are_warned_of(fleetnet: Run, copy: Path, images: Path) -> None:
    result = fleetnet(
        "quantize", copy, "--images", images, "--engine", "onnxruntime", "--agreement", "0.95"
    )
    # Whether 95 % are reached or not, 32 images are too few to show it.
    assert "32 images cannot show that 95.00% of all agree" in result.err


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["nothing.bundle", "--images", "IMAGES"], ["no such file or folder: nothing.bundle"]),
        (["BUNDLE"], ["no images: give real ones, --images, or labelled ones", "--data"]),
        (["BUNDLE", "--images", "/nothing"], ["/nothing does not exist"]),
        (["BUNDLE", "--images", "IMAGES/circle"], ["16 different images are too few", "45"]),
        (["BUNDLE", "--images", "IMAGES", "--agreement", "0"], ["agreement is 0.0"]),
        (["BUNDLE", "--images", "IMAGES", "--agreement", "1.5"], ["--agreement"]),
        (["BUNDLE", "--images", "IMAGES", "--engine", "torch"], ["no int8 for the engine"]),
        (["BUNDLE", "--images", "IMAGES", "--weight-bits", "4"], ["--weight-bits"]),
        (["ONNX", "--images", "IMAGES"], ["only an ONNX file"]),
        (["BUNDLE", "--images", "IMAGES", "--epochs", "2"], ["on which images, --train"]),
        (["BUNDLE", "--images", "IMAGES", "--train", "/nothing"], ["/nothing"]),
        (
            ["BUNDLE", "--images", "IMAGES", "--train", "IMAGES/circle"],
            [
                "images to fine-tune with besides the",
                "that judge",
                "--train",
            ],
        ),
    ],
)
def test_bad_input_is_one_line(
    fleetnet: Run, bundle: Bundle, images: Path, arguments: list[str], words: list[str]
) -> None:
    places = {"BUNDLE": bundle.path, "ONNX": bundle.file(format="onnx")}
    before = {entry.name: entry.stat().st_mtime_ns for entry in bundle.path.iterdir()}
    given = [places.get(word, Path(word.replace("IMAGES", str(images)))) for word in arguments]
    result = fleetnet("quantize", *given)
    assert result.code == 2, result
    assert "Traceback" not in result.err
    line = result.err.strip().splitlines()[-1]
    assert line.startswith("error: ")
    for word in words:
        assert word in line
    assert {e.name: e.stat().st_mtime_ns for e in bundle.path.iterdir()} == before


@pytest.mark.parametrize("module", ["nncf", "onnx", "onnxruntime"])
def test_what_is_not_installed_is_named(
    fleetnet: Run, bundle: Bundle, images: Path, monkeypatch: pytest.MonkeyPatch, module: str
) -> None:
    find = importlib.util.find_spec

    def without(name: str, package: str | None = None) -> ModuleSpec | None:
        return None if name == module else find(name, package)

    monkeypatch.setattr(importlib.util, "find_spec", without)
    fleetnet("quantize", bundle.path, "--images", images).assert_one_line(
        "which is not installed: pip install 'fleetnet[quantize]'"
    )


@pytest.mark.slow
def test_fine_tuning_first(fleetnet: Run, copy: Path, images: Path, tmp_path: Path) -> None:
    """On a folder of any images; those that judge are left out of them."""
    loose = tmp_path / "loose"
    loose.mkdir()
    more = make_folder(tmp_path / "more", 8, seed=3)
    for number, file in enumerate([*images.rglob("*.*g"), *more.rglob("*.*g")]):
        shutil.copy(file, loose / f"{number}{file.suffix}")
    (loose / "broken.jpg").write_bytes(b"no image")
    before = trained_images_of(Bundle.load(copy))
    result = fleetnet(
        "quantize", copy, "--images", images, *QUICK, "--train", loose, "--epochs", "1"
    )
    assert result.code == 0, result
    assert (
        f"any image below {loose}, which is no labelled data: {loose} has images but no class"
        in (result.err)
    )
    assert "fine-tuning on 41 images of unlabelled images" in result.err
    assert "1 image could not be read and was left out: " in result.err
    assert "fine-tuning: epoch 1 of 1, loss" in result.err
    artifact = Bundle.load(copy).find(format="onnx", precision="int8")
    assert artifact
    assert artifact.quantization
    assert artifact.quantization.tool.endswith(", fine-tuned for 1 epoch of 40 images")
    assert fleetnet("verify", copy, "--images", images).code == 0
    # The bundle remembers what it learnt from, so that evaluation leaves it out.
    known = trained_images_of(Bundle.load(copy))
    learnt = [content_of(file.read_bytes()) for file in loose.iterdir()]
    assert len(np.intersect1d(known, np.array(learnt, np.uint64))) == 40
    assert set(before.tolist()) <= set(known.tolist())


def test_images_to_fine_tune_on_of_which_none_can_be_read_are_refused(
    fleetnet: Run, copy: Path, images: Path, tmp_path: Path
) -> None:
    train = tmp_path / "train"
    for number in range(24):
        file = train / f"class{number % 2}" / f"{number}.jpg"
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(b"no image")
    before = {entry.name: entry.read_bytes() for entry in copy.iterdir()}
    result = fleetnet("quantize", copy, "--images", images, *QUICK, "--train", train)
    assert result.code == 2, result
    line = result.err.strip().splitlines()[-1]
    assert line.startswith("error: no image of folder train could be read to fine-tune on; the fi")
    assert "Traceback" not in result.err
    assert {entry.name: entry.read_bytes() for entry in copy.iterdir()} == before


def test_an_interrupted_fine_tuning_writes_nothing(
    fleetnet: Run, copy: Path, images: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As Ctrl-C in the middle of it does."""

    def interrupted(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(run, "_checked", interrupted)
    before = {entry.name: entry.read_bytes() for entry in copy.iterdir()}
    train = make_folder(tmp_path / "more", 8, seed=3)
    result = fleetnet("quantize", copy, "--images", images, *QUICK, "--train", train)
    assert result.code == 130
    assert {entry.name: entry.read_bytes() for entry in copy.iterdir()} == before
