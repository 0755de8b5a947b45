"""A run that is killed, interrupted or out of disk goes on as if nothing had happened."""

import contextlib
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

from fleetnet.data.sources import open_source
from fleetnet.errors import CheckpointError, FleetnetError, Interrupted
from fleetnet.training.callbacks import Callback
from fleetnet.training.checkpoint import Checkpoint
from fleetnet.training.recipe import Recipe
from fleetnet.training.trainer import Trainer, resume, train
from samples import TINY, make_folder
from sessions import session

pytestmark = pytest.mark.slow

KILLS = 24
SETTINGS = [
    *TINY,
    "epochs=5",
    "checkpoint_minutes=0",
    "precision=fp32",
    "model.dropout=0.2",
    "model.drop_path=0.2",
    "augment.mixup=0.4",
    "augment.policy=randaugment",
]
"""All that draws random numbers, and a save after every step."""


def same(first: Path, second: Path) -> None:
    """Hold that two runs ended in the same state, to the bit."""
    one, other = Checkpoint.load(first / "last.ckpt"), Checkpoint.load(second / "last.ckpt")
    assert one.epoch == other.epoch
    assert one.metrics == other.metrics
    for key, value in one.state.items():
        assert torch.equal(value, other.state[key]), key
    for key, value in one.training["network"].items():
        assert torch.equal(value, other.training["network"][key]), key
    assert torch.equal(one.training["rng"], other.training["rng"])
    measured = ("epoch", "lr", "train_loss", "train_top1", "top1", "top5")
    for record, twin in zip(one.history, other.history, strict=True):
        assert [record[key] for key in measured] == [twin[key] for key in measured]


@pytest.fixture(scope="module", autouse=True)
def one_thread() -> Iterator[None]:
    """Sums depend on how many threads share them, and :func:`same` looks at every bit."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture(scope="module")
def uninterrupted(one_thread: None, shapes: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    output = tmp_path_factory.mktemp("uninterrupted")
    train(open_source(str(shapes)), "MobileNetV2_x0_25", Recipe.load(overrides=SETTINGS), output)
    return output


def test_killed_two_dozen_times_a_run_ends_as_if_it_had_not_been(
    shapes: Path, uninterrupted: Path, tmp_path: Path
) -> None:
    script = Path(__file__).with_name("killed.py")
    where = [str(script), str(shapes), str(tmp_path / "run")]
    command = [sys.executable, *where, str(KILLS), "14", *SETTINGS]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.count("killed") == KILLS, done.stdout
    same(tmp_path / "run", uninterrupted)
    best, other = (Checkpoint.load(f / "best.ckpt") for f in (tmp_path / "run", uninterrupted))
    assert best.metrics == other.metrics


class Stopper(Callback):
    """Sends this process a signal after some steps."""

    def __init__(self, steps: int, number: signal.Signals) -> None:
        self.steps, self.number = steps, number

    def on_step(self, images: int, lr: float) -> None:
        self.steps -= 1
        if self.steps == 0:
            os.kill(os.getpid(), self.number)


@pytest.mark.parametrize(("steps", "number"), [(2, signal.SIGINT), (4, signal.SIGTERM)])
def test_a_signal_saves_and_ends_the_run(
    steps: int, number: signal.Signals, shapes: Path, uninterrupted: Path, tmp_path: Path
) -> None:
    source = open_source(str(shapes))
    settings = Recipe.load(overrides=[*SETTINGS, "checkpoint_minutes=60"])
    before = signal.getsignal(number)
    with pytest.raises(Interrupted, match=rf"{number.name}.*epoch 1 of 5.*resume=") as caught:
        train(source, "MobileNetV2_x0_25", settings, tmp_path, callbacks=[Stopper(steps, number)])
    assert caught.value.exit_code == 128 + number
    assert signal.getsignal(number) == before
    assert resume(source, tmp_path).history[-1].epoch == 5
    same(tmp_path, uninterrupted)


@contextlib.contextmanager
def long_run(shapes: Path, folder: Path, *, workers: int) -> Iterator[subprocess.Popen[str]]:
    """A run in ``folder / "run"``, in a process of its own, that has saved a checkpoint."""
    arguments = ["train", shapes, "-m", "MobileNetV2_x0_25", "-o", folder / "run"]
    for setting in [*TINY, "epochs=500", f"data.workers={workers}"]:
        arguments += ["--set", setting]
    command = [sys.executable, "-m", "fleetnet", *map(str, arguments)]
    with session(command, folder) as process:
        while not (folder / "run" / "last.ckpt").exists():
            assert process.poll() is None, process.communicate()
            time.sleep(0.1)
        yield process


def test_ctrl_c_on_the_command_line_saves_and_says_how_to_go_on(
    shapes: Path, tmp_path: Path
) -> None:
    """With worker processes, which the terminal's signal reaches too."""
    with long_run(shapes, tmp_path, workers=1) as process:
        os.killpg(process.pid, signal.SIGINT)
        _, errors = process.communicate()
    assert process.returncode == 130, errors
    assert "Traceback" not in errors
    # Python's tracker of shared memory, which the signal reaches too, may have a word after that.
    assert re.search("^stopped by SIGINT in epoch ", errors, re.MULTILINE), errors
    assert f"fleetnet train --resume {tmp_path / 'run'}" in errors
    assert Checkpoint.load(tmp_path / "run" / "last.ckpt").training["progress"]["epoch"] > 1


