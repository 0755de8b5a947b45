"""What a quantisation says of its images and its results."""

from dataclasses import replace

import numpy as np

from fleetnet.bundle import Bundle, Quantization
from fleetnet.export.quantize.quantizer import Quantized
from fleetnet.export.quantize.report import QuantizationReport
from fleetnet.export.quantize.samples import Samples
from fleetnet.export.quantize.session import Result
from fleetnet.inference.comparison import Comparison
from fleetnet.inference.engines import Engine


def unopened(_: int) -> Engine:
    raise AssertionError("a report opens no engine")


SAMPLES = Samples(np.zeros((20, 8, 8, 3), np.uint8), np.zeros((40, 8, 8, 3), np.uint8), 0, 0)
RESULT = Result(
    quantized=Quantized("onnx", {"model.int8.onnx": b"12345"}, unopened),
    comparison=Comparison(
        "onnxruntime", "1", 40, 0.1, 0.975, 1.5, 1, precision="int8", agreement=0.975
    ),
    quantization=Quantization(
        tool="made up 1", calibration_images=20, weight_bits=7, agreement=0.9, layers=50,
        kept_layers=("stem",), kept_macs=0.1,
    ),
    bytes_before=20,
    latency_ms={"fp32": 1.0, "int8": 1.5},
    attempts=2,
)  # fmt: skip


def test_good_samples_leave_no_doubt() -> None:
    assert SAMPLES.summary == "20 calibration images, 40 validation images"
    assert list(SAMPLES.doubts(0.9)) == []


def test_whatever_weakens_the_comparison_is_said() -> None:
    odd = replace(SAMPLES, unreadable=1, repeated=3, trained_on=5)
    assert odd.summary.endswith("; 3 repetitions left out")
    unreadable, trained_on, few = odd.doubts(0.99)
    assert unreadable == "1 image could not be read and was left out"
    assert "was trained on 5 of the 40 validation images" in trained_on
    assert "40 images cannot show that 99.00% of all agree" in few
    assert len(list(odd.doubts(1.0))) == 2


def test_the_report_is_json(bundle: Bundle) -> None:
    values = QuantizationReport(bundle, replace(SAMPLES, repeated=3), [RESULT]).to_json()
    assert {key: values[key] for key in values if key != "engines"} == {
        "bundle": str(bundle.path),
        "calibration_images": 20,
        "judging_images": 40,
        "unreadable": 0,
        "repeated": 3,
    }
    (engine,) = values["engines"]
    assert (engine["engine"], engine["precision"], engine["tool"]) == (
        "onnxruntime", "int8", "made up 1",
    )  # fmt: skip
    assert (engine["agreement"], engine["required_agreement"]) == (0.975, 0.9)
    assert engine["agreement_at_least"] == RESULT.agreement_at_least < 0.975
    assert (engine["bytes_before"], engine["bytes_after"]) == (20, 5)
    assert engine["latency_ms"] == {"fp32": 1.0, "int8": 1.5}
    assert engine["faster"] == ["fp32"]
    assert engine["attempts"] == 2
