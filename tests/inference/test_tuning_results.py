"""Tuning for one mode or several, and what comes of it as JSON."""

import contextlib
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

from fleetnet.bundle import Bundle
from fleetnet.errors import FleetnetError
from fleetnet.inference import tuning_results
from fleetnet.inference.agreement import Agreement
from fleetnet.inference.candidates import Candidate
from fleetnet.inference.engines import Mode
from fleetnet.inference.trials import Trial
from fleetnet.inference.tuning import Tuning
from fleetnet.inference.tuning_cache import load_tuned
from fleetnet.inference.tuning_results import BOTH, modes_of, tune_modes
from fleetnet.reporting import Say

FAST = Trial(
    Candidate("openvino", "bf16", 1), (1.0, 2.0, 3.0, 4.0, 5.0), Agreement(40, 1.0, 0.001, 0.002)
)
OUT = Trial(Candidate("onnxruntime", "fp32", 2, 4, "gpu"), reason="fails: no driver")


def test_a_word_names_a_mode_or_both() -> None:
    assert modes_of(BOTH) == ("latency", "throughput")
    assert modes_of("throughput") == ("throughput",)
    with pytest.raises(FleetnetError, match=r"unknown mode 'late', did you mean 'latency'.*both"):
        modes_of("late")


def test_a_trial_is_json_with_none_where_nothing_was_measured() -> None:
    fast = FAST.to_json()
    assert (fast["engine"], fast["precision"], fast["device"]) == ("openvino", "bf16", "cpu")
    assert fast["milliseconds"] == 3.0
    assert fast["quartiles"] == [2.0, 4.0]
    assert fast["agreement"] == vars(FAST.agreement)
    assert fast["out"] is None
    assert OUT.to_json() == {
        "engine": "onnxruntime", "precision": "fp32", "threads": 2, "batch": 4, "device": "gpu",
        "milliseconds": None, "quartiles": None, "agreement": None, "judgement": None,
        "out": "fails: no driver",
    }  # fmt: skip


def test_each_mode_is_tuned_and_remembered(bundle: Bundle, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[dict[str, Any]] = []
    shown: list[str] = []

    def tune(_: Bundle, pixels: Any, mode: Mode, *, say: Say, **options: Any) -> Tuning:
        asked.append(options)
        say("trying")
        return Tuning(mode, len(pixels), (FAST, OUT))

    @contextlib.contextmanager
    def showing(mode: Mode) -> Iterator[Say]:
        yield lambda line: shown.append(f"{mode}: {line}")

    monkeypatch.setattr(tuning_results, "tune", tune)
    pixels = np.zeros((40, 8, 8, 3), np.uint8)
    results = tune_modes(bundle, pixels, modes_of(BOTH), threads=3, budget=0.5, showing=showing)
    assert shown == ["latency: trying", "throughput: trying"]
    assert asked[0] == {"engines": None, "on": None, "threads": 3, "budget": 0.5, "judge": None}
    assert load_tuned(bundle, "latency", 3) == results.choices[0]
    values = results.to_json()
    assert values["bundle"] == str(bundle.path)
    assert values["images"] == 40
    assert list(values["modes"]) == ["latency", "throughput"]
    assert values["modes"]["latency"]["choice"]["engine"] == "openvino"
    assert [trial["out"] for trial in values["modes"]["latency"]["trials"]] == [
        None,
        "fails: no driver",
    ]
