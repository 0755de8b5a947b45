import errno
import importlib.util
import json
import struct
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
from tensorboardX.proto.event_pb2 import Event, SessionLog

from fleetnet.errors import FleetnetError
from fleetnet.training.loggers import LOGGERS, Guarded, Logger, flat, open_loggers, tag

SETTINGS = {"name": "finetune", "optimizer": {"lr": 0.03, "betas": [0.9, 0.99]}}


def record(epoch: int) -> dict[str, float]:
    return {
        "epoch": epoch,
        "lr": 0.1,
        "train_loss": 1 / epoch,
        "train_top1": 0.5,
        "top1": 0.4 + epoch / 100,
        "top5": 0.9,
        "images_per_s": 100.0,
        "seconds": 3.0,
    }


class Memory:
    """A logger that remembers, and fails where state."""

    name = "memory"

    def __init__(self, fails: dict[str, BaseException] | None = None) -> None:
        self.fails = fails or {}
        self.calls: list[str] = []

    def _call(self, what: str) -> None:
        self.calls.append(what)
        for name, error in self.fails.items():
            if what.startswith(name):
                raise error

    def start(self, run_name: str, settings: dict[str, Any], folder: Path) -> None:
        self._call(f"start {run_name} {list(settings)} {folder.name}")

    def log_epoch(self, record: Mapping[str, float]) -> None:
        self._call(f"epoch {record['epoch']}")

    def log_step(self, number: int, values: Mapping[str, float]) -> None:
        self._call(f"step {number}" if values else "")

    def finish(self, summary: Mapping[str, Any]) -> None:
        self._call(f"finish {list(summary)}")


def run(logger: Logger, epochs: range, folder: Path) -> None:
    logger.start("a run", SETTINGS, folder)
    for number in epochs:
        logger.log_step(10 * number, {"train_loss": 0.5})
        logger.log_epoch(record(number))
    logger.finish({"best": {"top1": 0.9}})


def test_a_logger_that_fails_is_dropped_with_one_warning(tmp_path: Path) -> None:
    memory = Memory({"epoch 2": OSError(errno.ENOSPC, "No space left on device")})
    warnings: list[str] = []
    run(Guarded(memory, warnings.append), range(1, 6), tmp_path)
    assert memory.calls[1:] == ["step 10", "epoch 1", "step 20", "epoch 2"]
    assert warnings == [
        "memory failed and gets no more figures: [Errno 28] No space left on device"
    ]


@pytest.mark.parametrize("what", ["step 10", "finish"])
def test_steps_and_the_end_may_fail_too(tmp_path: Path, what: str) -> None:
    warnings: list[str] = []
    run(Guarded(Memory({what: ValueError("no\nnetwork")}), warnings.append), range(1, 3), tmp_path)
    assert warnings == ["memory failed and gets no more figures: no network"]


def test_a_logger_that_cannot_start_is_an_error_of_one_line(tmp_path: Path) -> None:
    guarded = Guarded(Memory({"start": RuntimeError("bad\nluck")}), print)
    with pytest.raises(FleetnetError, match="memory cannot start: bad luck"):
        guarded.start("a run", {}, tmp_path)


def test_an_interruption_is_no_failure(tmp_path: Path) -> None:
    memory = Memory({"epoch 1": KeyboardInterrupt()})
    with pytest.raises(KeyboardInterrupt):
        run(Guarded(memory, print), range(1, 3), tmp_path)


def test_unknown_names_and_absent_packages_say_so_before_anything_is_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(FleetnetError, match=r"unknown logger 'tensorbord', did you mean 'tensorb"):
        open_loggers(["tensorbord"], tmp_path / "run")
    monkeypatch.setattr(importlib.util, "find_spec", lambda *_: None)
    for name, kind in LOGGERS.items():
        with pytest.raises(FleetnetError, match=rf"pip install 'fleetnet\[{kind.extra}\]'"):
            open_loggers([name], tmp_path / "run")
    assert open_loggers([], tmp_path / "run") == []
    assert not (tmp_path / "run").exists()


def test_loggers_need_no_framework() -> None:
    """Their packages are heavy enough."""
    import subprocess

    code = "import sys, fleetnet.training.loggers; print('torch' in sys.modules)"
    answer = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    )
    assert answer.stdout.strip() == "False"


def test_tags_and_flat_settings() -> None:
    assert [tag(key) for key in ("train_loss", "val_loss", "top1", "top5", "lr", "train_")] == [
        "train/loss",
        "val/loss",
        "val/top1",
        "val/top5",
        "lr",
        "train_",
    ]
    assert flat(SETTINGS) == {
        "name": "finetune",
        "optimizer.lr": 0.03,
        "optimizer.betas": [0.9, 0.99],
    }


def events_in(folder: Path) -> Iterator[Event]:
    """Read event files: each record its length, a checksum, an event and a checksum."""
    for file in sorted(folder.glob("events.out.tfevents.*")):
        content = file.read_bytes()
        while content:
            (length,) = struct.unpack("<Q", content[:8])
            yield Event.FromString(content[12 : 12 + length])
            content = content[16 + length :]


