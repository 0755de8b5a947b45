from pathlib import Path

import pytest
import torch

from fleetnet.benchmark import measure
from fleetnet.benchmark import run as running
from fleetnet.benchmark.measure import Limits
from fleetnet.benchmark.networks import find_subjects
from fleetnet.benchmark.plan import Cell, Plan
from fleetnet.benchmark.run import Product, run_benchmark
from fleetnet.bundle import Bundle, self_test_pixels
from fleetnet.inference.engines import open_engine
from fleetnet.inference.engines.openvino import OpenVinoGraph

LIMITS = Limits(0.01, rounds=2, most_rounds=2, spell=0.001, warm_up=0.001)


@pytest.fixture(autouse=True)
def small_products(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(running, "SIDES", (64,))
    monkeypatch.setattr(running, "numpy_peak", lambda threads: 1e18 if threads == 2 else None)


@pytest.mark.slow
def test_from_networks_to_results(bundle: Bundle) -> None:
    plan = Plan(("openvino", "torch"), ("fp32",), (1, 2), (1, 3), LIMITS, 0)
    stages: list[str] = []
    results = run_benchmark(
        find_subjects([str(bundle.path)]), plan, stage=lambda what, *_: stages.append(what)
    )
    assert len(results.timings) == 8
    assert results.missing == {}
    assert results.processes == {}
    assert all(timing.rounds == 2 for timing in results.timings.values())
    assert results.peaks["fp32", 1].measured_by == "OpenVINO, 64×64"
    assert results.peaks["fp32", 2].measured_by == "NumPy"
    assert {"compiling", "timing, seconds"} < set(stages)
    assert results.networks[0].published == {}  # trained on other classes
    assert results.to_json()["latency"][0]["rounds"] == 2


@pytest.mark.slow
def test_nothing_compiles_while_it_is_timed(
    bundle: Bundle, monkeypatch: pytest.MonkeyPatch
) -> None:
    events: list[str] = []
    compile_one = OpenVinoGraph._compile

    def compile_and_tell(self: OpenVinoGraph, batch: int) -> object:
        events.append("compile")
        return compile_one(self, batch)

    monkeypatch.setattr(OpenVinoGraph, "_compile", compile_and_tell)

    def time_and_tell(*arguments: object, **options: object) -> object:
        events.append("time")
        return measure.time_in_turns(*arguments, **options)  # type: ignore[arg-type]

    monkeypatch.setattr(running, "time_in_turns", time_and_tell)
    plan = Plan(("openvino",), ("fp32",), (1,), (1, 2, 3, 4), LIMITS, 0)
    run_benchmark(find_subjects([str(bundle.path)]), plan)
    assert events == ["compile"] * 4 + ["time"]


@pytest.mark.slow
def test_a_precision_that_is_not_there_is_an_empty_cell(bundle: Bundle) -> None:
    plan = Plan(("openvino", "onnxruntime"), ("fp32", "int8"), (1,), (1,), LIMITS, 1)
    said: list[str] = []
    (subject,) = find_subjects([str(bundle.path)])
    results = run_benchmark([subject], plan, warn=said.append)
    assert set(results.missing) == {
        Cell(subject.name, engine, "int8", 1, 1) for engine in plan.engines
    }
    assert len(results.timings) == 2
    assert len(results.processes) == 2
    assert sorted(line.partition(":")[0] for line in said) == ["1 figure is missing"] * 2
    assert "fleetnet quantize" in said[0]


@pytest.mark.slow
def test_processes_that_fail_are_reported_once(
    bundle: Bundle, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(running, "predict_command", lambda *_: ["/no-such-program"])
    plan = Plan(("openvino", "torch"), ("fp32",), (1,), (1,), LIMITS, 2)
    said: list[str] = []
    results = run_benchmark(find_subjects([str(bundle.path)]), plan, warn=said.append)
    assert len(results.timings) == 2
    (line,) = said
    assert line.startswith("start-up and memory of 2 settings are missing: the process ended")
    assert len(line.splitlines()) == 1


@pytest.mark.slow
def test_with_little_memory_networks_are_measured_in_groups(
    bundle: Bundle, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "other.bundle").symlink_to(bundle.path)
    subjects = find_subjects([str(bundle.path), str(tmp_path / "other.bundle")])
    monkeypatch.setattr(running, "available_memory", lambda: 0)
    plan = Plan(("openvino",), ("fp32",), (1,), (1,), LIMITS, 0)
    stages: dict[str, None] = {}
    results = run_benchmark(subjects, plan, stage=lambda what, *_: stages.setdefault(what))
    assert len(results.timings) == 2
    assert [what for what in stages if what.startswith("compiling")] == [
        "compiling, part 1 of 2",
        "compiling, part 2 of 2",
    ]
    assert isinstance(Product("fp32", 1, 64), tuple)


def test_opening_an_engine_leaves_the_callers_pytorch_as_it_is(bundle: Bundle) -> None:
    before = torch.get_num_threads()
    with open_engine("torch", bundle, before + 1) as engine:
        assert engine.threads == before + 1
        assert torch.get_num_threads() == before


@pytest.mark.slow
def test_engines_of_pytorch_keep_their_threads_apart(bundle: Bundle) -> None:
    """The number is the whole process's, and the engine opened last would set it for all."""
    before = torch.get_num_threads()
    pixels = self_test_pixels(1, 64)
    try:
        engines = [open_engine("torch", bundle, threads) for threads in (1, 2)]
        for engine in (*engines, *engines):
            engine.run(pixels)
            assert torch.get_num_threads() == engine.threads
    finally:
        torch.set_num_threads(before)
