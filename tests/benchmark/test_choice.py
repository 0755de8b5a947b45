"""Budgets, the networks within them, and the front that none beats."""

import json
import re

import numpy as np
import pytest

from conftest import Run
from fleetnet.benchmark.choice import Budget, amount, candidates, choices, pareto
from fleetnet.benchmark.measured import (
    Measurement,
    measured_file,
    read_measured,
    write_measured,
)
from fleetnet.cache import CACHE_VARIABLE
from fleetnet.errors import FleetnetError
from fleetnet.models.registry import published
from made_up_results import MACHINE


@pytest.fixture(autouse=True)
def cache(monkeypatch: pytest.MonkeyPatch, tmp_path: object) -> None:
    monkeypatch.setenv(CACHE_VARIABLE, str(tmp_path))


def measurement(model: str, ms: float, threads: int = 1, precision: str = "fp32") -> Measurement:
    return Measurement(model, 224, "openvino", precision, threads, ms / 1e3, 10**7, 10**8, 10**6)


def test_every_name_with_a_published_accuracy_is_a_candidate() -> None:
    found = {one.name: one for one in candidates()}
    assert set(published()["models"]) <= set(found)
    assert found["MobileNetV2_ssld"].model == found["MobileNetV2"].model == "MobileNetV2"
    assert found["MobileNetV2_ssld"].top1 > found["MobileNetV2"].top1
    # The accuracy of a set is that of the images it was measured with.
    assert found["EfficientNet_Lite4"].size == 380
    assert "lcnet_050" not in found


@pytest.mark.parametrize(
    ("text", "kind", "number"),
    [
        ("5ms", "latency", 0.005),
        ("0.5 s", "latency", 0.5),
        ("800us", "latency", 0.0008),
        ("5MB", "size", 5e6),
        ("100M", "macs", 1e8),
        ("1.5g", "macs", 1.5e9),
    ],
)
def test_amounts(text: str, kind: str, number: float) -> None:
    assert amount(text, kind) == pytest.approx(number)


@pytest.mark.parametrize(
    ("text", "kind"),
    [("5", "latency"), ("5MB", "latency"), ("-5ms", "latency"), ("0ms", "latency"), ("", "size"),
     ("nanms", "latency"), ("1e3M", "macs"), ("5 5ms", "latency")],
)  # fmt: skip
def test_what_is_no_amount_is_refused(text: str, kind: str) -> None:
    with pytest.raises(FleetnetError, match=f"is no {kind}: a number and a unit"):
        amount(text, kind)


def test_the_most_accurate_within_the_budget_comes_first() -> None:
    figures = [
        measurement("MobileNetV2", 8),
        measurement("MobileNetV2", 4, threads=2),
        measurement("MobileNetV2_x0_5", 2),
        measurement("ReXNet_1_0", 9),
        measurement("ReXNet_1_0", 3, precision="bf16"),
    ]
    found = choices(figures, Budget(latency=0.005))
    assert [one.candidate.name for one in found] == [
        "MobileNetV2_ssld",
        "MobileNetV2",
        "MobileNetV2_x0_5",
    ]
    assert found[0].measurement.threads == 2
    (bf16,) = choices(figures, Budget(latency=0.005), "bf16")
    assert bf16.candidate.name == "ReXNet_1_0"
    assert not choices(figures, Budget(latency=0.005, macs=1e7))
    assert not choices(figures, Budget(size=1e6))


def test_the_front_is_what_no_other_point_beats() -> None:
    numbers = np.random.default_rng(0).integers(0, 9, (60, 2))
    points = [(int(x), int(y)) for x, y in numbers]
    front = pareto(points, lambda one: one[0], lambda one: one[1])
    beaten = {
        one
        for one in points
        for other in points
        if other != one and other[0] <= one[0] and other[1] >= one[1]
    }
    assert front == sorted(set(points) - beaten)


def test_figures_are_those_of_this_machine_and_these_versions() -> None:
    assert read_measured(MACHINE) == ()
    figures = (measurement("MobileNetV2", 8), measurement("ReXNet_1_0", 9))
    write_measured(MACHINE, figures)
    assert read_measured(MACHINE) == read_measured() == figures
    path = measured_file()
    content = json.loads(path.read_text())
    content["conditions"]["processor"] = "another"
    path.write_text(json.dumps(content))
    assert read_measured(MACHINE) == ()


@pytest.mark.parametrize(
    "text",
    ["", "[]", "{}", '{"conditions": 1, "figures": [{"model": 3}]}', "[" * 100_000,
     '{"figures": [{"model": "a", "size": "x", "engine": "o", "precision": "f", "threads": 1,'
     ' "p50": 1, "bytes": 1, "macs": 1, "parameters": 1}]}',
     '{"figures": [{"model": "a", "size": 1, "engine": "o", "precision": "f", "threads": 1,'
     ' "p50": Infinity, "bytes": 1, "macs": 1, "parameters": 1}]}'],
)  # fmt: skip
def test_a_damaged_file_is_named(text: str) -> None:
    measured_file().parent.mkdir()
    measured_file().write_text(text)
    with pytest.raises(FleetnetError, match=r"measured\.json is damaged: remove it"):
        read_measured()


def test_a_part_of_the_networks_is_said_to_be_one(
    fleetnet: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("fleetnet.benchmark.machine.this_machine", lambda _: MACHINE)
    write_measured(MACHINE, (measurement("MobileNetV2", 8), measurement("ReXNet_1_0", 9)))
    result = fleetnet("models", "--best", "--latency", "1s")
    assert result.code == 0, result
    assert re.search(r"warning: 2 of \d\d networks were measured here", result.err), result.err


def test_the_accuracy_beside_fewer_bits_is_said_to_be_that_of_fp32(
    fleetnet: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("fleetnet.benchmark.machine.this_machine", lambda _: MACHINE)
    in_both = [measurement("MobileNetV2", 8), measurement("MobileNetV2", 4, precision="bf16")]
    write_measured(MACHINE, tuple(in_both))
    command = ("models", "--best", "--latency", "1s")
    result = fleetnet(*command, "--precision", "bf16")
    assert result.code == 0, result
    assert "4.00" in result.out
    assert "top-1 is that of fp32, as published: what bf16 loses of it is not" in result.out
    values = json.loads(fleetnet(*command, "--precision", "bf16", "--json").out)
    assert {(one["precision"], one["top1_precision"]) for one in values} == {("bf16", "fp32")}
    assert "that of fp32" not in fleetnet(*command).out


def test_the_command_says_what_is_missing(fleetnet: Run) -> None:
    fleetnet("models", "--best").assert_one_line("--best needs a budget")
    fleetnet("models", "--latency", "5ms").assert_one_line("give --best too")
    fleetnet("models", "--best", "--latency", "5").assert_one_line("--latency 5 is no latency")
    fleetnet("models", "--output", "a.png").assert_one_line("give --plot too")
    fleetnet("models", "--plot", "--best", "--macs", "1M").assert_one_line("leave --best out")
    fleetnet("models", "--best", "--latency", "5ms").assert_one_line("fleetnet bench --all")
    fleetnet("bench", "--all", "MobileNetV2").assert_one_line("--all measures everything")
