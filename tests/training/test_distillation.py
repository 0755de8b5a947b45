"""A student learns from teachers of every kind, in the same training as any other network."""

import shutil
import sys
import types
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from conftest import Run
from fleetnet.bundle import Bundle
from fleetnet.data.batches import Batch
from fleetnet.data.sources import open_source
from fleetnet.errors import CheckpointError, DataError, FleetnetError, RecipeError
from fleetnet.models.registry import build_model
from fleetnet.preprocess import Preprocess
from fleetnet.training.callbacks import Callback
from fleetnet.training.checkpoint import Checkpoint
from fleetnet.training.distillation.features import shared_strides, stages_by_stride
from fleetnet.training.distillation.losses import attention
from fleetnet.training.distillation.opening import open_teachers, order_of
from fleetnet.training.distillation.task import Distillation
from fleetnet.training.distillation.teachers import averaged, ready
from fleetnet.training.recipe import Recipe
from fleetnet.training.task import TaskSetup
from fleetnet.training.train_step import TrainStep
from fleetnet.training.trainer import resume, train
from fleetnet.training.usual_task import usual_task
from samples import CLASSES, TINY

CPU = torch.device("cpu")
SETTINGS = [*TINY, "epochs=2", "precision=fp32", "input.crop=32", "input.resize=36"]
STUDENT = "MobileNetV2_x0_25"


def settings_of(*teachers: Path | str, more: tuple[str, ...] = ()) -> list[str]:
    return [*SETTINGS, f"distill.teachers={[str(one) for one in teachers]}", *more]


def made(
    *settings: str, network: nn.Module | None = None, labelled: int | None = None
) -> TaskSetup:
    return TaskSetup(
        recipe=Recipe.load(overrides=settings),
        classes=CLASSES,
        counts=[4] * 3,
        multi_label=False,
        device=CPU,
        network=network,
        samples=6,
        labelled=labelled,
    )


@pytest.fixture(scope="module")
def pixels() -> Tensor:
    """Return images from 0 to 255, not normalised."""
    rng = np.random.default_rng(0)
    return torch.from_numpy(rng.integers(0, 256, (6, 64, 64, 3)).astype(np.float32))


LABELS = torch.tensor([0, 1, 2, 0, 1, 2])


def answers_of(checkpoint: Path, pixels: Tensor) -> Tensor:
    """Return a trained network's logits, without any code of distillation."""
    found = Checkpoint.load(checkpoint)
    mean, std = torch.tensor(found.preprocess.mean), torch.tensor(found.preprocess.std)
    with torch.inference_mode():
        logits: Tensor = found.network()(((pixels / 255 - mean) / std).permute(0, 3, 1, 2))
    return logits.clone()


def loss_of(setup: TaskSetup, pixels: Tensor, logits: Tensor, indices: Tensor | None = None) -> Any:
    """Return a batch's loss where the student gives these logits."""
    task = usual_task(setup)
    assert isinstance(task, Distillation)
    mean, std = (torch.tensor(getattr(setup.recipe.input, key)) for key in ("mean", "std"))
    normalised = (pixels / 255 - mean) / std
    places = torch.arange(6) if indices is None else indices
    rng = np.random.default_rng(0)
    return float(task.loss_of_samples(lambda _: logits, normalised, LABELS, places, rng).loss)


LOGITS = torch.from_numpy(np.random.default_rng(1).normal(size=(6, 3)).astype(np.float32))
SAME_SIZE = ("input.crop=64", "input.resize=72")


def test_a_student_is_compared_with_what_the_teacher_answers(
    checkpoint: Path, pixels: Tensor
) -> None:
    settings = settings_of(checkpoint, more=SAME_SIZE)
    p, q = answers_of(checkpoint, pixels).softmax(1), LOGITS.softmax(1)
    middle = (p + q) / 2
    parts = [(one * (one / middle).log()).sum(1).mean() for one in (p, q)]
    assert loss_of(made(*settings), pixels, LOGITS) == pytest.approx(
        float(sum(parts)) / 2, rel=1e-3
    )
    heated = [*settings, "distill.loss=kl", "distill.temperature=4", "distill.label_weight=0.25"]
    p, q = (answers_of(checkpoint, pixels) / 4).softmax(1), (LOGITS / 4).softmax(1)
    wanted = 0.75 * 16 * (p * (p / q).log()).sum(1).mean() + 0.25 * functional.cross_entropy(
        LOGITS, LABELS, label_smoothing=0.1
    )
    assert loss_of(made(*heated), pixels, LOGITS) == pytest.approx(float(wanted), rel=1e-3)


