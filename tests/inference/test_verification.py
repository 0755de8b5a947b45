"""Verifying a bundle here: which engines were compared, and why the others were not."""

import json
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from conftest import Run
from fleetnet.bundle import Bundle
from fleetnet.export.verification_failure import failure_of
from fleetnet.inference.comparison import Comparison
from fleetnet.inference.engines import CPU, ENGINES, EngineKind, Pixels
from fleetnet.inference.left_out_engines import LeftOutEngine
from fleetnet.inference.verification import Report, verify_here


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


def test_too_little_agreement_in_int8_is_a_failure(bundle: Bundle, pixels: Pixels) -> None:
    poor = found("openvino", precision="int8", agreement=0.5)
    error = failure_of(bundle, Report((), ((poor, 0.99),), True, 1e-4), pixels)
    assert "openvino in int8 gives the trained network's answer on 50.00% of 200 images" in str(
        error
    )
    assert "use precision='fp32' here" in str(error)


def test_a_left_out_engine_is_a_sentence() -> None:
    assert str(LeftOutEngine("x", "broken", "cannot be loaded: y")) == "x cannot be loaded: y"
