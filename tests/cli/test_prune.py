"""From a trained network to a narrower one, in one command."""

import json
import shutil
from dataclasses import replace
from pathlib import Path

import pytest

from conftest import Run
from fleetnet.bundle import Bundle
from fleetnet.training.checkpoint import Checkpoint
from fleetnet.weights.settings_file import model_named

pytest.importorskip("torch_pruning")

QUIET = ("--log", "none")


@pytest.mark.slow
def test_a_network_is_pruned_trained_on_and_exported(
    fleetnet: Run, shapes: Path, run_folder: Path, tmp_path: Path
) -> None:
    out = tmp_path / "narrow"
    command = ["prune", run_folder, shapes, "--macs", "0.7", "--epochs", "1", *QUIET]
    result = fleetnet(*command, "--teach", "-o", out, "--json")
    assert result.code == 0, result
    found = json.loads(result.out)
    assert 0.5 * found["macs"]["before"] < found["macs"]["after"] <= 0.7 * found["macs"]["before"]
    assert found["parameters"]["after"] < found["parameters"]["before"]
    wide = Checkpoint.load(run_folder / "last.ckpt")
    narrow = Checkpoint.load(out / "last.ckpt")
    assert narrow.model == found["model"] == model_named(str(out / "network.yaml"))
    assert narrow.classes == wide.classes
    assert narrow.preprocess == wide.preprocess
    assert set(narrow.held_out_images) == set(wide.held_out_images)
    assert narrow.recipe["optimizer"]["lr"] == wide.recipe["optimizer"]["lr"] / 4
    assert narrow.recipe["distill"]["teachers"] == [str(run_folder.resolve())]
    assert found["top1"]["trained"] == narrow.history[-1]["top1"]
    # Its wide self says how good it was, as an evaluation does.
    evaluated = fleetnet("evaluate", run_folder, shapes, "--split", "val", "--json")
    assert found["top1"]["before"] == json.loads(evaluated.out)["top1"]
    bundle = tmp_path / "narrow.bundle"
    assert fleetnet("export", out, "-o", bundle).code == 0
    assert Bundle.load(bundle).manifest.model.name == narrow.model
    # Whatever is named twice stays.
    again = fleetnet(*command, "-o", out)
    again.assert_one_line("holds a run already", "--overwrite")


@pytest.mark.slow
def test_a_third_of_its_epochs_takes_the_place_of_an_older_run(
    fleetnet: Run, shapes: Path, checkpoint: Path, tmp_path: Path
) -> None:
    trained = Checkpoint.load(checkpoint)
    long = replace(trained, recipe={**trained.recipe, "epochs": 7})  # of which a third is two
    long.save(tmp_path / "long.ckpt")
    out = tmp_path / "narrow"
    out.mkdir()
    shutil.copy(checkpoint, out / "last.ckpt")
    shutil.copy(checkpoint, out / "best.ckpt")
    command = ["prune", tmp_path / "long.ckpt", shapes, "--macs", "0.7", "-o", out, *QUIET]
    fleetnet(*command).assert_one_line("holds a run already", "--overwrite")
    options = ("--overwrite", "--importance", "random", "--set", "optimizer.lr=0.0001")
    result = fleetnet(*command, *options)
    assert result.code == 0, result
    narrow = Checkpoint.load(out / "last.ckpt")
    assert (narrow.epoch, narrow.recipe["epochs"]) == (2, 2)
    assert narrow.model == model_named(str(out / "network.yaml")) != trained.model
    assert Checkpoint.load(out / "best.ckpt").model == narrow.model
    # That run is not gone on with.
    assert [record["epoch"] for record in narrow.history] == [1, 2]


@pytest.mark.parametrize("importance", ["magnitude", "random"])
def test_it_only_prunes_if_it_is_not_to_train(
    fleetnet: Run, shapes: Path, bundle: Bundle, tmp_path: Path, importance: str
) -> None:
    out = tmp_path / "narrow"
    options = ("--macs", "0.8", "--importance", importance, "--epochs", "0")
    result = fleetnet("prune", bundle.path, shapes, *options, "-o", out)
    assert result.code == 0, result
    assert "multiply-adds are left" in result.out
    assert f"next: fleetnet train {shapes} -m {out / 'network.yaml'}" in result.out
    assert sorted(path.name for path in out.iterdir()) == ["network.yaml", "pruned.ckpt"]
    assert Checkpoint.load(out / "pruned.ckpt").epoch == 0


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--macs", "1.5"], ["--macs is 1.5", "between 0 and 1"]),
        (["--macs", "0"], ["--macs is 0", "between 0 and 1"]),
        (["--macs", "0.01"], ["begin with a narrower network"]),
        (["--importance", "size"], ["--importance", "taylor"]),
        (["--set", "epoch=3"], ["epoch", "epochs"]),
    ],
)
def test_what_is_wrong_is_said_in_a_line_and_nothing_is_left(
    fleetnet: Run,
    shapes: Path,
    run_folder: Path,
    tmp_path: Path,
    options: list[str],
    words: list[str],
) -> None:
    out = tmp_path / "narrow"
    fleetnet("prune", run_folder, shapes, *options, *QUIET, "-o", out).assert_one_line(*words)
    assert not out.exists()


def test_other_classes_are_refused(
    fleetnet: Run, shapes: Path, run_folder: Path, tmp_path: Path
) -> None:
    other = tmp_path / "other"
    other.mkdir()
    for number, folder in enumerate(sorted(shapes.iterdir())):
        (other / f"class{number}").symlink_to(folder)
    fleetnet("prune", run_folder, other, *QUIET, "-o", tmp_path / "out").assert_one_line(
        "has other classes than the network"
    )
