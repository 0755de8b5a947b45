"""What a step does, whatever the run around it."""

import copy
from pathlib import Path

import numpy as np
import pytest
import torch

from compiling import takes_a_compiler, two_blocks
from fleetnet.data.loader import Batch
from fleetnet.data.sources import open_source
from fleetnet.models.base import Network
from fleetnet.models.registry import build_model
from fleetnet.preprocess import Preprocess
from fleetnet.training.learner import Learner
from fleetnet.training.precision import resolve
from fleetnet.training.recipe import Recipe
from fleetnet.training.trainer import Trainer
from samples import TINY


def learner(
    *settings: str, classes: int = 3, multi_label: bool = False, network: Network | None = None
) -> Learner:
    torch.manual_seed(0)
    recipe = Recipe.load(
        overrides=[*TINY, "precision=fp32", "schedule.warmup_epochs=0", "ema.decay=0", *settings]
    )
    return Learner(
        network or build_model("MobileNetV2_x0_25", classes, dropout=0.0),
        recipe,
        Preprocess(resize=36, crop=32),
        counts=[4] * classes,
        multi_label=multi_label,
        steps_per_epoch=4,
    )


def batch(images: int, seed: int = 0, classes: int = 3) -> Batch:
    rng = np.random.default_rng(seed)
    pixels = torch.from_numpy(rng.integers(0, 256, (images, 32, 32, 3), dtype=np.uint8))
    labels = torch.from_numpy(rng.integers(0, classes, images))
    return Batch(pixels, labels, (), torch.arange(images))


def part(whole: Batch, rows: slice) -> Batch:
    return Batch(whole.pixels[rows], whole.labels[rows], (), whole.indices[rows])


def weights(of: Learner) -> dict[str, torch.Tensor]:
    return {key: value.clone() for key, value in of.network.state_dict().items()}


def test_gradients_of_several_batches_make_the_step_of_one_large_batch() -> None:
    whole = batch(8)
    one, several = learner(), learner()
    for each in (one, several):
        each.begin_epoch(1)
        each.network.eval()  # batch norm would see other batches
    large = one.step([whole], 0)
    small = several.step([part(whole, slice(0, 5)), part(whole, slice(5, 8))], 0)
    assert small.images == large.images == 8
    assert small.hits == large.hits
    assert small.loss == pytest.approx(large.loss, rel=1e-5)
    for key, value in weights(one).items():
        torch.testing.assert_close(value, weights(several)[key], rtol=1e-4, atol=1e-6)


def test_clipping_bounds_the_step() -> None:
    plain = ["optimizer.momentum=0", "optimizer.weight_decay=0"]
    free, clipped = learner(*plain), learner(*plain, "optimizer.clip_norm=0.001")
    moved = []
    for each in (free, clipped):
        before = weights(each)
        each.begin_epoch(1)
        each.step([batch(8)], 0, lr=1.0)
        parameters = dict(each.network.named_parameters())
        squares = [(parameters[key].detach() - before[key]).square().sum() for key in parameters]
        moved.append(float(torch.stack(squares).sum().sqrt()))
    assert moved[1] < 0.002 < moved[0]


@pytest.mark.parametrize("precision", ["bf16", "fp16"])
@pytest.mark.slow
def test_other_precisions_train(precision: str) -> None:
    one = learner(f"precision={precision}", "optimizer.lr=0.003")
    one.begin_epoch(1)
    one.network.eval()  # norms of eight images of noise would make much of what is rounded
    losses = [one.step([batch(8)], step).loss for step in range(12)]
    assert np.isfinite(losses).all()
    assert min(losses[-3:]) < losses[0]
    assert one.is_finite()
    assert all(value.dtype == torch.float32 for value in one.network.parameters())


@pytest.mark.parametrize("mixing", ["augment.mixup=0.5", "augment.cutmix=1"])
def test_mixed_images_train(mixing: str) -> None:
    one, plain = learner(mixing), learner()
    for each in (one, plain):
        each.begin_epoch(1)
    mixed = one.step([batch(8)], 0)
    assert np.isfinite(mixed.loss)
    assert mixed.loss != plain.step([batch(8)], 0).loss


def test_several_labels_an_image_train() -> None:
    one = learner(multi_label=True)
    labels = torch.tensor([[1.0, 1.0, 0.0], [0.0, 0.0, 1.0], [0.0, 0.0, 0.0], [1.0, 0.0, 0.0]])
    images = batch(4)._replace(labels=labels)
    one.begin_epoch(1)
    result = one.step([images], 0)
    assert 0 <= result.hits <= 3
    assert np.isfinite(result.loss)


@takes_a_compiler
@pytest.mark.filterwarnings("ignore:`torch.jit:DeprecationWarning")
def test_a_compiled_network_trains_alike() -> None:
    network = two_blocks(3)
    eager = learner("optimizer.lr=1e-4", network=copy.deepcopy(network))
    compiled = learner("optimizer.lr=1e-4", "compile=true", network=network)
    losses = []
    for each in (eager, compiled):
        each.begin_epoch(1)
        losses.append([each.step([batch(8)], step).loss for step in range(3)])
    assert losses[0] == pytest.approx(losses[1], rel=0.1)
    assert losses[0][0] == pytest.approx(losses[1][0], rel=1e-4)
    assert list(weights(eager)) == list(weights(compiled))


def test_auto_is_what_the_machine_multiplies_itself(monkeypatch: pytest.MonkeyPatch) -> None:
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
    before = weights(trainer.learner)
    trainer.learner.begin_epoch(1)
    for step, images in enumerate(trainer.train_loader.epoch(1)):
        trainer.learner.step([images], step)
    after = weights(trainer.learner)
    assert all(
        torch.equal(after[key], value) != key.startswith("classifier.")
        for key, value in before.items()
    )
    trainer.learner.begin_epoch(2)
    trainer.learner.step([next(trainer.train_loader.epoch(2))], 4)
    assert not torch.equal(weights(trainer.learner)["stem.conv.weight"], before["stem.conv.weight"])
