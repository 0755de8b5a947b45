"""Verifying a bundle here: which engines were compared, and why the others were not."""

import json
import shutil
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from PIL import Image

from conftest import Run
from fleetnet.bundle import MANIFEST, Bundle, Calibration, Judgement
from fleetnet.export.verification_failure import failure_of
from fleetnet.inference.comparison import Comparison
from fleetnet.inference.engines import (
    CPU,
    ENGINES,
    Engine,
    EngineKind,
    Logits,
    Pixels,
    Precision,
    Setup,
    Takes,
)
from fleetnet.inference.engines.torch import TorchEngine, load_network
from fleetnet.inference.judging import Verdict, sentence
from fleetnet.inference.left_out_engines import LeftOutEngine
from fleetnet.inference.verification import Report, verify_here
from made_up_int8 import JUDGEMENT, cell_of, times, with_int8


@pytest.fixture
def pixels(bundle: Bundle) -> Pixels:
    crop = bundle.manifest.preprocess.crop
    return np.random.default_rng(0).integers(0, 256, (4, crop, crop, 3), dtype=np.uint8)


@pytest.fixture
def kinds(monkeypatch: pytest.MonkeyPatch) -> dict[str, EngineKind]:
    """Return the known engines, to be changed until the test ends."""
    known = dict(ENGINES)
    monkeypatch.setattr(ENGINES, "_found", known)
    monkeypatch.setattr(ENGINES, "_broken", {})
    return known


def reasons(report: Report) -> dict[str, tuple[str, str]]:
    return {one.engine: (one.code, one.reason) for one in report.not_compared}


def test_every_known_engine_is_compared_or_said_to_be_left_out(
    bundle: Bundle, pixels: Pixels, kinds: dict[str, EngineKind]
) -> None:
    onnx = kinds["onnxruntime"]
    kinds["absent"] = replace(onnx, name="absent", needs="no_such_module", title="Absent Runtime")
    kinds["foreign"] = replace(
        onnx, name="foreign", takes={"fp32": onnx.takes["fp32"]._replace(format="foreign-format")}
    )
    ENGINES._broken["damaged"] = "No module named 'damaged'"
    report = verify_here(bundle, pixels, tolerance=1e-4)
    assert report.passed
    assert reasons(report) == {
        "torch-compiled": ("by-name", "computes only where it is named"),
        "absent": ("not-installed", "needs Absent Runtime, which is not installed"),
        "foreign": ("no-artifact", "loads foreign-format, which the bundle does not have"),
        "damaged": ("broken", "cannot be loaded: No module named 'damaged'"),
    }
    compared = {one.engine for one in report.comparisons}
    assert compared | {"torch"} | set(reasons(report)) == {*ENGINES, *ENGINES.broken}
    assert report.to_json()["not_compared"][0]["code"] == "by-name"


def test_an_engine_without_the_device_is_left_out(
    bundle: Bundle, pixels: Pixels, kinds: dict[str, EngineKind]
) -> None:
    kinds["onnxruntime"] = replace(
        kinds["onnxruntime"],
        devices=lambda: (CPU, "made-up"),
        open=lambda opened, setup: ENGINES["torch"].open(opened, replace(setup, device=CPU)),
    )
    report = verify_here(bundle, pixels, tolerance=1e-4, device="made-up")
    assert len(report.comparisons) == 1
    for name in ("openvino", "torch"):
        code, reason = reasons(report)[name]
        assert code == "no-device"
        assert reason.startswith("finds no device 'made-up' on this machine: choose cpu")


def test_the_command_says_in_one_line_what_was_not_compared(
    fleetnet: Run, bundle: Bundle, shapes: Path, kinds: dict[str, EngineKind]
) -> None:
    kinds["absent"] = replace(
        kinds["onnxruntime"], name="absent", needs="no_such_module", title="Absent Runtime"
    )
    printed = fleetnet("verify", bundle.path, "--images", shapes, "--limit", "4")
    assert printed.code == 0, printed
    (line,) = [line for line in printed.out.splitlines() if line.startswith("not compared: ")]
    assert "absent needs Absent Runtime, which is not installed" in line
    assert "torch-compiled computes only where it is named" in line
    values = json.loads(
        fleetnet("verify", bundle.path, "--images", shapes, "--limit", "4", "--json").out
    )
    assert {one["engine"]: one["code"] for one in values["not_compared"]} == {
        "torch-compiled": "by-name",
        "absent": "not-installed",
    }


