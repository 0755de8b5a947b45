"""A task is a separate file: the one in docs/training.md trains, and its run can be resumed."""

import re
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch

from fleetnet.data.sources import open_source
from fleetnet.errors import FleetnetError
from fleetnet.training.checkpoint import Checkpoint
from fleetnet.training.classification import Classification
from fleetnet.training.recipe import Recipe
from fleetnet.training.task import BatchLoss, MakeTask, TaskSetup
from fleetnet.training.trainer import resume, train
from samples import ROOT, TINY

SETTINGS = [*TINY, "epochs=1", "augment.mixup=0.2", "precision=fp32"]


@pytest.fixture
def distillation(run_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> MakeTask:
    """The task of the documentation, with the session's network as the teacher."""
    blocks = re.findall(r"```python\n(.*?)```", (ROOT / "docs/training.md").read_text(), re.DOTALL)
    (code,) = (block for block in blocks if "class Distillation" in block)
    (tmp_path / "runs" / "teacher").mkdir(parents=True)
    shutil.copy(run_folder / "best.ckpt", tmp_path / "runs" / "teacher")
    monkeypatch.chdir(tmp_path)
    names: dict[str, Any] = {"__name__": "student"}
    exec(compile(code, "docs/training.md", "exec"), names)  # noqa: S102 - our own page
    task: MakeTask = names["Distillation"]
    return task


@pytest.mark.slow
def test_the_task_of_the_documentation_trains(
    distillation: MakeTask, shapes: Path, tmp_path: Path
) -> None:
    source = open_source(str(shapes))
    recipe = Recipe.load(overrides=SETTINGS)
    plain = train(source, "MobileNetV2_x0_25", recipe, tmp_path / "plain")
    taught = train(source, "MobileNetV2_x0_25", recipe, tmp_path / "taught", task=distillation)
    assert taught.history[0].train_loss != plain.history[0].train_loss
    states = [Checkpoint.load(result.last).state for result in (plain, taught)]
    assert list(states[0]) == list(states[1])
    assert not torch.equal(*(state["classifier.weight"] for state in states))
    # Nothing is left to do, but the same task measures.
    assert resume(source, tmp_path / "taught", task=distillation).metrics.images == 9


class Doubled(Classification):
    """Twice the loss."""

    def loss(self, *arguments: Any) -> BatchLoss:
        loss, hits = super().loss(*arguments)
        return BatchLoss(2 * loss, hits)


@pytest.mark.slow
def test_a_task_computes_the_loss_and_the_step_does_the_rest(shapes: Path, tmp_path: Path) -> None:
    """Doubled losses and gradients clipped to the same length: the same weights."""
    settings = [*SETTINGS, "optimizer.clip_norm=1e-4", "epochs=1"]
    recipe = Recipe.load(overrides=settings)
    setups: list[TaskSetup] = []

    def doubled(setup: TaskSetup) -> Doubled:
        setups.append(setup)
        return Doubled(setup)

    source = open_source(str(shapes))
    one = train(source, "MobileNetV2_x0_25", recipe, tmp_path / "one")
    two = train(source, "MobileNetV2_x0_25", recipe, tmp_path / "two", task=doubled)
    assert two.history[0].train_loss == pytest.approx(2 * one.history[0].train_loss, rel=0.01)
    (setup,) = setups
    assert setup.classes == ("circle", "square", "stripes")
    assert setup.counts == [9, 9, 9]
    weights = [Checkpoint.load(run.last).state["classifier.weight"] for run in (one, two)]
    torch.testing.assert_close(*weights, rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize("activation", ["relu", None])
def test_a_task_of_which_no_bundle_could_be_made_is_refused_before_training(
    shapes: Path, tmp_path: Path, activation: str | None
) -> None:
    def odd(setup: TaskSetup) -> Classification:
        task = Classification(setup)
        task.activation = activation  # type: ignore[assignment]
        return task

    recipe = Recipe.load(overrides=SETTINGS)
    with pytest.raises(FleetnetError, match="must be softmax or sigmoid"):
        train(open_source(str(shapes)), "MobileNetV2_x0_25", recipe, tmp_path / "run", task=odd)
    assert not (tmp_path / "run").exists()
