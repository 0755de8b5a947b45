"""A run's folder is written by one run at a time, and by no other while that one lives."""

from __future__ import annotations

import datetime
import errno
import json
import multiprocessing
import os
import subprocess
import sys
import time
from multiprocessing.synchronize import Barrier, Event
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import filelock
import pytest

from conftest import Run
from fleetnet.data.sources import open_source
from fleetnet.errors import FleetnetError, OvertakenError
from fleetnet.training.callbacks import Callback
from fleetnet.training.checkpoint import Checkpoint
from fleetnet.training.recipe import Recipe
from fleetnet.training.run_lock import OWNER, check_unlocked, run_lock
from fleetnet.training.trainer import Trainer, resume, train
from processes import started, wait_to_be_killed
from samples import TINY

CONTEXT = multiprocessing.get_context("spawn")
SETTINGS = [*TINY, "epochs=1"]


def hold(folder: Path, held: Event) -> None:
    with run_lock(folder):
        held.set()
        wait_to_be_killed()


@pytest.mark.slow
def test_a_lock_keeps_others_out_until_its_process_is_gone(tmp_path: Path) -> None:
    folder, held = tmp_path / "run", CONTEXT.Event()
    process = CONTEXT.Process(target=hold, args=(folder, held))
    with started(process):
        held.wait()
        words = (
            rf"another run \(process {process.pid} on .*, since .*\) is writing .*run: .*output="
        )
        with pytest.raises(OvertakenError, match=words), run_lock(folder):
            pass
        with pytest.raises(OvertakenError, match=words):
            check_unlocked(folder)
    assert (folder / OWNER).exists()  # it could not take leave, which keeps nobody out
    check_unlocked(folder)
    with run_lock(folder) as locked:
        assert locked
        assert json.loads((folder / OWNER).read_text())["process"] == os.getpid()
        with pytest.raises(OvertakenError), run_lock(folder):
            pass
    assert not (folder / OWNER).exists()


def test_looking_at_a_lock_makes_no_folder(tmp_path: Path) -> None:
    check_unlocked(tmp_path / "run")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.slow
def test_a_damaged_owner_file_still_keeps_others_out(tmp_path: Path) -> None:
    with run_lock(tmp_path):
        for text in ("", "7", "{}", '{"process": [', "[" * 100_000):
            (tmp_path / OWNER).write_text(text)
            with pytest.raises(OvertakenError, match="of another process"), run_lock(tmp_path):
                pass


