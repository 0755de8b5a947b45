"""Taking channels out of a network: which go, and that the narrow network is what is left."""

from pathlib import Path
from typing import cast

import numpy as np
import pytest
import torch
from torch import nn

from fleetnet.data.sources import open_source
from fleetnet.errors import ModelError
from fleetnet.models.layers import ConvNormAct, InvertedResidual
from fleetnet.models.network import MobileNetwork, measure_structure
from fleetnet.models.registry import add_described, build_model, entries, find_model
from fleetnet.reporting import Advance
from fleetnet.training.checkpoint import Checkpoint

pytest.importorskip("torch_pruning")

from fleetnet.training.pruning import Importance
from fleetnet.training.pruning.channels import LEAST_OF_A_LAYER, MULTIPLE, prune
from fleetnet.training.pruning.run import narrower, recipe_of

SIZE = 64
CHAINS = (
    "MobileNetV2_x0_25", "mobilenetv2_035", "ReXNet_1_0", "ReXNet_lite_1_0",
    "MobileNetV3_small_x0_35", "EfficientNet_Lite0",
)  # fmt: skip


def trained(name: str, classes: int = 5) -> MobileNetwork:
    """Return a network whose batch norms have statistics of their own, and gradients."""
    torch.manual_seed(3)
    network = build_model(name, classes)
    assert isinstance(network, MobileNetwork)
    for layer in network.modules():
        if isinstance(layer, nn.BatchNorm2d):
            layer.running_mean = torch.randn(layer.num_features) * 0.1
            layer.running_var = torch.rand(layer.num_features) + 0.5
            nn.init.uniform_(layer.weight, 0.5, 1.5)
    network.eval()
    network(torch.randn(2, 3, SIZE, SIZE)).square().sum().backward()
    return network


@pytest.mark.parametrize("name", CHAINS)
def test_the_narrow_network_computes_what_is_left_of_the_wide_one(name: str) -> None:
    network, entry = trained(name), find_model(name)
    before = measure_structure(network, size=SIZE)
    found = prune(network, entry, SIZE, 0.6, "taylor")
    assert found.before == before
    assert 0.5 * before.macs < found.after.macs <= 0.6 * before.macs
    narrow = build_model(found.entry.name, 5)
    assert measure_structure(narrow, size=SIZE) == found.after
    narrow.load_state_dict(found.state)
    images = torch.randn(3, 3, SIZE, SIZE)
    with torch.no_grad():
        assert torch.equal(narrow.eval()(images), network(images))
    assert found.entry.size == entry.size


def blocks(network: MobileNetwork) -> list[InvertedResidual]:
    return [block for block in network.blocks if isinstance(block, InvertedResidual)]


def hide(layers: InvertedResidual, channels: list[int]) -> None:
    """Give channels inside a block no part in the answer."""
    with torch.no_grad():
        layers.project.conv.weight[:, channels] = 0
        for layer in (layers.expand, layers.depthwise):
            assert isinstance(layer, ConvNormAct)
            for values in (layer.conv.weight, layer.norm.weight, layer.norm.bias):
                values[channels] = 0


