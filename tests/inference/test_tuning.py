import json
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

import numpy as np
import pytest

from fleetnet.bundle import Bundle
from fleetnet.errors import FleetnetError
from fleetnet.inference import candidates, engines, tuning_cache
from fleetnet.inference.candidates import Candidate
from fleetnet.inference.engines import Engine, Logits, Mode, Pixels, Precision
from fleetnet.inference.trials import MIN_IMAGES
from fleetnet.inference.tuning import Tuning, tune
from fleetnet.inference.verify import prepare

Speeds = dict[tuple[str, Precision, str], float]
"""Seconds an image, by engine, precision and device."""
SPEEDS: Speeds = {
    ("openvino", "fp32", "cpu"): 0.004,
    ("openvino", "bf16", "cpu"): 0.002,
    ("onnxruntime", "fp32", "cpu"): 0.006,
}
GPU: Speeds = {
    **SPEEDS,
    ("openvino", "fp32", "gpu"): 0.003,
    ("openvino", "fp16", "gpu"): 0.001,
}


class Clock:
    """Time that passes only when a made-up engine computes."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


class MadeUp(Engine):
    """An engine that takes a known time for an image and is wrong by a known amount."""

    version = "1"

    def __init__(
        self, candidate: Candidate, clock: Clock, seconds: float, wrong: Callable[[Logits], Logits]
    ) -> None:
        self.name = candidate.engine
        self.precision = candidate.precision
        self.threads = candidate.threads
        self.device = candidate.device
        self.closed = 0
        self._clock, self._seconds, self._wrong = clock, seconds, wrong

    def run(self, pixels: Pixels) -> Logits:
        self._clock.now += self._seconds * len(pixels)
        brightness = pixels.mean((1, 2, 3))
        logits = np.stack([brightness, 255 - brightness, brightness * 0], axis=1) / 60
        return self._wrong(logits.astype(np.float32))

    def run_all(self, batches: Iterable[Pixels]) -> Iterator[Logits]:
        yield from map(self.run, batches)

    def close(self) -> None:
        self.closed += 1


@pytest.fixture(autouse=True)
def offered(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("FLEETNET_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(candidates, "installed_engines", lambda: ["openvino", "onnxruntime"])
    monkeypatch.setattr(candidates, "available_threads", lambda: 2)
    offer(monkeypatch, SPEEDS)


def offer(monkeypatch: pytest.MonkeyPatch, speeds: Speeds) -> None:
    """Have engines offer what there are speeds of."""

    def devices(name: str) -> tuple[str, ...]:
        return tuple(dict.fromkeys(device for engine, _, device in speeds if engine == name))

    def precisions(name: str, _: Bundle, device: str) -> list[Precision]:
        return [p for engine, p, there in speeds if (engine, there) == (name, device)]

    monkeypatch.setattr(candidates, "devices", devices)
    monkeypatch.setattr(engines, "devices", devices)
    monkeypatch.setattr(candidates, "precisions", precisions)


def pixels(count: int = 64) -> Pixels:
    rng = np.random.default_rng(0)
    flat = rng.permutation(256)[:count].astype(np.uint8)
    return np.tile(flat[:, None, None, None], (1, 8, 8, 3))


def run(
    bundle: Bundle,
    *,
    mode: Mode = "latency",
    images: int = 64,
    wrong: Callable[[Candidate, Logits], Logits] = lambda _, logits: logits,
    speeds: Speeds = SPEEDS,
    on: list[str] | None = None,
) -> Tuning:
    clock = Clock()
    opened: list[MadeUp] = []

    def opener(_: Bundle, candidate: Candidate, __: Mode) -> Engine:
        key = candidate.engine, candidate.precision, candidate.device
        if key not in speeds:
            raise FleetnetError(f"{candidate.device} is broken")
        opened.append(
            MadeUp(candidate, clock, speeds[key], lambda logits: wrong(candidate, logits))
        )
        return opened[-1]

    tuning = tune(bundle, pixels(images), mode, on=on, opener=opener, clock=clock)
    assert opened
    assert all(engine.closed == 1 for engine in opened)
    return tuning


def test_the_fastest_that_agrees_is_chosen(bundle: Bundle) -> None:
    tuning = run(bundle)
    assert tuning.best.candidate == Candidate("openvino", "bf16", 1)
    assert tuning.best.median == pytest.approx(2.0)
    assert [trial.candidate.engine for trial in tuning.trials] == ["openvino"] * 4 + [
        "onnxruntime"
    ] * 2
    assert {trial.candidate.threads for trial in tuning.trials} == {1, 2}


def test_every_device_is_measured(bundle: Bundle, monkeypatch: pytest.MonkeyPatch) -> None:
    offer(monkeypatch, GPU)
    tuning = run(bundle, speeds=GPU)
    best = tuning.best.candidate
    assert (best.engine, best.precision, best.device) == ("openvino", "fp16", "gpu")
    assert str(best) == "openvino fp16 on gpu, 2 threads"
    tried = [trial.candidate for trial in tuning.trials]
    assert {(c.engine, c.precision, c.device) for c in tried} == set(GPU)
    # The processor's threads make a difference to the processor's answers only.
    assert [c.threads for c in tried if c.device == "gpu"] == [2, 2]

    tuning = run(bundle, speeds=GPU, on=["GPU"])
    assert {trial.candidate.device for trial in tuning.trials} == {"gpu"}
    with pytest.raises(FleetnetError, match=r"openvino finds no device 'npu'.*choose cpu or gpu"):
        run(bundle, speeds=GPU, on=["npu"])


def test_a_device_that_is_broken_or_answers_otherwise_is_out(
    bundle: Bundle, monkeypatch: pytest.MonkeyPatch
) -> None:
    offer(monkeypatch, GPU)
    tuning = run(bundle, speeds=GPU, wrong=lambda c, z: z * (0.9 if c.device == "gpu" else 1))
    assert tuning.best.candidate == Candidate("openvino", "bf16", 1)
    assert {trial.candidate.device for trial in tuning.trials if trial.reason} == {"gpu"}
    broken = run(bundle)
    reasons = {t.reason for t in broken.trials if t.candidate.device == "gpu"}
    assert reasons == {"fails: gpu is broken"}
    assert broken.best.candidate == Candidate("openvino", "bf16", 1)


def test_a_choice_is_remembered_for_as_long_as_its_device_is_there(
    bundle: Bundle, monkeypatch: pytest.MonkeyPatch
) -> None:
    offer(monkeypatch, GPU)
    choice = tuning_cache.save_tuned(bundle, run(bundle, speeds=GPU))
    assert choice.device == "gpu"
    assert str(choice).startswith("openvino fp16 on gpu, 2 threads: ")
    assert tuning_cache.load_tuned(bundle, "latency") == choice
    offer(monkeypatch, SPEEDS)
    assert tuning_cache.load_tuned(bundle, "latency") is None


def test_a_choice_saved_before_devices_existed_is_for_the_processor(
    bundle: Bundle, tmp_path: Path
) -> None:
    choice = tuning_cache.save_tuned(bundle, run(bundle))
    (file,) = (tmp_path / "cache" / "tuning").iterdir()
    values = json.loads(file.read_text())
    del values["device"]
    file.write_text(json.dumps(values))
    assert tuning_cache.load_tuned(bundle, "latency") == choice


def test_speed_does_not_outweigh_other_answers(bundle: Bundle) -> None:
    def swapped(candidate: Candidate, logits: Logits) -> Logits:
        # The darkest image of 64 gets another class: 98.4 %.
        if candidate.precision == "bf16":
            logits[logits[:, 0] <= pixels(64).min() / 60] = [0, 0, 9]
        return logits

    tuning = run(bundle, wrong=swapped)
    assert tuning.best.candidate == Candidate("openvino", "fp32", 1)
    out = [trial for trial in tuning.trials if trial.reason]
    assert {trial.candidate.precision for trial in out} == {"bf16"}
    assert "98.4%" in out[0].reason
    assert out[0].milliseconds, "what is out is timed all the same, for the table"

    off = run(bundle, wrong=lambda c, z: z * (0.9 if c.precision == "bf16" else 1))
    assert off.best.candidate.precision == "fp32"
    assert "probabilities off by" in off.trials[-1].reason


def test_answers_that_are_no_numbers_are_out(bundle: Bundle) -> None:
    tuning = run(bundle, wrong=lambda c, z: z * (np.nan if c.precision == "bf16" else 1))
    assert tuning.best.candidate.precision == "fp32"
    assert tuning.trials[-1].reason


def test_few_images_leave_lower_precisions_out(bundle: Bundle) -> None:
    tuning = run(bundle, images=MIN_IMAGES - 1)
    assert tuning.best.candidate.precision == "fp32"
    assert "31 images are too few" in tuning.trials[-1].reason


def test_throughput_tries_batches_with_all_threads(bundle: Bundle) -> None:
    tuning = run(bundle, mode="throughput")
    tried = {(trial.candidate.threads, trial.candidate.batch) for trial in tuning.trials}
    assert tried == {(2, 1), (2, 4), (2, 8)}


def test_an_engine_that_fails_is_a_row_and_not_the_end(bundle: Bundle) -> None:
    def broken(candidate: Candidate, logits: Logits) -> Logits:
        if candidate.engine == "onnxruntime":
            raise RuntimeError("no such\ninstruction")
        return logits

    tuning = run(bundle, wrong=broken)
    assert tuning.best.candidate.engine == "openvino"
    assert tuning.trials[-1].reason == "fails: no such instruction"

    def all_broken(_: Candidate, __: Logits) -> Logits:
        raise RuntimeError("nothing works")

    with pytest.raises(FleetnetError, match="no engine computes this bundle in fp32"):
        run(bundle, wrong=all_broken)


def test_a_candidate_that_is_far_too_slow_is_not_compared(bundle: Bundle) -> None:
    tuning = run(bundle, speeds={**SPEEDS, ("onnxruntime", "fp32", "cpu"): 0.1})
    slow = [trial for trial in tuning.trials if trial.candidate.engine == "onnxruntime"]
    assert all("slower in its first runs" in trial.reason for trial in slow)
    assert not any(trial.milliseconds or trial.agreement for trial in slow)


def test_a_choice_is_remembered_for_its_bundle_machine_and_mode(
    bundle: Bundle, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    assert tuning_cache.load_tuned(bundle, "latency") is None
    choice = tuning_cache.save_tuned(bundle, run(bundle))
    assert choice.precision == "bf16"
    assert "next best: openvino bf16, 2 threads" in str(choice)
    assert tuning_cache.load_tuned(bundle, "latency") == choice
    assert tuning_cache.load_tuned(bundle, "throughput") is None
    assert tuning_cache.load_tuned(bundle, "latency", threads=1) is None
    lone = Bundle.load(bundle.file(format="onnx"))
    assert tuning_cache.load_tuned(lone, "latency") is None
    with monkeypatch.context() as elsewhere:
        elsewhere.setattr(tuning_cache, "machine", lambda: "another processor")
        assert tuning_cache.load_tuned(bundle, "latency") is None
    with monkeypatch.context() as gone:
        gone.setattr(tuning_cache, "installed_engines", lambda: ["onnxruntime"])
        assert tuning_cache.load_tuned(bundle, "latency") is None


@pytest.mark.parametrize(
    "content",
    ["", "[]", "{", '{"engine": "openvino"}', json.dumps({"engine": "rm -rf", "threads": -1})],
)
def test_a_damaged_saved_choice_is_ignored(bundle: Bundle, tmp_path: Path, content: str) -> None:
    tuning_cache.save_tuned(bundle, run(bundle))
    (file,) = (tmp_path / "cache" / "tuning").iterdir()
    file.write_text(content)
    assert tuning_cache.load_tuned(bundle, "latency") is None


def test_a_choice_by_few_images_is_not_remembered(bundle: Bundle, tmp_path: Path) -> None:
    tuning_cache.save_tuned(bundle, run(bundle, images=5))
    assert not (tmp_path / "cache").exists()


def test_a_cache_that_cannot_be_written_to_is_no_failure(
    bundle: Bundle, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("FLEETNET_CACHE", str(tmp_path / "file"))
    assert tuning_cache.save_tuned(bundle, run(bundle)).engine == "openvino"


@pytest.mark.slow
def test_real_engines_are_measured(
    bundle: Bundle, shapes: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.undo()
    images = prepare(sorted(shapes.glob("*/*.png"))[:8], bundle.manifest.preprocess)
    doing: list[str] = []
    tuning = tune(bundle, images, "throughput", engines=["openvino"], budget=0, say=doing.append)
    assert tuning.best.candidate.engine == "openvino"
    assert tuning.best.median > 0
    assert doing[0] == "trying openvino fp32, 1 thread" or doing[0].startswith("trying openvino")
