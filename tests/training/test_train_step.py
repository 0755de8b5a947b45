"""What a step does, whatever the run around it."""

import copy
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch.optim.swa_utils import AveragedModel
from torch.utils._python_dispatch import TorchDispatchMode

from compiling import takes_a_compiler, two_blocks
from fleetnet.data.batches import Batch
from fleetnet.data.sources import open_source
from fleetnet.models.base import Network
from fleetnet.models.registry import build_model
from fleetnet.preprocess import Preprocess
from fleetnet.training.classification import classification
from fleetnet.training.ema import MovingAverage
from fleetnet.training.precision import resolve
from fleetnet.training.recipe import Recipe
from fleetnet.training.step_results import read_results
from fleetnet.training.task import TaskSetup
from fleetnet.training.train_step import TrainStep
from fleetnet.training.trainer import Trainer
from samples import TINY


def made(
    *settings: str, classes: int = 3, multi_label: bool = False, network: Network | None = None
) -> TrainStep:
    torch.manual_seed(0)
    recipe = Recipe.load(
        overrides=[*TINY, "precision=fp32", "schedule.warmup_epochs=0", "ema.decay=0", *settings]
    )
    setup = TaskSetup(
        recipe=recipe,
        classes=tuple("abcdefgh"[:classes]),
        counts=[4] * classes,
        multi_label=multi_label,
        device=torch.device("cpu"),
    )
    return TrainStep(
        network or build_model("MobileNetV2_x0_25", classes, dropout=0.0),
        recipe,
        Preprocess(resize=36, crop=32),
        classification(setup),
        steps_per_epoch=4,
    )


def batch(images: int, seed: int = 0, classes: int = 3) -> Batch:
    rng = np.random.default_rng(seed)
    pixels = torch.from_numpy(rng.integers(0, 256, (images, 32, 32, 3), dtype=np.uint8))
    labels = torch.from_numpy(rng.integers(0, classes, images))
    return Batch(pixels, labels, (), torch.arange(images))


def part(whole: Batch, rows: slice) -> Batch:
    return Batch(whole.pixels[rows], whole.labels[rows], (), whole.indices[rows])


def weights(of: TrainStep) -> dict[str, torch.Tensor]:
    return {key: value.clone() for key, value in of.network.state_dict().items()}


def test_gradients_of_several_batches_make_the_step_of_one_large_batch() -> None:
    whole = batch(8)
    one, several = made(), made()
    for each in (one, several):
        each.begin_epoch(1)
        each.network.eval()  # batch norm would see other batches
    large = one.take([whole], 0).result()
    small = several.take([part(whole, slice(0, 5)), part(whole, slice(5, 8))], 0).result()
    assert small.images == large.images == 8
    assert small.hits == large.hits
    assert small.loss == pytest.approx(large.loss, rel=1e-5)
    for key, value in weights(one).items():
        torch.testing.assert_close(value, weights(several)[key], rtol=1e-4, atol=1e-6)


def test_clipping_bounds_the_step() -> None:
    plain = ["optimizer.momentum=0", "optimizer.weight_decay=0"]
    free, clipped = made(*plain), made(*plain, "optimizer.clip_norm=0.001")
    moved = []
    for each in (free, clipped):
        before = weights(each)
        each.begin_epoch(1)
        each.take([batch(8)], 0, lr=1.0)
        parameters = dict(each.network.named_parameters())
        squares = [(parameters[key].detach() - before[key]).square().sum() for key in parameters]
        moved.append(float(torch.stack(squares).sum().sqrt()))
    assert moved[1] < 0.002 < moved[0]


@pytest.mark.parametrize("precision", ["bf16", "fp16"])
@pytest.mark.slow
def test_other_precisions_train(precision: str) -> None:
    one = made(f"precision={precision}", "optimizer.lr=0.003")
    one.begin_epoch(1)
    one.network.eval()  # norms of eight images of noise would make much of what is rounded
    losses = [one.take([batch(8)], step).result().loss for step in range(12)]
    assert np.isfinite(losses).all()
    assert min(losses[-3:]) < losses[0]
    assert one.is_finite()
    assert all(value.dtype == torch.float32 for value in one.network.parameters())


@pytest.mark.parametrize("mixing", ["augment.mixup=0.5", "augment.cutmix=1"])
def test_mixed_images_train(mixing: str) -> None:
    one, plain = made(mixing), made()
    for each in (one, plain):
        each.begin_epoch(1)
    mixed = one.take([batch(8)], 0).result()
    assert np.isfinite(mixed.loss)
    assert mixed.loss != plain.take([batch(8)], 0).result().loss