@pytest.mark.parametrize("loss", ["js", "kl", "skl", "dkd"])
def test_a_student_that_answers_as_its_teacher_has_nothing_to_learn(
    checkpoint: Path, pixels: Tensor, loss: str
) -> None:
    setup = made(*settings_of(checkpoint, more=(*SAME_SIZE, f"distill.loss={loss}")))
    same = answers_of(checkpoint, pixels) + 3
    assert loss_of(setup, pixels, same) == pytest.approx(0, abs=1e-5)
    assert loss_of(setup, pixels, LOGITS) > 0.01


def test_labels_count_only_of_images_that_have_some(checkpoint: Path, pixels: Tensor) -> None:
    settings = settings_of(checkpoint, more=(*SAME_SIZE, "distill.label_weight=1.0"))
    indices = torch.tensor([0, 9, 1, 8, 7, 2])
    own = indices < 3
    wanted = functional.cross_entropy(LOGITS[own], LABELS[own], label_smoothing=0.1) / 2
    assert loss_of(made(*settings, labelled=3), pixels, LOGITS, indices) == pytest.approx(
        float(wanted)
    )
    assert loss_of(made(*settings, labelled=0), pixels, LOGITS, indices) == 0
    # Of an image without a label, the class at hand is the teacher's.
    decoupled = made(*settings_of(checkpoint, more=(*SAME_SIZE, "distill.loss=dkd")), labelled=0)
    assert loss_of(decoupled, pixels, LOGITS) != loss_of(made(*settings), pixels, LOGITS)


def test_answers_are_looked_up(checkpoint: Path, pixels: Tensor, tmp_path: Path) -> None:
    scores = answers_of(checkpoint, pixels).log_softmax(1).numpy()
    np.save(tmp_path / "scores.npy", scores)
    stored = made(*SETTINGS, *SAME_SIZE, f"distill.scores={tmp_path / 'scores.npy'}")
    online = made(*settings_of(checkpoint, more=SAME_SIZE))
    order = torch.tensor([3, 1, 4, 0, 5, 2])
    found = loss_of(stored, pixels[order], LOGITS, order)
    assert found == pytest.approx(loss_of(online, pixels[order], LOGITS), rel=1e-3)
    for odd in (scores[:5], scores.astype(np.float64), scores[:, :2], np.full_like(scores, np.nan)):
        np.save(tmp_path / "scores.npy", odd)
        with pytest.raises(DataError, match="compute them anew"):
            usual_task(stored)
    (tmp_path / "scores.npy").write_bytes(b"\x80\x04evil")
    with pytest.raises(DataError, match="it is no"):
        usual_task(stored)


def test_a_graph_answers_as_its_network(checkpoint: Path, bundle: Bundle, pixels: Tensor) -> None:
    (graph,) = bundle.path.glob("*.onnx")
    kinds = [str(checkpoint), str(bundle.path), str(graph)]
    teachers = open_teachers(kinds, CLASSES, CPU)
    wanted = answers_of(checkpoint, pixels)
    for teacher in teachers:
        torch.testing.assert_close(teacher.logits(pixels), wanted, rtol=1e-2, atol=1e-2)
        assert teacher.logits(pixels[:, :48, :48]).shape == (6, 3)  # of another size
    mean = averaged(teachers, pixels).exp()
    torch.testing.assert_close(mean, wanted.softmax(1), rtol=1e-2, atol=1e-2)
    assert teachers[0].identity == open_teachers(kinds[:1], CLASSES, CPU)[0].identity
    (looked_into, _, not_looked_into) = (teacher.network for teacher in teachers)
    assert looked_into is not None
    assert not_looked_into is None


def test_probabilities_are_averaged_not_logits(pixels: Tensor) -> None:
    def saying(*logits: float) -> Any:
        return types.SimpleNamespace(logits=lambda _: torch.tensor([logits]))

    found = averaged([saying(8.0, 0.0), saying(0.0, 1.0)], pixels).exp()
    wanted = (torch.tensor([8.0, 0]).softmax(0) + torch.tensor([0, 1.0]).softmax(0)) / 2
    torch.testing.assert_close(found, wanted[None])


def test_classes_are_matched_by_name() -> None:
    assert order_of(["b", "c", "a"], ["a", "b", "c"], "t") == [2, 0, 1]
    assert order_of(["class 0", "class 1"], ["cat", "dog"], "t") == [0, 1]
    for names in (["a", "b"], ["a", "b", "d"], ["a", "b", "c", "d"], ["class 0", "class 1"]):
        with pytest.raises(FleetnetError, match="train it on them first"):
            order_of(names, ["a", "b", "c"], "t")


