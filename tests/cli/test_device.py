"""``--device``: of every verb that computes, with the processor, which every machine has."""

import json
from pathlib import Path
from typing import Any

import pytest

from conftest import Run
from fleetnet.bundle import Bundle


@pytest.fixture
def image(shapes: Path) -> Path:
    return shapes / "circle" / "000.jpg"


def test_naming_the_default_changes_nothing(fleetnet: Run, bundle: Bundle, image: Path) -> None:
    for engine in ("openvino", "onnxruntime", "torch"):
        unasked = fleetnet("predict", bundle.path, image, "--json", "--engine", engine)
        named = fleetnet(
            "predict", bundle.path, image, "--json", "--engine", engine, "--device", "CPU"
        )
        assert (named.code, named.out) == (0, unasked.out)


@pytest.mark.parametrize(
    "command",
    [
        ("predict", "{bundle}", "{image}"),
        ("evaluate", "{bundle}", "{shapes}"),
        ("evaluate", "{checkpoint}", "{shapes}"),
        ("verify", "{bundle}", "--images", "{shapes}"),
        ("tune", "{bundle}", "--images", "{shapes}", "--engine", "openvino"),
        ("bench", "{bundle}", "--quick"),
    ],
)
def test_a_device_that_is_not_there_is_one_line(
    fleetnet: Run,
    bundle: Bundle,
    checkpoint: Path,
    shapes: Path,
    image: Path,
    command: tuple[str, ...],
) -> None:
    places = {"bundle": bundle.path, "checkpoint": checkpoint, "shapes": shapes, "image": image}
    for device in ("tpu:7", ""):
        result = fleetnet(*(word.format(**places) for word in command), "--device", device)
        result.err = result.err.strip().splitlines()[-1]
        result.assert_one_line(f"finds no device '{device}' on this machine: choose cpu")


def test_auto_chooses_the_device_itself(fleetnet: Run, bundle: Bundle, image: Path) -> None:
    result = fleetnet("predict", bundle.path, image, "--engine", "auto", "--device", "cpu")
    result.assert_one_line("--engine auto chooses the device: leave --device out")


@pytest.mark.slow
def test_json_that_names_an_engine_names_its_device(
    fleetnet: Run, bundle: Bundle, shapes: Path
) -> None:
    def values(*command: str | Path) -> Any:
        result = fleetnet(*command, "--device", "cpu", "--json")
        assert result.code == 0, result
        return json.loads(result.out)

    verified = values("verify", bundle.path, "--images", shapes, "--limit", "4")
    assert {engine["device"] for engine in verified["engines"]} == {"cpu"}
    tuned = values("tune", bundle.path, "--images", shapes, "--mode", "latency", "--seconds", "0",
                   "--engine", "openvino", "--threads", "1")["modes"]["latency"]  # fmt: skip
    assert tuned["choice"]["device"] == "cpu"
    assert {trial["device"] for trial in tuned["trials"]} == {"cpu"}
    benched = values("bench", bundle.path, "--quick", "--budget", "0.1", "--precision", "fp32")
    assert benched["plan"]["device"] == "cpu"
    assert {cell["device"] for cell in benched["latency"] + benched["processes"]} == {"cpu"}


def test_a_bundle_records_what_it_was_verified_on(bundle: Bundle) -> None:
    records = bundle.artifacts[0].verification
    assert [(record.engine, record.device) for record in records] == [
        ("onnxruntime", "cpu"),
        ("openvino", "cpu"),
    ]
