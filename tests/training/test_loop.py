"""When a run looks at its figures, and that it makes no difference to them."""

import contextlib
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

from fleetnet.data.batches import Batch
from fleetnet.data.sources import Source, open_source
from fleetnet.errors import FleetnetError
from fleetnet.training import step_results
from fleetnet.training.callbacks import Callback, Figures
from fleetnet.training.device_copies import _through_a_stream, copied_ahead
from fleetnet.training.recipe import Recipe
from fleetnet.training.trainer import Trainer, TrainResult
from samples import SMALL_LR, TINY

SETTINGS = [
    *TINY, "input.resize=36", "input.crop=32", "batch_size=3", "precision=fp32",
    f"optimizer.lr={SMALL_LR}",
]  # fmt: skip
"""Nine steps an epoch, small enough that statistics of three images lead to no overflow."""


class Heard(Callback):
    """Remembers in which order steps were taken and figures read; spoils the weights if asked
    to."""

    def __init__(self, spoil_after: int | None = None) -> None:
        self.calls: list[str] = []
        self.spoil_after = spoil_after
        self._run: Trainer | None = None

    def on_train_start(self, run: Trainer) -> None:
        self._run = run

    def on_step(self, images: int, lr: float) -> None:
        self.calls.append("step")
        if self.calls.count("step") == self.spoil_after:
            assert self._run is not None
            with torch.no_grad():
                self._run.train_step.network.get_parameter("classifier.weight").fill_(torch.nan)

    def on_figures(self, figures: Figures) -> None:
        assert self._run is not None
        progress = self._run.progress
        assert (figures.loss, figures.top1) == (progress.loss, progress.train_top1)
        self.calls.append(f"{figures.images} read")


@pytest.fixture
def source(shapes: Path) -> Source:
    return open_source(str(shapes))


@pytest.fixture
def no_clock(monkeypatch: pytest.MonkeyPatch) -> None:
    """However slow the machine is, nobody looks because time has passed."""
    monkeypatch.setattr(step_results, "READ_SECONDS", float("inf"))


def run(source: Source, folder: Path, *settings: str, heard: Heard) -> TrainResult:
    recipe = Recipe.load(overrides=[*SETTINGS, *settings])
    return Trainer(source, "MobileNetV2_x0_25", recipe, folder).fit([heard])


@pytest.mark.slow
def test_all_figures_are_read_in_few_transfers(
    source: Source, tmp_path: Path, no_clock: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(step_results, "READ_STEPS", 4)
    heard = Heard()
    run(source, tmp_path, "epochs=2", heard=heard)
    assert heard.calls == [
        *["step"] * 4, "12 read", *["step"] * 4, "12 read", "step", "3 read",
        *["step"] * 3, "9 read", *["step"] * 4, "12 read", *["step"] * 2, "6 read",
    ]  # fmt: skip


@pytest.mark.slow
def test_it_makes_no_difference_when_figures_are_read(
    source: Source, tmp_path: Path, no_clock: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    results = []
    for steps, settings in ((1, []), (7, []), (1000, []), (1000, ["checkpoint_minutes=0"])):
        monkeypatch.setattr(step_results, "READ_STEPS", steps)
        folder = tmp_path / f"{steps}{len(settings)}"
        history = run(source, folder, "epochs=2", *settings, heard=Heard()).history
        results.append([(record.train_loss, record.train_top1, record.top1) for record in history])
    assert all(result == results[0] for result in results)


@pytest.mark.slow
def test_a_loss_that_is_no_number_is_found_at_the_next_reading(
    source: Source, tmp_path: Path, no_clock: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(step_results, "READ_STEPS", 4)
    heard = Heard(spoil_after=5)
    with pytest.raises(FleetnetError, match="the loss turned nan in epoch 1: start again"):
        run(source, tmp_path, "epochs=2", heard=heard)
    assert heard.calls == [*["step"] * 4, "12 read", *["step"] * 4]
    assert not (tmp_path / "last.ckpt").exists()


def test_figures_are_read_before_a_checkpoint_within_an_epoch(
    source: Source, tmp_path: Path, no_clock: None
) -> None:
    heard = Heard(spoil_after=2)
    with pytest.raises(FleetnetError, match="weights are no longer numbers in epoch 1"):
        run(source, tmp_path, "epochs=1", "checkpoint_minutes=0", heard=heard)
    assert heard.calls == ["step", "3 read", "step", "3 read"]
    progress = Trainer.resumed(source, tmp_path).progress
    assert (progress.step, progress.batch, progress.images) == (1, 1, 3)


def test_on_a_processor_batches_are_passed_on_as_they_come() -> None:
    batches: Iterator[Batch] = iter(())
    assert copied_ahead(batches, torch.device("cpu")) is batches


class Stream:
    """In a CUDA stream's place: notes what is asked of it."""

    def __init__(self, calls: list[str]) -> None:
        self.calls = calls

    def record_event(self) -> str:
        self.calls.append("copied")
        return f"copy {self.calls.count('copied')}"

    def wait_event(self, event: str) -> None:
        self.calls.append(f"waits for {event}")


def test_a_batch_is_copied_while_the_last_one_computes(monkeypatch: pytest.MonkeyPatch) -> None:
    """On a machine without CUDA: the order of things, and that none is forgotten."""
    calls: list[str] = []

    def pinned(tensor: torch.Tensor) -> torch.Tensor:
        calls.append("pin")
        return tensor

    monkeypatch.setattr(torch.cuda, "Stream", lambda _: Stream(calls))
    monkeypatch.setattr(torch.cuda, "current_stream", lambda _: Stream(calls))
    monkeypatch.setattr(torch.cuda, "stream", lambda _: contextlib.nullcontext())
    monkeypatch.setattr(torch.Tensor, "pin_memory", pinned)
    monkeypatch.setattr(torch.Tensor, "record_stream", lambda *_: calls.append("keep"))
    batches = [
        Batch(torch.zeros(size, 2, 2, 3), torch.zeros(size), (), torch.zeros(size))
        for size in (3, 2, 1)
    ]
    copies = _through_a_stream(iter(batches), torch.device("meta"))
    copy, arrive = ["pin", "pin", "copied"], ["keep", "keep"]
    first = next(copies)
    assert calls == [*copy, *copy, "waits for copy 1", *arrive]
    assert first.pixels.is_meta
    assert first.labels.is_meta
    sizes = [len(first.labels), *(len(batch.labels) for batch in copies)]
    assert sizes == [3, 2, 1]
    assert calls[9:] == [*copy, "waits for copy 2", *arrive, "waits for copy 3", *arrive]


@pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no CUDA device")
def test_on_a_gpu_batches_arrive_whole_and_in_order(source: Source, tmp_path: Path) -> None:
    recipe = Recipe.load(overrides=[*SETTINGS, "device=cuda"])
    trainer = Trainer(source, "MobileNetV2_x0_25", recipe, tmp_path)
    expected = list(trainer.train_loader.batches(1))
    found = list(copied_ahead(trainer.train_loader.batches(1), torch.device("cuda")))
    assert len(found) == len(expected) == 9
    for batch, copy in zip(expected, found, strict=True):
        assert copy.pixels.is_cuda
        assert torch.equal(copy.pixels.cpu(), batch.pixels)
        assert torch.equal(copy.labels.cpu(), batch.labels)