def found(engine: str, **changes: object) -> Comparison:
    facts = {
        "engine": engine, "engine_version": "1", "images": 200, "max_abs_diff": 0.25,
        "top1_agreement": 0.5, "latency_ms": 1.0, "threads": 1,
    }  # fmt: skip
    return Comparison(**{**facts, **changes})  # type: ignore[arg-type]


def test_a_bundle_that_passed_has_no_failure(bundle: Bundle, pixels: Pixels) -> None:
    good = found("openvino", max_abs_diff=0.0, top1_agreement=1.0)
    assert failure_of(bundle, Report((good,), (), True, 1e-4), pixels) is None


def test_the_failure_names_the_engine_and_whether_a_layer_diverges(
    bundle: Bundle, pixels: Pixels
) -> None:
    wrong = found("onnxruntime")
    error = failure_of(bundle, Report((wrong,), (), True, 1e-4), pixels)
    assert str(error) == (
        "onnxruntime differs from the trained network by up to 0.25 (allowed: 0.0001), top-1 "
        "agrees on 50.00%, in no single layer"
    )
    assert error is not None
    assert error.code == "verification"
    without_reference = failure_of(bundle, Report((wrong,), (), False, 1e-4), pixels)
    assert str(without_reference).endswith("top-1 agrees on 50.00%")