def shown_by_tensorboard(folder: Path) -> dict[str, list[tuple[int, float]]]:
    """Return the scalars by tag; a restart voids what came before from its step on."""
    scalars: dict[str, list[tuple[int, float]]] = {}
    for event in events_in(folder):
        if event.HasField("session_log") and event.session_log.status == SessionLog.START:
            for name, points in scalars.items():
                scalars[name] = [point for point in points if point[0] < event.step]
        for value in event.summary.value:
            if value.HasField("simple_value"):
                scalars.setdefault(value.tag, []).append((event.step, value.simple_value))
    return scalars


class TestTensorBoard:
    def open(self, folder: Path, *, resume: bool = False) -> Logger:
        (logger,) = open_loggers(["tensorboard", "tensorboard"], folder, resume=resume)
        return logger

    def test_every_figure_is_read_back(self, tmp_path: Path) -> None:
        run(self.open(tmp_path), range(1, 4), tmp_path)
        scalars = shown_by_tensorboard(tmp_path / "tensorboard")
        assert set(scalars) == {
            "lr", "train/loss", "train/top1", "val/top1", "val/top5", "images_per_s", "seconds"
        }  # fmt: skip
        assert [step for step, _ in scalars["train/loss"]] == [1, 2, 3]
        assert [value for _, value in scalars["train/loss"]] == pytest.approx([1, 1 / 2, 1 / 3])
        steps = shown_by_tensorboard(tmp_path / "tensorboard" / "steps")
        assert steps == {"train/loss": [(10, 0.5), (20, 0.5), (30, 0.5)]}

    def test_the_settings_are_there_as_text(self, tmp_path: Path) -> None:
        run(self.open(tmp_path), range(1, 2), tmp_path)
        texts = [
            value.tensor.string_val[0].decode()
            for event in events_in(tmp_path / "tensorboard")
            for value in event.summary.value
            if value.tag.startswith("settings")
        ]
        assert len(texts) == 1
        assert json.loads(texts[0]) == SETTINGS

    def test_epochs_are_on_the_disk_before_the_end(self, tmp_path: Path) -> None:
        logger = self.open(tmp_path)
        logger.start("a run", SETTINGS, tmp_path)
        logger.log_epoch(record(1))
        assert shown_by_tensorboard(tmp_path / "tensorboard")["val/top1"]
        logger.finish({})

    def test_epochs_logged_again_after_a_crash_appear_once(self, tmp_path: Path) -> None:
        run(self.open(tmp_path), range(1, 5), tmp_path)
        run(self.open(tmp_path, resume=True), range(3, 6), tmp_path)
        for folder, steps in (("tensorboard", [1, 2, 3, 4, 5]), ("steps", [10, 20, 30, 40, 50])):
            place = tmp_path / "tensorboard"
            scalars = shown_by_tensorboard(place if folder == place.name else place / folder)
            assert [step for step, _ in scalars["train/loss"]] == steps

    def test_a_new_run_in_an_old_folder_forgets_the_old(self, tmp_path: Path) -> None:
        run(self.open(tmp_path), range(1, 9), tmp_path)
        run(self.open(tmp_path), range(1, 3), tmp_path)
        assert len(list((tmp_path / "tensorboard").glob("events*"))) == 1
        assert [step for step, _ in shown_by_tensorboard(tmp_path / "tensorboard")["lr"]] == [1, 2]

    def test_a_full_disk_drops_it_and_training_goes_on(self, small_disk: Path) -> None:
        warnings: list[str] = []
        (logger,) = open_loggers(["tensorboard"], small_disk / "run", warn=warnings.append)
        logger.start("a run", SETTINGS, small_disk / "run")
        logger.log_epoch(record(1))
        (small_disk / "filler").write_bytes(bytes(1_000_000))
        for number in range(2, 400):
            logger.log_epoch(record(number))
        logger.finish({})
        assert len(warnings) == 1
        assert "tensorboard failed and gets no more figures" in warnings[0]
        assert "No space left" in warnings[0]

    def test_a_place_that_cannot_be_written_is_refused_at_the_start(self, tmp_path: Path) -> None:
        (tmp_path / "file").touch()
        with pytest.raises(FleetnetError, match="tensorboard cannot start"):
            self.open(tmp_path / "file").start("a run", SETTINGS, tmp_path / "file")


def records_in(content: bytes) -> Iterator[bytes]:
    """Read a .wandb file, a log of LevelDB: blocks of 32 KiB with records that may be in parts."""
    block, header = 32 * 1024, 7
    place, record = header, b""
    while place + header <= len(content):
        if block - place % block < header:
            place += block - place % block
            continue
        length, kind = struct.unpack("<HB", content[place + 4 : place + header])
        record += content[place + header : place + header + length]
        place += header + length
        if kind in (1, 4):  # whole, or its last part
            yield record
            record = b""


