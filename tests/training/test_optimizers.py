import itertools
from typing import Any

import peers
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from compiling import two_blocks
from fleetnet.models.registry import build_model
from fleetnet.training.freezing import freeze, frozen_stages
from fleetnet.training.losses import BinaryCrossEntropy, CrossEntropy, build_loss, class_weights
from fleetnet.training.optimizers import (
    RmsPropTF,
    build_optimizer,
    load_optimizer,
    parameter_groups,
)
from fleetnet.training.recipe import FreezeSettings, LossSettings, OptimizerSettings, Recipe
from fleetnet.training.schedules import Schedule

CPU = torch.device("cpu")


@pytest.mark.parametrize("weight_decay", [0.0, 1e-3])
def test_rmsprop_equals_timms_copy_of_tensorflows(weight_decay: float) -> None:
    peers.declare_torchvision_operators()
    from timm.optim.rmsprop_tf import RMSpropTF

    torch.manual_seed(0)
    start = [torch.randn(5, 3), torch.randn(7)]
    mine, theirs = ([nn.Parameter(value.clone()) for value in start] for _ in range(2))
    ours = RmsPropTF(mine, lr=0.05, alpha=0.9, momentum=0.9, eps=1e-3, weight_decay=weight_decay)
    peer = RMSpropTF(
        theirs,
        lr=0.05,
        alpha=0.9,
        momentum=0.9,
        eps=1e-3,
        weight_decay=weight_decay,
        decoupled_decay=False,
    )
    for step in range(20):
        for first, second in zip(mine, theirs, strict=True):
            first.grad = torch.sin(first.detach() * (step + 1))
            second.grad = torch.sin(second.detach() * (step + 1))
        for optimizer in (ours, peer):
            for group in optimizer.param_groups:
                group["lr"] = 0.05 / (step + 1)
            optimizer.step()
        for first, second in zip(mine, theirs, strict=True):
            torch.testing.assert_close(first, second, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize(
    ("name", "lr"), [("sgd", 0.02), ("adamw", 0.03), ("rmsprop", 0.01), ("lamb", 0.1)]
)
def test_every_optimiser_lowers_a_loss(name: str, lr: float) -> None:
    """A bowl, in which a wrong sign or a forgotten parameter shows and rounding does not."""
    torch.manual_seed(0)
    network = two_blocks(4).double()
    optimizer = build_optimizer(network, OptimizerSettings(name=name, lr=lr))
    parameters = list(network.parameters())
    bottom = [parameter.detach() + torch.randn_like(parameter) for parameter in parameters]
    first: list[float] = []
    last: list[float] = []
    for _ in range(25):
        losses = [
            (parameter - there).square().mean() / 2
            for parameter, there in zip(parameters, bottom, strict=True)
        ]
        optimizer.zero_grad()
        for loss, parameter in zip(losses, parameters, strict=True):
            (loss * parameter.numel()).backward()  # type: ignore[no-untyped-call]
        optimizer.step()
        last = [loss.item() for loss in losses]
        first = first or last
    assert all(low < 0.8 * high for low, high in zip(last, first, strict=True))


def test_each_parameter_is_in_one_group_and_decays_as_it_should() -> None:
    network = build_model("ReXNet_1_0", 10)
    groups = parameter_groups(network, OptimizerSettings(weight_decay=0.1))
    members = [id(parameter) for group in groups for parameter in group["params"]]
    assert sorted(members) == sorted(map(id, network.parameters()))
    assert {group["lr_scale"] for group in groups} == {1.0}
    for group in groups:
        assert all((p.ndim > 1) == (group["weight_decay"] > 0) for p in group["params"])
    everything = OptimizerSettings(weight_decay=0.1, decay_norm_and_bias=True)
    assert {g["weight_decay"] for g in parameter_groups(network, everything)} == {0.1}


def test_layer_decay_slows_the_layers_near_the_image() -> None:
    network = build_model("MobileNetV2_x0_5", 10)
    groups = parameter_groups(network, OptimizerSettings(layer_decay=0.5))
    scale = {id(p): group["lr_scale"] for group in groups for p in group["params"]}
    stages = network.stages()
    for number, stage in enumerate(stages):
        expected = 0.5 ** (len(stages) - 1 - number)
        assert all(scale[id(parameter)] == expected for parameter in stage.parameters())
    assert scale[id(network.get_parameter("classifier.weight"))] == 1.0


def schedule(epochs: int, *settings: str) -> Schedule:
    return Schedule(Recipe.load(overrides=[f"epochs={epochs}", "optimizer.lr=0.4", *settings]), 10)


def test_cosine_warms_up_to_the_peak_and_ends_at_the_final_rate() -> None:
    cosine = schedule(10, "schedule.warmup_epochs=2", "schedule.final_lr=0.002")
    rates = [cosine.lr_at(step) for step in range(101)]
    assert all(before < after for before, after in itertools.pairwise(rates[:21]))
    assert rates[20] == pytest.approx(0.4)
    assert all(before > after for before, after in itertools.pairwise(rates[20:]))
    assert rates[100] == pytest.approx(0.002)


def test_steps_drop_at_their_epochs() -> None:
    steps = ["schedule.name=step", "schedule.warmup_epochs=0"]
    milestones = schedule(120, *steps, "schedule.milestones=[30, 60, 90]")
    rates = [milestones.lr_at(epoch * 10) for epoch in (0, 29, 30, 60, 90, 119)]
    assert rates == pytest.approx([0.4, 0.4, 0.04, 0.004, 0.0004, 0.0004])
    every = schedule(10, *steps, "schedule.every=2.4", "schedule.gamma=0.97")
    for step, drops in [(0, 0), (23, 0), (24, 1), (47, 1), (48, 2), (72, 3)]:
        assert every.lr_at(step) == pytest.approx(0.4 * 0.97**drops)


def test_polynomial_and_one_cycle() -> None:
    line = schedule(10, "schedule.name=polynomial", "schedule.warmup_epochs=0")
    assert [line.lr_at(step) for step in (0, 50, 100)] == pytest.approx([0.4, 0.2, 0.0])
    cycle = schedule(10, "schedule.name=one-cycle", "schedule.warmup_epochs=3")
    rates = [cycle.lr_at(step) for step in range(101)]
    assert max(rates) == pytest.approx(0.4)
    assert rates.index(max(rates)) == 30
    assert rates[0] < 0.05
    assert rates[100] == pytest.approx(0)
    moments = [cycle.momentum_at(step) for step in (0, 30, 100)]
    assert moments == pytest.approx([0.95, 0.85, 0.95], abs=1e-3)
    network = build_model("MobileNetV2_x0_25", 2)
    for settings, key in [({"name": "sgd"}, "momentum"), ({"name": "adamw"}, "betas")]:
        optimizer = build_optimizer(network, OptimizerSettings(**settings))
        cycle.apply(optimizer, 30)
        value: Any = optimizer.param_groups[0][key]
        assert (value[0] if key == "betas" else value) == pytest.approx(0.85)


@given(
    st.sampled_from(["cosine", "step", "polynomial", "one-cycle"]),
    st.integers(1, 30),
    st.floats(0, 40),
    st.floats(0, 0.4),
)
def test_a_learning_rate_is_never_above_the_peak_nor_below_zero(
    name: str, epochs: int, warmup: float, final: float
) -> None:
    settings = [f"schedule.name={name}", f"schedule.warmup_epochs={warmup}"]
    one = schedule(epochs, *settings, f"schedule.final_lr={final}", "schedule.every=3")
    for step in range(epochs * 10 + 1):
        assert 0 <= one.lr_at(step) <= 0.4 + 1e-12


def test_balanced_weights_count_each_class_alike() -> None:
    weights = class_weights([90, 10])
    assert weights.tolist() == pytest.approx([100 / 180, 100 / 20])
    assert torch.isfinite(class_weights([5, 0])).all()


def test_losses_take_classes_and_probabilities_alike() -> None:
    torch.manual_seed(0)
    logits, labels = torch.randn(6, 4), torch.tensor([0, 1, 2, 3, 0, 1])
    one_hot = nn.functional.one_hot(labels, 4).float()
    for loss in (CrossEntropy(0.1, None), BinaryCrossEntropy(0.1, None, multi_label=False)):
        torch.testing.assert_close(loss(logits, labels), loss(logits, one_hot))


def test_binary_loss_is_the_mean_over_classes_smoothed() -> None:
    logits, labels = torch.zeros(1, 2), torch.tensor([0])
    expected = -(torch.tensor(0.5)).log()
    torch.testing.assert_close(
        BinaryCrossEntropy(0.2, None, multi_label=False)(logits, labels), expected
    )
    sure = torch.tensor([[20.0, -20.0]])
    smoothed = BinaryCrossEntropy(0.2, None, multi_label=True)(sure, torch.tensor([[1.0, 0.0]]))
    assert float(smoothed) == pytest.approx(0.1 * 20, rel=1e-5)


def test_multi_label_data_takes_the_binary_loss() -> None:
    loss = build_loss(LossSettings(), [3, 4], multi_label=True, device=CPU)
    assert isinstance(loss, BinaryCrossEntropy)
    assert loss.multi_label
    plain = build_loss(
        LossSettings(class_weights="balanced"), [1, 3], multi_label=False, device=CPU
    )
    assert isinstance(plain, CrossEntropy)
    assert plain.weights is not None


def test_layers_thaw_from_the_classifier_back() -> None:
    settings = FreezeSettings(backbone_epochs=2, block_epochs=1)
    assert [frozen_stages(settings, epoch, 5) for epoch in range(1, 9)] == [4, 4, 3, 2, 1, 0, 0, 0]
    at_once = FreezeSettings(backbone_epochs=3)
    assert [frozen_stages(at_once, epoch, 5) for epoch in (1, 3, 4)] == [4, 4, 0]
    assert frozen_stages(FreezeSettings(), 1, 5) == 0


def test_what_is_frozen_does_not_change() -> None:
    torch.manual_seed(0)
    network = build_model("MobileNetV2_x0_25", 3)
    frozen = freeze(network, FreezeSettings(backbone_epochs=1), 1)
    assert len(frozen) == len(network.stages()) - 1
    before = {key: value.clone() for key, value in network.state_dict().items()}
    optimizer = build_optimizer(network, OptimizerSettings(lr=0.1, weight_decay=0.1))
    loss = network(torch.randn(4, 3, 32, 32)).square().mean()
    loss.backward()
    optimizer.step()
    for key, value in network.state_dict().items():
        assert torch.equal(value, before[key]) != key.startswith("classifier."), key
    freeze(network, FreezeSettings(backbone_epochs=1), 2)
    assert all(p.requires_grad for p in network.parameters())
    assert all(module.training for module in network.modules())


@pytest.mark.parametrize("name", ["sgd", "adamw"])
@pytest.mark.parametrize("fused", [True, None])
def test_a_state_goes_on_with_the_kernels_of_the_device_at_hand(
    name: str, fused: bool | None
) -> None:
    """A run that is moved between a GPU, whose optimisers are fused, and a processor."""
    torch.manual_seed(0)
    kinds = {"sgd": torch.optim.SGD, "adamw": torch.optim.AdamW}
    parameters = [nn.Parameter(torch.randn(4)) for _ in range(2)]
    before = kinds[name](parameters, lr=0.1, fused=None if fused else True)
    after = kinds[name](parameters, lr=0.1, fused=fused)
    for optimizer in (before, after):
        for parameter in parameters:
            parameter.grad = torch.ones(4)
        if optimizer is after:
            load_optimizer(after, before.state_dict())
        optimizer.step()
    assert [group["fused"] for group in after.param_groups] == [fused]
    if name == "adamw":
        assert all(int(after.state[parameter]["step"]) == 2 for parameter in parameters)
    with pytest.raises(ValueError, match="argument"):
        load_optimizer(after, {**before.state_dict(), "param_groups": []})