def test_several_labels_an_image_train() -> None:
    one = made(multi_label=True)
    labels = torch.tensor([[1.0, 1.0, 0.0], [0.0, 0.0, 1.0], [0.0, 0.0, 0.0], [1.0, 0.0, 0.0]])
    images = batch(4)._replace(labels=labels)
    one.begin_epoch(1)
    result = one.take([images], 0).result()
    assert 0 <= result.hits <= 3
    assert np.isfinite(result.loss)


@takes_a_compiler
@pytest.mark.filterwarnings("ignore:`torch.jit:DeprecationWarning")
def test_a_compiled_network_trains_alike() -> None:
    network = two_blocks(3)
    eager = made("optimizer.lr=1e-4", network=copy.deepcopy(network))
    compiled = made("optimizer.lr=1e-4", "compile=true", network=network)
    losses = []
    for each in (eager, compiled):
        each.begin_epoch(1)
        losses.append([each.take([batch(8)], step).result().loss for step in range(3)])
    assert losses[0] == pytest.approx(losses[1], rel=0.1)
    assert losses[0][0] == pytest.approx(losses[1][0], rel=1e-4)
    assert list(weights(eager)) == list(weights(compiled))


class Waits(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Counts how often a number is asked of the device, for which a GPU would have to be done."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.count = 0

    def __torch_dispatch__(
        self,
        func: Any,
        types: Sequence[type],
        args: tuple[Any, ...] = (),
        kwargs: dict[str, Any] | None = None,
    ) -> Any:
        self.count += func is torch.ops.aten._local_scalar_dense.default
        return func(*args, **(kwargs or {}))


@pytest.mark.parametrize("multi_label", [False, True])
def test_steps_do_not_wait_for_the_device(multi_label: bool) -> None:
    one = made("ema.decay=0.9", "optimizer.clip_norm=1", multi_label=multi_label)
    images = batch(8)
    if multi_label:
        images = images._replace(labels=torch.eye(3)[images.labels])
    one.begin_epoch(1)
    with Waits() as waits:
        outputs = [one.take([images, images], step) for step in range(3)]
        assert waits.count == 0
        assert one.is_finite()
        assert waits.count == 1
        float(outputs[0].losses[0])
        assert waits.count == 2
    results = read_results(outputs)
    assert results == [output.result() for output in outputs]
    assert [result.images for result in results] == [16] * 3


def test_the_moving_average_equals_pytorchs() -> None:
    def averaging(old: Any, new: Any, updates: torch.Tensor | int) -> None:
        count = int(updates)
        if old[0].is_floating_point():
            torch._foreach_lerp_(old, new, 1 - min(0.9, (1 + count) / (10 + count)))
        else:
            for mine, theirs in zip(old, new, strict=True):
                mine.copy_(theirs)

    one = made("optimizer.lr=0.001")
    ours = MovingAverage(one.network, 0.9)
    theirs = AveragedModel(one.network, multi_avg_fn=averaging, use_buffers=True)
    one.begin_epoch(1)
    for step in range(3):
        one.take([batch(8, step)], step)
        ours.update(one.network)
        theirs.update_parameters(one.network)
    expected = theirs.module.state_dict()
    for key, value in ours.module.state_dict().items():
        assert torch.equal(value, expected[key]), key
    assert ours.updates == int(theirs.n_averaged) == 3


def test_auto_precision_is_one_that_the_machine_multiplies_natively(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    cpu = torch.device("cpu")
    for capabilities, expected in [
        ({"avx512_bf16": True}, "bf16"),
        ({"amx_bf16": True}, "bf16"),
        ({"avx2": True, "avx512_bf16": False}, "fp32"),
        ({}, "fp32"),
    ]:
        monkeypatch.setattr(
            torch.cpu, "get_capabilities", lambda found=capabilities: found, raising=False
        )
        assert resolve("auto", cpu) == expected
    assert resolve("fp16", cpu) == "fp16"


def test_frozen_layers_stay_as_they_were_for_their_epochs(shapes: Path, tmp_path: Path) -> None:
    settings = [*TINY, "epochs=2", "freeze.backbone_epochs=1"]
    source = open_source(str(shapes))
    trainer = Trainer(source, "MobileNetV2_x0_25", Recipe.load(overrides=settings), tmp_path)
    before = weights(trainer.train_step)
    trainer.train_step.begin_epoch(1)
    for step, images in enumerate(trainer.train_loader.batches(1)):
        trainer.train_step.take([images], step)
    after = weights(trainer.train_step)
    assert all(
        torch.equal(after[key], value) != key.startswith("classifier.")
        for key, value in before.items()
    )
    trainer.train_step.begin_epoch(2)
    trainer.train_step.take([next(trainer.train_loader.batches(2))], 4)
    assert not torch.equal(
        weights(trainer.train_step)["stem.conv.weight"], before["stem.conv.weight"]
    )