def test_the_worker_processes_of_a_run_that_is_killed_end_too(shapes: Path, tmp_path: Path) -> None:
    """As when memory is full, and the system kills the process that has most of it."""
    with long_run(shapes, tmp_path, workers=2) as process:
        process.kill()
        _, errors = process.communicate()  # comes back when nobody is left who could write
    assert "Traceback" not in errors


def test_a_full_disk_keeps_the_last_good_checkpoint(
    shapes: Path, uninterrupted: Path, small_disk: Path, tmp_path: Path
) -> None:
    """The disk has room for one checkpoint and not for the next one beside it."""
    subprocess.run(["mount", "-o", "remount,size=5m", small_disk], check=True)
    source = open_source(str(shapes))
    with pytest.raises(
        FleetnetError, match=r"no space left.*saved last is whole.*resume="
    ) as caught:
        train(source, "MobileNetV2_x0_25", Recipe.load(overrides=SETTINGS), small_disk / "run")
    assert "\n" not in str(caught.value)
    assert Checkpoint.load(small_disk / "run" / "last.ckpt").training["progress"]["step"] >= 1
    assert not list((small_disk / "run").glob(".*.part"))
    subprocess.run(["mount", "-o", "remount,size=64m", small_disk], check=True)
    resume(source, small_disk / "run")
    same(small_disk / "run", uninterrupted)


def test_a_finished_run_has_nothing_left_to_do(shapes: Path, run_folder: Path) -> None:
    before = (run_folder / "last.ckpt").read_bytes()
    result = resume(open_source(str(shapes)), run_folder)
    assert result.metrics.to_json() == Checkpoint.load(run_folder / "last.ckpt").metrics
    assert (run_folder / "last.ckpt").read_bytes() == before


def test_what_cannot_be_resumed_is_refused(shapes: Path, checkpoint: Path, tmp_path: Path) -> None:
    source = open_source(str(shapes))
    with pytest.raises(CheckpointError, match="no run to resume"):
        Trainer.resumed(source, tmp_path)
    loaded = Checkpoint.load(checkpoint)
    loaded.training = {}
    loaded.save(tmp_path / "last.ckpt")
    with pytest.raises(CheckpointError, match="only weights"):
        Trainer.resumed(source, tmp_path)
    loaded = Checkpoint.load(checkpoint)
    del loaded.training["optimizer"]
    loaded.save(tmp_path / "last.ckpt")
    with pytest.raises(CheckpointError, match="cannot go on"):
        Trainer.resumed(source, tmp_path)
    other = open_source(str(make_folder(tmp_path / "other", 3)))
    with pytest.raises(CheckpointError, match="not the data"):
        Trainer.resumed(other, checkpoint.parent)