def test_the_failure_names_the_first_layer_that_diverges(
    bundle: Bundle, pixels: Pixels, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(
        "fleetnet.export.divergence.first_divergence",
        lambda *_: SimpleNamespace(layer="blocks.3", difference=0.5),
    )
    error = failure_of(bundle, Report((found("openvino"),), (), True, 1e-4), pixels)
    assert str(error).endswith(", first in layer 'blocks.3'")


def refuted(loss: float, judged_by: str, note: str = "", **changes: object) -> Comparison:
    judgement = JUDGEMENT.model_copy(update={"loss": loss, "judged_by": judged_by, **changes})
    verdict = Verdict(judgement, passed=False, refuted=True, note=note)
    return found("openvino", precision="int8", verdict=verdict)


def test_too_little_agreement_in_int8_is_a_failure(bundle: Bundle, pixels: Pixels) -> None:
    poor = refuted(0.5, "agreement", images=200, allowed=0.01)
    error = failure_of(bundle, Report((), (poor,), True, 1e-4), pixels)
    assert str(error) == (
        "openvino in int8 gives the same answer on 50.00% of 200 images, 99.00% are wanted: use "
        "precision='fp32' here, or quantise with images like these"
    )
    assert error is not None
    assert error.fields["required_agreement"] == 0.99


def test_a_failure_by_too_few_same_answers_says_so(bundle: Bundle, pixels: Pixels) -> None:
    """However little the others cost: "0.12 lost, 0.50 allowed" alone would refute itself."""
    note = "only 80.0% of the answers are the same"
    error = failure_of(
        bundle, Report((), (refuted(0.0012, "confidence", note),), True, 1e-4), pixels
    )
    assert str(error).startswith("openvino in int8 is expected to lose 0.12 points of top-1, below")
    assert (
        "0.50 allowed, by how sure fp32 is on 40 images; only 80.0% of the answers are the same"
        in str(error)
    )
    assert error is not None
    assert error.fields["judgement"]["note"] == note


def test_answers_of_which_too_few_are_the_same_fail_with_that_reason(
    fleetnet: Run, bundle: Bundle, shapes: Path, tmp_path: Path
) -> None:
    """Of a network so unsure that no answer that changes costs anything."""
    graph = times(bundle.file(format="onnx").read_bytes(), -1)
    int8 = with_int8(bundle, tmp_path / "int8.bundle", graph)
    warm = Calibration(temperature=1e4, images=9, ece_before=0.1, ece_after=0.1, source="s")
    manifest = int8.manifest.model_copy(update={"calibration": warm})
    (int8.path / MANIFEST).write_text(manifest.to_json(), "utf-8")
    # The graphs' own probabilities know nothing of that temperature.
    result = fleetnet("verify", int8.path, "--images", shapes, "--tolerance", "1")
    assert result.code == 2
    line = result.err.strip().splitlines()[-1]
    assert "onnxruntime in int8 is expected to lose 0.0" in line
    assert "0.50 allowed, by how sure fp32 is on 36 images; only 0.0% of the answers" in line


def test_labels_that_refute_end_with_their_sentence(
    fleetnet: Run, bundle: Bundle, shapes: Path, tmp_path: Path
) -> None:
    """Labels that are what fp32 answers, and an int8 that answers otherwise."""
    graph = times(bundle.file(format="onnx").read_bytes(), -1)
    path = with_int8(bundle, tmp_path / "int8.bundle", graph).path
    squares = tmp_path / "squares"  # which the network takes every image for
    shutil.copytree(shapes / "square", squares / "square")
    for number, file in enumerate(sorted((squares / "square").iterdir())):
        with Image.open(file) as image:
            image.transpose(Image.Transpose.ROTATE_180).save(file.with_name(f"{number}.png"))
        file.unlink()
    command = ("verify", path, "--data", squares)
    result = fleetnet(*command)
    assert result.code == 2
    line = result.err.strip().splitlines()[-1]
    assert line.startswith("error: onnxruntime in int8 loses 100.00 points of top-1, below 100.00 ")
    assert line.endswith(
        "0.50 allowed, by the labels of 12 images: use --precision fp32 here, or quantise with "
        "images like these"
    )
    (int8,) = json.loads(fleetnet(*command, "--json").out)["fewer_bits"]
    assert (int8["passed"], int8["judgement"]["refuted"]) == (False, True)
    (row,) = [line for line in result.out.splitlines() if " int8 " in line]
    assert "100.00<100.00" in row.split()


@pytest.mark.parametrize("judgement", [None, JUDGEMENT])
def test_the_table_shows_what_is_lost_however_it_was_judged(
    fleetnet: Run, bundle: Bundle, shapes: Path, tmp_path: Path, judgement: Judgement | None
) -> None:
    path = with_int8(bundle, tmp_path / "int8.bundle", judgement=judgement, agreement=0.95).path
    command = ("verify", path, "--images", shapes)
    result = fleetnet(*command)
    assert result.code == 0, result
    (int8,) = json.loads(fleetnet(*command, "--json").out)["fewer_bits"]
    (row,) = [line for line in result.out.splitlines() if " int8 " in line]
    found = Judgement.model_validate(
        {key: int8["judgement"][key] for key in Judgement.model_fields}
    )
    assert cell_of(found) in row.split()
    assert f"onnxruntime in int8: {sentence(found)}" in result.err
    by = "agreement" if judgement is None else "confidence"
    assert (found.judged_by, found.images) == (by, 36)
    assert int8["required_agreement"] == (pytest.approx(0.95) if judgement is None else None)


def test_a_device_without_fp32_is_judged_by_what_is_lost(
    fleetnet: Run,
    bundle: Bundle,
    shapes: Path,
    kinds: dict[str, EngineKind],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """As an NPU is, which has fp16 alone: no probability of its is within 1e-4."""

    class Half(TorchEngine):
        def run(self, pixels: Pixels) -> Logits:
            return super().run(pixels) * np.float32(1.1)

    def opened(there: Bundle, setup: Setup) -> Engine:
        if setup.device == CPU:
            return ENGINES["torch"].open(there, setup)
        half = Half(load_network(there), there.manifest.preprocess, 1)
        half.precision, half.device = "fp16", "made-up"
        return half

    def native(device: str) -> tuple[Precision, ...]:
        return ("fp32",) if device == CPU else ("fp16",)

    takes = {**kinds["onnxruntime"].takes, "fp16": Takes("onnx")}
    kinds["onnxruntime"] = replace(
        kinds["onnxruntime"],
        takes=takes,
        devices=lambda: (CPU, "made-up"),
        native=native,
        open=opened,
    )
    command = ("verify", bundle.path, "--images", shapes, "--device", "made-up")
    result = fleetnet(*command)
    assert result.code == 0, result
    (row,) = [line for line in result.out.splitlines() if "fp16 on made-up" in line]
    report = json.loads(fleetnet(*command, "--json").out)
    assert report["engines"] == []
    (half,) = report["fewer_bits"]
    assert (half["precision"], half["device"], half["required_agreement"]) == (
        "fp16",
        "made-up",
        0.99,
    )
    assert half["max_abs_diff"] > 1e-4
    assert f"0.00<{100 * half['judgement']['high']:.2f}" in row.split()
    monkeypatch.setattr(Half, "run", lambda self, pixels: -TorchEngine.run(self, pixels))
    line = fleetnet(*command).err.strip().splitlines()[-1]
    assert "in fp16 gives the same answer on 0.00% of 36 images, 99.00% are wanted" in line
    assert line.endswith("use --precision fp32 here")


def test_a_left_out_engine_is_a_sentence() -> None:
    assert str(LeftOutEngine("x", "broken", "cannot be loaded: y")) == "x cannot be loaded: y"
