"""``fleetnet train`` as a person uses it: resuming, searching, refusing."""

import json
import shutil
from pathlib import Path

import pytest
from PIL import Image

from conftest import Run
from fleetnet.errors import FleetnetError
from fleetnet.training.checkpoint import Checkpoint
from samples import TINY, make_folder

pytestmark = pytest.mark.slow

QUICK = [argument for setting in [*TINY, "epochs=2"] for argument in ("--set", setting)]


def test_a_run_and_its_resumption(fleetnet: Run, shapes: Path, tmp_path: Path) -> None:
    data = shutil.copytree(shapes, tmp_path / "data")
    run = tmp_path / "run"
    done = fleetnet("train", data, "-m", "MobileNetV2_x0_25", "-o", run, *QUICK)
    assert done.code == 0, done
    described = json.loads((run / "run.json").read_text())
    assert described["model"] == "MobileNetV2_x0_25"
    assert described["recipe"]["epochs"] == 2
    assert (run / "tensorboard").is_dir()

    again = fleetnet("train", "--resume", run)
    assert again.code == 0, again
    assert "best epoch" in again.out
    assert "is complete, 2 epochs as planned" in again.err
    assert f"--model MobileNetV2_x0_25 --weights {run / 'last.ckpt'}" in again.err
    assert "epochs: 2" not in again.err  # the recipe, as if something began
    assert len((run / "metrics.jsonl").read_text().splitlines()) == 2

    moved = tmp_path / "moved"
    data.rename(moved)
    fleetnet("train", "--resume", run).assert_one_line("does not exist")
    assert fleetnet("train", moved, "--resume", run).code == 0
    (moved / "circle" / "000.jpg").unlink()
    fleetnet("train", moved, "--resume", run).assert_one_line("is not the data", "--weights")


def test_names_that_look_like_a_slip_are_warned_of_on_one_line(
    fleetnet: Run, tmp_path: Path
) -> None:
    folder = make_folder(tmp_path / "d", 4, ("cat", "Cat", "nan"))
    rows = [f"{file.parent.name}\\{file.stem},{file.parent.name}" for file in folder.glob("*/*.*")]
    (folder / "table.csv").write_text("\n".join(["id,label", *rows]))
    tiny = ("-m", "MobileNetV2_x0_25", *QUICK, "--epochs", "1", "--log", "none")
    done = fleetnet("train", folder / "table.csv", "-o", tmp_path / "run", *tiny)
    assert done.code == 0, done
    (line,) = [line for line in done.err.splitlines() if "class names" in line]
    assert "'nan' is how a missing label is written: 4 images" in line
    assert "'Cat' and 'cat' differ only in upper and lower case" in line
    assert "paths with backslashes" in done.err
    assert "names without an ending" in done.err


def test_options_that_resuming_cannot_change_are_refused(fleetnet: Run, tmp_path: Path) -> None:
    fleetnet("train", "--resume", tmp_path).assert_one_line("no run to resume")
    for change in (["--epochs", "3"], ["--set", "seed=1"], ["--recipe", "rexnet"], ["--strict"]):
        refused = fleetnet("train", "--resume", tmp_path, *change)
        refused.assert_one_line("cannot change", "--weights")


@pytest.mark.parametrize("traces", [[], ["tensorboard"], ["tensorboard", "wandb.json"]])
def test_a_resumed_run_is_logged_to_the_same_loggers(
    fleetnet: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, traces: list[str]
) -> None:
    """After --log none to nobody."""

    def refuse(names: list[str], *_: object, **__: object) -> None:
        raise FleetnetError(f"told: {names}")

    monkeypatch.setattr("fleetnet.training.resumption.open_loggers", refuse)
    for trace in traces:
        (tmp_path / trace).touch()
    names = [trace.removesuffix(".json") for trace in traces]
    fleetnet("train", "--resume", tmp_path).assert_one_line(f"told: {names}")
    fleetnet("train", "--resume", tmp_path, "--log", "mlflow").assert_one_line("told: ['mlflow']")


def test_a_run_is_not_overwritten_by_chance(
    fleetnet: Run, shapes: Path, run_folder: Path, tmp_path: Path
) -> None:
    refused = fleetnet("train", shapes, "-o", run_folder)
    refused.assert_one_line("holds a run already", "--resume", "--overwrite")


def test_training_without_naming_data_is_refused(fleetnet: Run) -> None:
    fleetnet("train").assert_one_line("nothing to train on", "--help")


def test_unknown_loggers_are_named_before_anything_is_read(
    fleetnet: Run, shapes: Path, tmp_path: Path
) -> None:
    refused = fleetnet("train", shapes, "-o", tmp_path / "run", "--log", "tensorbord", *QUICK)
    refused.assert_one_line("unknown logger 'tensorbord'", "'tensorboard'")
    assert not (tmp_path / "run").exists()


def test_strict_stops_at_the_first_unreadable_image(fleetnet: Run, tmp_path: Path) -> None:
    data = make_folder(tmp_path / "data", 4)
    (data / "circle" / "000.jpg").write_bytes(b"junk")
    where = ["-m", "MobileNetV2_x0_25", "-o", tmp_path / "run"]
    strict = fleetnet("train", data, *where, "--strict", *QUICK)
    assert strict.code == 2
    last = strict.err.strip().splitlines()[-1]
    assert last.startswith("error: cannot read circle/000.jpg: not an image")
    loose = fleetnet("train", data, *where, *QUICK)
    assert loose.code == 0, loose
    assert "1 image could not be read" in loose.err


def test_a_search_for_the_learning_rate_draws_it(
    fleetnet: Run, shapes: Path, tmp_path: Path
) -> None:
    where = ["-m", "MobileNetV2_x0_25", "-o", tmp_path / "search"]
    done = fleetnet("train", shapes, "--find-lr", *where, *QUICK)
    assert done.code == 0, done
    assert done.out.startswith("learning rate: ")
    assert "--set optimizer.lr=" in done.out
    with Image.open(tmp_path / "search" / "learning-rate.png") as picture:
        assert picture.width > 800
    assert not (tmp_path / "search" / "last.ckpt").exists()


def test_a_loss_that_is_no_number_names_the_checkpoint(
    fleetnet: Run, shapes: Path, run_folder: Path, tmp_path: Path
) -> None:
    """The run's second epoch begins with weights of which one is not a number."""
    run = shutil.copytree(run_folder, tmp_path / "run")
    checkpoint = Checkpoint.load(run / "last.ckpt")
    checkpoint.training["progress"]["epoch"] = 2
    checkpoint.history = checkpoint.history[:1]
    checkpoint.training["network"]["classifier.bias"].fill_(float("nan"))
    checkpoint.save(run / "last.ckpt")
    failed = fleetnet("train", shapes, "--resume", run)
    assert failed.code == 2
    last = failed.err.strip().splitlines()[-1]
    assert last.startswith("error: the loss turned nan in epoch 2: go back to")
    assert f"--weights {run / 'best.ckpt'}" in last


@pytest.mark.parametrize("patience", [1])
def test_early_stopping(fleetnet: Run, shapes: Path, tmp_path: Path, patience: int) -> None:
    settings = [*QUICK, "--set", "epochs=40", "--set", f"stop.patience={patience}"]
    settings += ["--set", "stop.min_delta=0.9"]
    run = tmp_path / "run"
    assert fleetnet("train", shapes, "-m", "MobileNetV2_x0_25", "-o", run, *settings).code == 0
    assert len((run / "metrics.jsonl").read_text().splitlines()) == 2
    assert "2 epochs of 40: it had stopped" in fleetnet("train", "--resume", run).err