def test_batch_statistics_teach_and_stay_as_they_were(checkpoint: Path, pixels: Tensor) -> None:
    network = Checkpoint.load(checkpoint).network()
    before = {key: value.clone() for key, value in network.state_dict().items()}
    x = pixels.permute(0, 3, 1, 2) / 255
    with torch.no_grad():
        stored = ready(network, CPU, batch_statistics=False)(x)
        own = ready(network, CPU, batch_statistics=True)(x)
    assert not torch.allclose(stored, own)
    for key, value in network.state_dict().items():
        assert key.endswith("num_batches_tracked") or torch.equal(value, before[key])


def test_feature_maps_of_equal_stride_are_found_and_compared(checkpoint: Path) -> None:
    student = build_model("ReXNet_1_0", 3)
    strides = stages_by_stride(student, 64)
    assert sorted(strides) == [2, 4, 8, 16, 32]
    assert student.training
    theirs = stages_by_stride(Checkpoint.load(checkpoint).network(), 64)
    assert shared_strides(strides, [theirs]) == [2, 4, 8, 16, 32]
    foreign = nn.Sequential(nn.Conv2d(3, 4, 3, 4, 1), nn.ReLU(), nn.AdaptiveAvgPool2d(1))
    found = stages_by_stride(foreign, 64)
    assert found[4] is foreign[1]


def test_features_pull_and_leave_no_hooks(checkpoint: Path, pixels: Tensor) -> None:
    more = (*SAME_SIZE, "distill.feature_weight=2.0", "ema.decay=0", "distill.loss=kl")
    network = build_model(STUDENT, 3)
    setup = made(*settings_of(checkpoint, more=more), network=network)
    task = usual_task(setup)
    step = TrainStep(
        network, setup.recipe, setup.recipe.input.preprocess(), task, steps_per_epoch=4
    )
    step.begin_epoch(1)
    batch = Batch(pixels.byte(), LABELS, (), torch.arange(6))
    with_features = float(step.take([batch], 0).losses[0])
    assert not any(module._forward_hooks for module in network.modules())
    plain = made(*settings_of(checkpoint, more=(*SAME_SIZE, "ema.decay=0", "distill.loss=kl")))
    torch.manual_seed(0)
    assert isinstance(task, Distillation)
    strides = len(stages_by_stride(network, 64))
    assert len(task._pairs) == strides
    assert usual_task(plain)._pairs == []  # type: ignore[attr-defined]
    assert with_features > 0
    same = torch.rand(2, 3, 4, 4)
    assert float(attention(same, same)) == 0


class Stopping(Callback):
    """Ends a run as a signal would that cannot be caught."""

    def on_epoch_end(self, record: object) -> None:
        raise KeyboardInterrupt


@pytest.mark.slow
def test_a_stopped_student_goes_on_with_its_teacher_to_the_bit(
    checkpoint: Path, shapes: Path, tmp_path: Path
) -> None:
    teacher = shutil.copy(checkpoint, tmp_path / "teacher.ckpt")
    (opened,) = open_teachers([str(teacher)], CLASSES, CPU)
    identities = f"distill.identities=[{opened.identity}]"
    recipe = Recipe.load(overrides=settings_of(teacher, more=(identities,)))
    source = open_source(str(shapes))
    whole = train(source, STUDENT, recipe, tmp_path / "whole")
    with pytest.raises(KeyboardInterrupt):
        train(source, STUDENT, recipe, tmp_path / "stopped", callbacks=[Stopping()])
    resumed = resume(source, tmp_path / "stopped")
    states = [Checkpoint.load(result.last) for result in (whole, resumed)]
    assert states[0].recipe["distill"]["teachers"] == [str(teacher)]
    for key, value in states[0].state.items():
        assert torch.equal(value, states[1].state[key]), key
    assert whole.history[-1].train_loss == resumed.history[-1].train_loss < np.log(2)
    other = Checkpoint.load(teacher)
    other.state["classifier.bias"][0] += 1
    other.save(Path(teacher))
    with pytest.raises(RecipeError, match="no longer the one that this run began with"):
        resume(source, tmp_path / "stopped")


