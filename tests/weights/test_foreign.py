"""Weights of networks that are none of ours: refused, with what they are nearest to."""

import sys
import types
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor

from conftest import Run
from fleetnet.errors import CheckpointError
from fleetnet.models import MODELS, build_model
from fleetnet.models.mobilenetv2 import mobilenetv2_setting
from fleetnet.models.names import CLOVAAI, PADDLE, TIMM, TORCHVISION, Part, conv_norm
from fleetnet.models.network import MobileNetwork, NetworkSetting, family
from fleetnet.models.registry import NAMES, ModelEntry, register
from fleetnet.weights.adapter import Adapter, adapters
from fleetnet.weights.create import create_model
from fleetnet.weights.identify import from_ours, match
from fleetnet.weights.read import read_weights

State = dict[str, Tensor]


def conv(name: str, *shape: int) -> State:
    return {f"{name}.weight": torch.zeros(shape)}


def norm(name: str, width: int) -> State:
    leaves = ("weight", "bias", "running_mean", "running_var")
    return {f"{name}.{leaf}": torch.ones(width) for leaf in leaves}


def resnet() -> State:
    """The names and shapes of torchvision's and timm's ``resnet18``."""
    state = conv("conv1", 64, 3, 7, 7) | norm("bn1", 64)
    width = 64
    for stage, channels in enumerate((64, 128, 256, 512), start=1):
        for block in range(2):
            name = f"layer{stage}.{block}"
            state |= conv(f"{name}.conv1", channels, width, 3, 3) | norm(f"{name}.bn1", channels)
            state |= conv(f"{name}.conv2", channels, channels, 3, 3) | norm(f"{name}.bn2", channels)
            if width != channels:
                state |= conv(f"{name}.downsample.0", channels, width, 1, 1)
                state |= norm(f"{name}.downsample.1", channels)
            width = channels
    return state | {"fc.weight": torch.zeros(1000, 512), "fc.bias": torch.zeros(1000)}


def part_of_resnet() -> State:
    """Its first stage, none of whose names is a layer's of a network here."""
    return {name: value for name, value in resnet().items() if name.startswith("layer1.")}


def transformer() -> State:
    """Names that are not even like those of a network here."""
    return {"patches.0.weight": torch.zeros(3, 3), "tokens": torch.zeros(2)}


def mobilenetv3() -> State:
    """Names as timm's MobileNetV3 has them, which share many with its MobileNetV2, but not all."""
    state = conv("conv_stem", 16, 3, 3, 3) | norm("bn1", 16)
    for block, width in (("blocks.0.0", 16), ("blocks.1.0", 24), ("blocks.1.1", 24)):
        state |= conv(f"{block}.conv_pw", 64, width, 1, 1) | norm(f"{block}.bn1", 64)
        state |= conv(f"{block}.conv_dw", 64, 1, 3, 3) | norm(f"{block}.bn2", 64)
        state |= conv(f"{block}.se.conv_reduce", 24, 64, 1, 1)
        state |= conv(f"{block}.conv_pwl", width, 64, 1, 1) | norm(f"{block}.bn3", width)
    state |= conv("conv_head", 1280, 960, 1, 1)
    return state | {"classifier.weight": torch.zeros(1000, 1280), "classifier.bias": torch.ones(9)}


def changed() -> State:
    """Our own network, whose blocks compute something that has one layer more."""
    state = build_model("MobileNetV2_x0_25").state_dict()
    return state | conv("blocks.3.se.fc", 4, 4, 1, 1)


@pytest.mark.parametrize(
    ("foreign", "words"),
    [
        (resnet, "; nearest is "),
        (part_of_resnet, "; nearest is "),
        (lambda: conv("branch", 64, 3, 7, 7), "'fleetnet models' lists"),
        (transformer, "(2 entries: patches.0.weight, tokens); its names are like those of none"),
        (mobilenetv3, "; nearest is "),
        (changed, "nearest is MobileNetV2_x0_25 from Fleetnet: unexpected: blocks.3.se.fc.weight"),
        (
            lambda: {"a.b.weight": torch.zeros(3, 3), "c": torch.zeros(2)},
            "(2 entries: ",
        ),
    ],
)
def test_networks_of_no_family_are_refused_in_one_line(
    foreign: Callable[[], State], words: str, fleetnet: Run, tmp_path: Path
) -> None:
    file = tmp_path / "weights.safetensors"
    save_file(foreign(), file)
    assert match(foreign()) is None
    fleetnet("weights", "inspect", file).assert_one_line("fits no network known here", words)
    with pytest.raises(CheckpointError, match="fits no network"):
        create_model("MobileNetV2", weights=file)


