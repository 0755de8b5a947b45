"""The same input through the original network and ours gives the same logits."""

from pathlib import Path

import pytest
import torch
from peers import largest_difference, randomise, timm_network, torchvision_network
from safetensors.torch import save_file
from torch import nn

from fleetnet.models import MODELS, build_model
from fleetnet.weights import clovaai, timm, torchvision
from fleetnet.weights.adapter import Adapter
from fleetnet.weights.create import create_model
from fleetnet.weights.identify import ADAPTERS, OWN, from_ours, match, to_ours
from fleetnet.weights.read import read_weights

TIMM = {
    "mobilenetv2_035": "mobilenetv2_035",
    "mobilenetv2_050": "mobilenetv2_050",
    "mobilenetv2_075": "mobilenetv2_075",
    "mobilenetv2_100": "mobilenetv2_100",
    "mobilenetv2_140": "mobilenetv2_140",
    "mobilenetv2_110d": "mobilenetv2_110d",
    "mobilenetv2_120d": "mobilenetv2_120d",
    "rexnet_100": "ReXNet_1_0",
    "rexnet_130": "ReXNet_1_3",
    "rexnet_150": "ReXNet_1_5",
    "rexnet_200": "ReXNet_2_0",
    "rexnet_300": "ReXNet_3_0",
}
TORCHVISION = {0.35: "mobilenetv2_035", 1.0: "mobilenetv2_100", 1.4: "mobilenetv2_140"}


def check(original: nn.Module, ours: str, adapter: Adapter, path: Path) -> None:
    """Go from the original to ours and back, by a file."""
    torch.save(original.state_dict(), path)
    identity = match(read_weights(path).state)
    assert identity is not None
    assert identity.entry.name == ours
    assert identity.adapter is adapter
    network = create_model(ours, weights=path)
    difference, spread = largest_difference(original, network)
    assert spread > 0.1
    assert difference <= 1e-4
    back = from_ours(network.state_dict(), MODELS[ours], adapter)
    for key, value in original.state_dict().items():
        if not key.endswith("num_batches_tracked"):
            assert torch.equal(back[key], value), key


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize(("theirs", "ours"), TIMM.items())
def test_timm(theirs: str, ours: str, tmp_path: Path) -> None:
    check(timm_network(theirs), ours, timm.ADAPTER, tmp_path / "weights.pth")


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize(("width", "ours"), TORCHVISION.items())
def test_torchvision(width: float, ours: str, tmp_path: Path) -> None:
    check(torchvision_network(width), ours, torchvision.ADAPTER, tmp_path / "weights.pth")


@pytest.mark.parametrize(
    "name",
    [
        "ReXNet_1_0",
        pytest.param("ReXNet_3_0", marks=pytest.mark.slow),
        "ReXNet_lite_1_0",
        "ReXNet_lite_2_0",
    ],
)
def test_clovaai_names_round_trip(name: str) -> None:
    network = randomise(build_model(name))
    theirs = from_ours(network.state_dict(), MODELS[name], clovaai.ADAPTER)
    assert theirs["features.0.weight"].shape[1:] == (3, 3, 3)
    assert theirs[f"output.{4 if 'lite' in name else 1}.weight"].ndim == 4
    identity = match(theirs)
    assert identity is not None
    assert (identity.entry.name, identity.adapter) == (name, clovaai.ADAPTER)
    for key, value in to_ours(theirs, identity).items():
        assert torch.equal(value, network.state_dict()[key])


@pytest.mark.slow
@pytest.mark.parametrize("name", MODELS)
def test_every_layout_of_every_network_is_recognised(name: str) -> None:
    with torch.device("meta"):
        state = build_model(name, 7).state_dict()
    for adapter in (OWN, *ADAPTERS):
        if adapter.parts(MODELS[name]) is None:
            continue
        identity = match(from_ours(state, MODELS[name], adapter))
        assert identity is not None
        assert name in (identity.entry.name, *identity.also)
        assert identity.adapter is adapter
        assert identity.num_classes == 7


def test_safetensors(tmp_path: Path) -> None:
    network = randomise(build_model("mobilenetv2_035", 5))
    save_file(network.state_dict(), tmp_path / "w.safetensors")
    file = read_weights(tmp_path / "w.safetensors")
    assert file.format == "safetensors"
    loaded = create_model("mobilenetv2_035", 5, weights=tmp_path / "w.safetensors")
    assert largest_difference(network, loaded, 64)[0] == 0