@pytest.mark.parametrize(
    ("more", "words"),
    [
        (("distill.feature_weight=1", "compile=true"), "compiled network"),
        (("distill.loss=dkd", "augment.cutmix=1"), "one class an image"),
        (("distill.scores=x.npy", "augment.mixup=0.2"), "do not go with augment.mixup"),
        (("distill.scores=x.npy", "distill.feature_weight=1"), "distill.feature_weight"),
        (("distill.label_weight=0.5", "augment.mixup=0.2"), "cannot be mixed"),
    ],
)
def test_settings_that_do_not_go_together_are_refused(
    checkpoint: Path, more: tuple[str, ...], words: str
) -> None:
    with pytest.raises(RecipeError, match=words):
        usual_task(made(*settings_of(checkpoint, more=more), labelled=3))


def test_settings_for_no_teacher_are_refused() -> None:
    with pytest.raises(RecipeError, match="distill has settings but no teacher"):
        usual_task(made(*SETTINGS, "distill.loss=kl"))


def test_graphs_have_no_features(bundle: Bundle) -> None:
    (graph,) = bundle.path.glob("*.onnx")
    setup = made(
        *settings_of(graph, more=("distill.feature_weight=1",)), network=build_model(STUDENT, 3)
    )
    with pytest.raises(RecipeError, match="is a graph"):
        usual_task(setup)


def test_teachers_that_are_none_are_refused(tmp_path: Path) -> None:
    with pytest.raises(FleetnetError, match="neither a file nor a network"):
        open_teachers(["nothing"], CLASSES, CPU)
    (tmp_path / "x.ckpt").write_bytes(b"nothing")
    with pytest.raises(CheckpointError):
        open_teachers([str(tmp_path / "x.ckpt")], CLASSES, CPU)


class Foreign(nn.Module):
    """A network as timm makes them."""

    def __init__(self, num_classes: int) -> None:
        super().__init__()
        self.num_classes = num_classes
        self.pretrained_cfg = {"input_size": (3, 32, 32), "crop_pct": 0.8, "mean": (0.5,) * 3}
        self.conv = nn.Conv2d(3, 4, 3)
        self.head = nn.Linear(4, num_classes)

    def forward(self, x: Tensor) -> Tensor:
        found: Tensor = self.head(self.conv(x).mean((2, 3)))
        return found


def create(name: str, *, pretrained: bool, num_classes: int = 1000) -> Foreign:
    if pretrained and name == "far":
        raise OSError("no route to\nhost")
    return Foreign(num_classes)


@pytest.fixture
def timm(monkeypatch: pytest.MonkeyPatch) -> None:
    module: Any = types.ModuleType("timm")
    module.create_model, module.__version__ = create, "1.0"
    module.is_model = lambda name: name in ("near", "far")
    monkeypatch.setitem(sys.modules, "timm", module)


@pytest.mark.usefixtures("timm")
def test_timms_networks_teach(pixels: Tensor, tmp_path: Path) -> None:
    torch.manual_seed(0)
    network = Foreign(3)
    torch.save({"epoch": 3, "state_dict": network.state_dict()}, tmp_path / "near.pth")
    (teacher,) = open_teachers([f"timm:near:{tmp_path / 'near.pth'}"], CLASSES, CPU)
    assert teacher.preprocess == Preprocess(resize=40, crop=32, mean=(0.5,) * 3)
    small = pixels[:, :32, :32]
    std = torch.tensor(teacher.preprocess.std)
    with torch.no_grad():
        wanted = network(((small / 255 - 0.5) / std).permute(0, 3, 1, 2))
    torch.testing.assert_close(teacher.logits(small), wanted, rtol=1e-4, atol=1e-5)
    for word, words in {
        "timm:nowhere": "has no network 'nowhere'",
        "timm:far": "timm cannot open 'far': no route to host",
        "timm:near": "1,000 classes",
        f"timm:near:{tmp_path / 'no.pth'}": "no.pth",
    }.items():
        with pytest.raises(FleetnetError, match=words):
            open_teachers([word], CLASSES, CPU)


def test_timm_is_asked_for_only_where_it_is_meant(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "timm", None)
    with pytest.raises(FleetnetError, match="pip install timm"):
        open_teachers(["timm:resnet18"], CLASSES, CPU)


def test_training_takes_teachers_too(
    fleetnet: Run, shapes: Path, checkpoint: Path, tmp_path: Path
) -> None:
    settings = [word for one in settings_of("nothing") for word in ("--set", one)]
    result = fleetnet("train", shapes, "-m", STUDENT, *settings, "-o", tmp_path / "run")
    result.assert_one_line("'nothing' is neither a file nor a network")
    assert not (tmp_path / "run").exists()
    assert checkpoint.exists()