def test_a_source_has_the_networks_of_the_families_that_name_it() -> None:
    """No source takes what it does not know for something that it knows."""
    for source, families in (
        (
            PADDLE,
            {
                *("ghostnet", "mobilenetv1", "mobilenetv2", "mobilenetv3", "mobilenetv4"),
                *("pplcnet", "rexnet", "shufflenetv2"),
            },
        ),
        (TORCHVISION, {"mobilenetv2", "mobilenetv3", "shufflenetv2"}),
        (CLOVAAI, {"rexnet"}),
    ):
        have = {
            entry.family for entry in MODELS.values() if Adapter(source).parts(entry) is not None
        }
        assert have == families


def tiny(
    num_classes: int = 1000,
    *,
    in_channels: int = 3,
    dropout: float = 0.0,
    drop_path: float = 0.0,
) -> MobileNetwork:
    return MobileNetwork(
        tiny_setting(), num_classes, in_channels=in_channels, dropout=dropout, drop_path=drop_path
    )


def tiny_setting() -> NetworkSetting:
    small = mobilenetv2_setting(0.25)
    return small._replace(blocks=small.blocks[:1], head=16)


def tiny_names() -> tuple[Part, ...]:
    return (
        *conv_norm("stem", "a", "b"),
        *conv_norm("blocks.0.expand", "c", "d"),
        *conv_norm("blocks.0.depthwise", "e", "f"),
        *conv_norm("blocks.0.project", "g", "h"),
        *conv_norm("head", "i", "j"),
        Part("classifier", "k", "linear"),
    )


FAMILY = family(tiny, tiny_setting, {TIMM: tiny_names})


@pytest.mark.slow
def test_a_users_family_needs_only_its_own_file(
    fleetnet: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    module = types.ModuleType("my_package.tiny")
    module.FAMILY = FAMILY  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "my_package.tiny", module)
    entry = ModelEntry("Tiny", "my_package.tiny")
    register(entry)
    try:
        network = build_model("tiny", 5, in_channels=1)
        theirs = from_ours(network.state_dict(), entry, Adapter(TIMM))
        assert "k.bias" in theirs
        # Nobody else has it: what is none of a source's families is not one of its others.
        for source in (PADDLE, TORCHVISION, CLOVAAI):
            assert Adapter(source).parts(entry) is None
            with pytest.raises(CheckpointError, match=f"{source.name} has no Tiny"):
                from_ours(network.state_dict(), entry, Adapter(source))
        save_file(theirs, tmp_path / "theirs.safetensors")
        file = read_weights(tmp_path / "theirs.safetensors")
        identity = file.identity
        assert (identity.entry, identity.adapter) == (entry, Adapter(TIMM))
        assert (identity.num_classes, identity.in_channels) == (5, 1)
        assert '"Tiny"' in fleetnet("models", "--json").out
    finally:
        del MODELS["Tiny"], NAMES["Tiny"]


def test_every_source_has_a_word_of_its_own() -> None:
    words = adapters()
    assert list(words)[:5] == ["fleetnet", "paddle", "timm", "torchvision", "clovaai"]
    assert all(adapter.source.word == word for word, adapter in words.items())


@pytest.mark.parametrize("where", ["config", "arch", "file"])
def test_a_network_with_the_same_names_that_computes_otherwise_is_refused(
    where: str, tmp_path: Path
) -> None:
    """timm's own ``efficientnet_lite0`` pads on both sides."""
    name = "EfficientNet_Lite0"
    with torch.device("meta"):
        state = build_model(name, 3).state_dict()
    zeros = {key: torch.zeros(value.shape) for key, value in state.items()}
    theirs = from_ours(zeros, MODELS[name], Adapter(TIMM))
    path = tmp_path / "weights.pth"
    if where == "config":
        path = tmp_path / "model.safetensors"
        save_file(theirs, path)
        (tmp_path / "config.json").write_text('{"architecture": "efficientnet_lite0"}')
        path = tmp_path
    elif where == "arch":
        torch.save({"arch": "efficientnet_lite0", "state_dict": theirs}, path)
    else:
        path = tmp_path / "efficientnet_lite0_ra-37913777.pth"
        torch.save(theirs, path)
    with pytest.raises(CheckpointError, match="pads its convolutions") as error:
        read_weights(path)
    assert "has the names and shapes of EfficientNet_Lite0" in str(error.value)
    if where == "arch":
        torch.save({"arch": "tf_efficientnet_lite0", "state_dict": theirs}, path)
        assert read_weights(path).identity.entry.name == name