class TestWandb:
    @pytest.fixture(autouse=True)
    def offline(self, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
        wandb = pytest.importorskip("wandb")
        wandb.teardown()  # forgets the settings of other tests
        monkeypatch.setenv("WANDB_MODE", "offline")
        monkeypatch.setenv("HOME", str(tmp_path))

    def history(self, folder: Path) -> list[dict[str, Any]]:
        from wandb.proto import wandb_internal_pb2

        rows = []
        files = folder.glob("wandb/offline-run-*/*.wandb")
        for file in sorted(files, key=lambda file: file.stat().st_mtime_ns):
            for data in records_in(file.read_bytes()):
                entry = wandb_internal_pb2.Record.FromString(data)
                rows.append(
                    {
                        item.key or "/".join(item.nested_key): json.loads(item.value_json)
                        for item in entry.history.item
                    }
                )
        return rows

    def test_a_resumed_run_has_the_same_id_and_each_epoch_once(self, tmp_path: Path) -> None:
        for resume, epochs in ((False, range(1, 4)), (True, range(2, 6))):
            (logger,) = open_loggers(["wandb"], tmp_path, resume=resume, warn=pytest.fail)
            run(logger, epochs, tmp_path)
        rows = self.history(tmp_path)
        assert [row["epoch"] for row in rows if "val/top1" in row] == [1, 2, 3, 4, 5]
        assert [row["step"] for row in rows if "step/train/loss" in row] == [10, 20, 30, 40, 50]
        ids = {file.stem for file in tmp_path.glob("wandb/offline-run-*/*.wandb")}
        assert ids == {f"run-{json.loads((tmp_path / 'wandb.json').read_text())['run_id']}"}
        (logger,) = open_loggers(["wandb"], tmp_path, warn=pytest.fail)
        run(logger, range(1, 2), tmp_path)
        assert len({file.stem for file in tmp_path.glob("wandb/offline-run-*/*.wandb")}) == 2

    def test_without_an_account_it_says_what_to_do(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("WANDB_MODE", "online")
        monkeypatch.delenv("WANDB_API_KEY", raising=False)
        (logger,) = open_loggers(["wandb"], tmp_path)
        with pytest.raises(FleetnetError, match=r"wandb cannot start: .*WANDB_MODE=offline"):
            logger.start("a run", SETTINGS, tmp_path)


@pytest.mark.filterwarnings("default")  # MLflow's use of SQLAlchemy is not ours to mend
class TestMlflow:
    @pytest.fixture(autouse=True)
    def local(self, monkeypatch: pytest.MonkeyPatch) -> None:
        for module in LOGGERS["mlflow"].modules:
            pytest.importorskip(module)
        monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)

    def test_a_resumed_run_is_the_same_and_has_each_epoch_once(self, tmp_path: Path) -> None:
        from mlflow import MlflowClient

        for resume, epochs in ((False, range(1, 4)), (True, range(2, 6))):
            (logger,) = open_loggers(["mlflow"], tmp_path, resume=resume, warn=pytest.fail)
            run(logger, epochs, tmp_path)
        client = MlflowClient(f"sqlite:///{tmp_path / 'mlflow.db'}")
        experiment = client.get_experiment_by_name("fleetnet")
        assert experiment is not None
        (found,) = client.search_runs([experiment.experiment_id])
        assert found.info.status == "FINISHED"
        assert found.data.params["optimizer.lr"] == "0.03"
        assert found.data.tags["best.top1"] == "0.9"
        for key, steps in (
            ("val/top1", [1, 2, 3, 4, 5]),
            ("step/train/loss", [10, 20, 30, 40, 50]),
        ):
            history = client.get_metric_history(found.info.run_id, key)
            assert [metric.step for metric in history] == steps

    def test_a_server_that_does_not_answer_is_named(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://127.0.0.1:9")
        monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
        (logger,) = open_loggers(["mlflow"], tmp_path)
        with pytest.raises(FleetnetError, match=r"mlflow cannot start: http://127\.0\.0\.1:9"):
            logger.start("a run", SETTINGS, tmp_path)


@pytest.mark.parametrize(
    "content", ["", "{", "[]", '{"run_id": 3}', '{"run_id": "x", "epoch": "y"}']
)
def test_a_damaged_state_is_as_good_as_none(tmp_path: Path, content: str) -> None:
    from fleetnet.training.loggers.state import LoggerState

    file = tmp_path / "wandb.json"
    file.write_text(content)
    state = LoggerState(file, resume=True)
    assert state.is_new("epoch", 0)
    state.run_id = "y"
    state.note("epoch", 3)
    again = LoggerState(file, resume=True)
    assert again.run_id == "y"
    assert not again.is_new("epoch", 3)
    assert again.is_new("epoch", 4)
    assert LoggerState(file, resume=False).run_id is None