@pytest.mark.parametrize(
    "error", [OSError(errno.ENOLCK, "No locks available"), NotImplementedError()]
)
def test_where_nothing_can_be_locked_a_run_goes_on_and_says_so(
    error: Exception, shapes: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def acquire(*_: Any, **__: Any) -> None:
        raise error

    monkeypatch.setattr(filelock.FileLock, "acquire", acquire)
    source = open_source(str(shapes))
    trainer = Trainer(source, "MobileNetV2_x0_25", Recipe.load(overrides=SETTINGS), tmp_path)
    assert len(trainer.fit().history) == 1
    assert any("cannot be locked" in note for note in trainer.notes)


def test_a_place_that_cannot_be_written_to_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(FleetnetError, match="cannot write"), run_lock(tmp_path / "file" / "run"):
        pass


class Meeting(Callback):
    """Keeps a run from ending before every other has tried to begin."""

    def __init__(self, barrier: Barrier) -> None:
        self.barrier = barrier

    def on_step(self, images: int, lr: float) -> None:
        if self.barrier is not None:
            self.barrier.wait()
            self.barrier = None  # type: ignore[assignment]


def train_together(barrier: Barrier, answers: Any, data: Path, folder: Path, seed: int) -> None:
    recipe = Recipe.load(overrides=[*SETTINGS, f"seed={seed}"])
    trainer = Trainer(open_source(str(data)), "MobileNetV2_x0_25", recipe, folder)
    barrier.wait()
    try:
        trainer.fit([Meeting(barrier)])
    except OvertakenError as error:
        barrier.wait()
        answers.put((seed, str(error)))
    else:
        answers.put((seed, None))


@pytest.mark.slow
def test_of_two_that_start_at_once_in_one_folder_one_runs(shapes: Path, tmp_path: Path) -> None:
    folder = tmp_path / "run"
    barrier, answers = CONTEXT.Barrier(2), CONTEXT.Queue()
    processes = [
        CONTEXT.Process(target=train_together, args=(barrier, answers, shapes, folder, seed))
        for seed in (1, 2)
    ]
    with started(*processes):
        found = dict(answers.get() for _ in processes)
        for process in processes:
            process.join()
            assert process.exitcode == 0
    (winner,) = (seed for seed, error in found.items() if error is None)
    (error,) = (error for error in found.values() if error is not None)
    assert "is writing" in error
    assert Checkpoint.load(folder / "last.ckpt").recipe["seed"] == winner
    assert json.loads((folder / "run.json").read_text())["recipe"]["seed"] == winner
    assert f"seed: {winner}" in (folder / "recipe.yaml").read_text()
    assert len((folder / "metrics.jsonl").read_text().splitlines()) == 1


@pytest.mark.slow
def test_a_run_that_another_process_finished_meanwhile_is_left_as_it_is(
    shapes: Path, tmp_path: Path
) -> None:
    source, recipe = open_source(str(shapes)), Recipe.load(overrides=[*SETTINGS, "epochs=2"])
    late = Trainer(source, "MobileNetV2_x0_25", recipe, tmp_path)
    train(source, "MobileNetV2_x0_25", recipe, tmp_path)
    before = {file.name: file.read_bytes() for file in tmp_path.iterdir()}
    with pytest.raises(OvertakenError, match="in the meantime"):
        late.fit()
    assert {file.name: file.read_bytes() for file in tmp_path.iterdir()} == before

    checkpoint = Checkpoint.load(tmp_path / "last.ckpt")
    checkpoint.save(tmp_path / "last.ckpt")
    late = Trainer.resumed(source, tmp_path, checkpoint=checkpoint)
    with pytest.raises(OvertakenError, match="in the meantime"):
        late.fit()
    resume(source, tmp_path)


@pytest.mark.slow
def test_an_overwritten_run_leaves_nothing_to_resume_by_mistake(
    shapes: Path, tmp_path: Path
) -> None:
    """Killed before its first checkpoint, the new run would go on as the old one."""
    source = open_source(str(shapes))
    train(source, "MobileNetV2_x0_25", Recipe.load(overrides=SETTINGS), tmp_path)

    class Killed(Callback):
        def on_step(self, images: int, lr: float) -> None:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        train(
            source,
            "MobileNetV2_x0_25",
            Recipe.load(overrides=SETTINGS),
            tmp_path,
            callbacks=[Killed()],
        )
    assert not (tmp_path / "last.ckpt").exists()
    assert not (tmp_path / "best.ckpt").exists()


@pytest.mark.slow
def test_the_command_line_refuses_a_folder_that_is_being_written(
    fleetnet: Run, shapes: Path, tmp_path: Path
) -> None:
    run = tmp_path / "run"
    arguments = ["train", shapes, "-m", "MobileNetV2_x0_25", "-o", run, "--log", "none"]
    for setting in TINY:
        arguments += ["--set", setting]
    endless = [sys.executable, "-m", "fleetnet", *map(str, arguments), "--epochs", "5000"]
    process = subprocess.Popen(endless, stderr=subprocess.DEVNULL, stdout=subprocess.DEVNULL)
    try:
        while not (run / "last.ckpt").exists():
            assert process.poll() is None
            time.sleep(0.1)
        words = (f"another run (process {process.pid} on ", f"is writing {run}")
        fleetnet(*arguments, "--epochs", "1").assert_one_line(*words)
        fleetnet(*arguments, "--epochs", "1", "--overwrite").assert_one_line(*words)
        fleetnet("train", "--resume", run, "--log", "none").assert_one_line(*words)
    finally:
        process.kill()
        process.wait()
    assert Checkpoint.load(run / "last.ckpt").recipe["epochs"] == 5000
    fleetnet(*arguments, "--epochs", "1").assert_one_line("holds a run already")
    result = fleetnet(*arguments, "--epochs", "1", "--overwrite")
    assert result.code == 0, result
    assert Checkpoint.load(run / "last.ckpt").recipe["epochs"] == 1


@pytest.mark.slow
def test_runs_of_one_second_get_folders_of_their_own(
    fleetnet: Run, shapes: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Clock(datetime.datetime):
        @classmethod
        def now(cls, tz: datetime.tzinfo | None = None) -> Clock:
            return cls(2026, 1, 2, 3, 4, 5, tzinfo=tz)

    monkeypatch.setattr("fleetnet.training.new_run.datetime", SimpleNamespace(datetime=Clock))
    monkeypatch.chdir(tmp_path)
    arguments = ["train", shapes, "-m", "MobileNetV2_x0_25", "--log", "none", "--epochs", "1"]
    for setting in TINY:
        arguments += ["--set", setting]
    for _ in range(2):
        assert fleetnet(*arguments).code == 0
    names = sorted(folder.name for folder in (tmp_path / "runs").iterdir())
    assert names == ["MobileNetV2_x0_25-20260102-030405", "MobileNetV2_x0_25-20260102-030405-2"]
    assert fleetnet("train", tmp_path / "none", "-m", "MobileNetV2_x0_25").code == 2
    assert len(list((tmp_path / "runs").iterdir())) == 2