@pytest.mark.parametrize("importance", ["taylor", "magnitude"])
def test_channels_without_a_part_in_the_answer_go_first(importance: Importance) -> None:
    name = "mobilenetv2_035"
    network = trained(name)
    wide = len(blocks(network)[5].project.conv.weight[0])
    useless = [number for number in range(wide) if number % 2]
    hide(blocks(network)[5], useless)
    network.zero_grad()
    images = torch.randn(3, 3, SIZE, SIZE)
    answers = network(images)
    answers.square().sum().backward()
    macs = measure_structure(network, size=SIZE).macs
    # As much as those take, and not one more channel of another layer.
    area = (SIZE // 16) ** 2
    layer = blocks(network)[5]
    assert isinstance(layer.expand, ConvNormAct)
    each = layer.expand.conv.in_channels + 9 + layer.project.conv.out_channels
    share = 1 - area * each * len(useless) / macs
    found = prune(network, find_model(name), SIZE, share + 1e-9, importance)
    description = found.entry.arguments["description"]
    assert description.hidden[5] == wide - len(useless)
    narrow = build_model(found.entry.name, 5)
    narrow.load_state_dict(found.state)
    torch.testing.assert_close(narrow.eval()(images), answers, rtol=1e-5, atol=1e-5)


def test_what_goes_at_random_depends_on_nothing_but_the_seed() -> None:
    name = "MobileNetV2_x0_25"

    def left(seed: int) -> dict[str, torch.Tensor]:
        network = trained(name)
        hide(blocks(network)[5], [0, 1, 2])
        torch.manual_seed(seed)
        return prune(network, find_model(name), SIZE, 0.7, "random").state

    first, again, other = left(1), left(1), left(2)
    assert all(torch.equal(value, again[key]) for key, value in first.items())
    assert any(
        value.shape != other[key].shape or not torch.equal(value, other[key])
        for key, value in first.items()
    )


def test_no_layer_is_cut_through_and_widths_are_multiples() -> None:
    name = "ReXNet_1_0"
    network = trained(name)
    wide = [block.project.conv.in_channels for block in blocks(network)]
    found = prune(network, find_model(name), SIZE, 0.25, "magnitude")
    for before, after in zip(wide, found.entry.arguments["description"].hidden, strict=True):
        assert after >= LEAST_OF_A_LAYER * before
        assert after % MULTIPLE == 0 or after == before


def test_pruning_again_narrows_the_same_network() -> None:
    name = "MobileNetV2_x0_25"
    once = prune(trained(name), find_model(name), SIZE, 0.8, "magnitude")
    again = prune(trained(once.entry.name), once.entry, SIZE, 0.8, "magnitude")
    first, second = (one.entry.arguments["description"] for one in (once, again))
    assert first.narrows == second.narrows == name
    assert all(np.less_equal(second.hidden, first.hidden))
    assert again.after.macs <= 0.8 * once.after.macs


def test_a_network_in_settings_is_pruned_with_its_settings() -> None:
    rows = [{"channels": 8, "expand": 1}, {"channels": 16, "stride": 2, "squeeze": 4}]
    entry = add_described({"name": "mine", "size": 32, "stem": 8, "blocks": rows}, "here")
    found = prune(trained(entry.name), entry, 32, 0.7, "magnitude")
    description = found.entry.arguments["description"]
    assert description.base == entry.arguments["description"]
    assert add_described(description.to_values(), "elsewhere") is found.entry


@pytest.mark.parametrize(
    ("name", "macs", "message"),
    [
        ("GhostNet_x0_5", 0.5, "is no chain of inverted residuals"),
        ("MobileNetV2_x0_25", 0.05, "begin with a narrower network"),
    ],
)
def test_what_cannot_be_pruned_is_refused(name: str, macs: float, message: str) -> None:
    network = cast("MobileNetwork", build_model(name, 5).eval())
    with pytest.raises(ModelError, match=message):
        prune(network, find_model(name), SIZE, macs, "magnitude")


def test_too_small_a_share_is_refused_before_an_image_is_read(
    run_folder: Path, shapes: Path
) -> None:
    def begin(description: str, total: int) -> Advance:
        raise AssertionError(f"{description} of {total} images")

    checkpoint = Checkpoint.load(run_folder / "last.ckpt")
    recipe = recipe_of(checkpoint, [])
    with pytest.raises(ModelError, match="keep more"):
        narrower(checkpoint, open_source(str(shapes)), recipe, 0.01, "magnitude", begin)


WIDE = {"narrows": "MobileNetV2_x0_25", "hidden": [8] * 17, "squeezed": [0] * 17, "head": 64}
WRONG = {
    "other network": ({**WIDE, "narrows": "MobileNetV9"}, "unknown model 'MobileNetV9'"),
    "no chain": ({**WIDE, "narrows": "GhostNet_x0_5"}, "is no chain of inverted residuals"),
    "blocks": ({**WIDE, "hidden": [8] * 3, "squeezed": [0] * 3}, "has 17 blocks"),
    "uneven": ({**WIDE, "squeezed": [0]}, "hidden has 17 numbers, squeezed 1"),
    "wider": ({**WIDE, "hidden": [4096] * 17}, "hidden.0 is 4096, not from 1 to 8"),
    "gates": ({**WIDE, "squeezed": [4] * 17}, "squeezed.0 is 4, not from 0 to 0"),
    "head": ({**WIDE, "head": 4096}, "head is 4096, not from 1 to"),
    "nothing": ({**WIDE, "head": 0}, "head: it must be at least 1"),
    "truth": ({**WIDE, "hidden": [True] * 17}, "hidden.0: it must be a whole number"),
    "base": ({**WIDE, "base": {"blocks": [{"channels": 8}]}}, "but describes another"),
}


@pytest.mark.parametrize("case", WRONG)
def test_settings_that_narrow_nothing_are_refused_in_a_line(case: str) -> None:
    values, message = WRONG[case]
    values = {"name": "hostile", **values}
    with pytest.raises(ModelError, match=message) as error:
        add_described(values, "narrow.yaml")
    assert "\n" not in str(error.value)
    # Nothing that goes through all networks meets it.
    assert not [entry for entry in entries() if entry.name.startswith("hostile")]
