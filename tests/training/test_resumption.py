"""Finding a run that was stopped, and the folder and settings of a new one."""

import shutil
from pathlib import Path

import pytest

from fleetnet.data.sources import SourceOptions
from fleetnet.errors import CheckpointError, FleetnetError
from fleetnet.training.new_run import new_run_folder
from fleetnet.training.recipe import Recipe
from fleetnet.training.resumption import StoppedRun
from fleetnet.training.shorthands import shorthands


def test_a_run_is_found_by_its_folder_or_its_checkpoint(run_folder: Path, shapes: Path) -> None:
    for place in (run_folder, run_folder / "last.ckpt"):
        run = StoppedRun.find(place)
        assert run.folder == run_folder
        assert run.checkpoint.model == "MobileNetV2_x0_25"
        assert run.source.spec["data"] == str(shapes)
        assert run.loggers == []
    trainer = run.trainer()
    assert trainer.finished
    assert trainer.output == run_folder


def test_the_data_may_have_moved_and_loggers_may_change(
    run_folder: Path, shapes: Path, tmp_path: Path
) -> None:
    moved = shutil.copytree(shapes, tmp_path / "moved")
    run = StoppedRun.find(run_folder, str(moved), SourceOptions(), ["tensorboard"])
    assert run.source.spec["data"] == str(moved)
    assert [logger.name for logger in run.loggers] == ["tensorboard"]
    assert run.trainer().finished


def test_no_run_and_no_logger_is_an_error(run_folder: Path, tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="there is no run to resume in"):
        StoppedRun.find(tmp_path)
    with pytest.raises(FleetnetError, match="unknown logger 'tensorbord'"):
        StoppedRun.find(run_folder, log=["tensorbord"])


def test_a_new_runs_folder_is_nobody_elses_and_goes_if_it_stays_empty(tmp_path: Path) -> None:
    with new_run_folder("Net", tmp_path) as one, new_run_folder("Net", tmp_path) as other:
        assert one != other
        assert one.name.startswith("Net-")
        assert one.parent == tmp_path
        (one / "last.ckpt").touch()
    assert (one / "last.ckpt").exists()
    assert not other.exists()


def test_shorthands_are_settings_of_a_recipe() -> None:
    assert shorthands() == []
    assert shorthands(3, 224) == ["epochs=3", "input.crop=224", "input.resize=256"]
    recipe = Recipe.load(overrides=shorthands(size=160))
    assert (recipe.input.crop, recipe.input.resize) == (160, 183)
