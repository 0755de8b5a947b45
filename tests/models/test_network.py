import itertools
import math

import pytest
import torch
from torch import nn

from fleetnet.errors import ModelError
from fleetnet.models import build_model
from fleetnet.models.layers import ConvNormAct, DropPath, InvertedResidual
from fleetnet.models.network import MobileNetwork

SMALL = (
    "MobileNetV2_x0_25",
    "mobilenetv2_035",
    "ReXNet_1_0",
    "ReXNet_lite_1_0",
    "EfficientNet_Lite0",
    "MobileNetV3_small_x0_35",
    "mobilenet_v3_small",
)


@pytest.fixture(scope="module", params=SMALL)
def network(request: pytest.FixtureRequest) -> MobileNetwork:
    torch.manual_seed(0)
    return randomise(build(request.param, 7)).eval()


def build(name: str, classes: int, **arguments: float) -> MobileNetwork:
    network = build_model(name, classes, **arguments)
    assert isinstance(network, MobileNetwork)
    return network


def randomise(network: MobileNetwork) -> MobileNetwork:
    """Give batch norm random statistics, because fresh ones hide mistakes."""
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d | nn.BatchNorm1d):
            nn.init.normal_(module.running_mean, 0, 0.1)  # type: ignore[arg-type]
            nn.init.uniform_(module.running_var, 0.5, 1.5)  # type: ignore[arg-type]
    return network


def images(count: int = 2, size: int = 64) -> torch.Tensor:
    return torch.randn(count, 3, size, size, generator=torch.Generator().manual_seed(1))


def test_shapes_of_features_embedding_and_logits(network: MobileNetwork) -> None:
    x = images()
    with torch.no_grad():
        features = network.forward_features(x)
        embedding = network.embedding(x)
        logits = network(x)
    assert features.shape == (2, network.num_features, 2, 2)
    assert embedding.shape == (2, network.num_features)
    assert torch.allclose(embedding, features.mean((2, 3)))
    assert logits.shape == (2, 7)


def test_odd_image_sizes(network: MobileNetwork) -> None:
    with torch.no_grad():
        assert network(images(size=75)).shape == (2, 7)


def test_channels_last_gives_the_same_logits(network: MobileNetwork) -> None:
    x = images()
    with torch.no_grad():
        plain = network(x)
        network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        last = network(x.contiguous(memory_format=torch.channels_last))
        network.to(memory_format=torch.contiguous_format)  # type: ignore[call-overload]
    assert torch.allclose(plain, last, atol=1e-4)


def test_autocast_gives_nearly_the_same_embedding(network: MobileNetwork) -> None:
    x = images()
    with torch.no_grad():
        plain = network.embedding(x)
        with torch.autocast("cpu", torch.bfloat16):
            cast = network.embedding(x)
            assert network(x).dtype == torch.bfloat16
    assert float(torch.cosine_similarity(plain, cast.float()).min()) > 0.99


@pytest.mark.slow
def test_torch_export_keeps_the_answers(network: MobileNetwork) -> None:
    x = images()
    batch = torch.export.Dim("batch")
    exported = torch.export.export(network, (x,), dynamic_shapes=({0: batch},))
    wider = images(3)
    with torch.no_grad():
        assert torch.allclose(exported.module()(wider), network(wider), atol=1e-4)


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("name", ["MobileNetV2_x0_25", "ReXNet_1_0"])
def test_torch_compile_captures_the_whole_graph(name: str) -> None:
    network = randomise(build(name, 7)).eval()
    # Inductor's own compilation is PyTorch's to test; that there is one graph is ours.
    compiled = torch.compile(network, fullgraph=True, backend="aot_eager")
    x = images()
    with torch.no_grad():
        assert torch.allclose(compiled(x), network(x), atol=1e-4)
    torch.compiler.reset()


def test_in_channels() -> None:
    network = build("MobileNetV2_x0_25", 2, in_channels=1)
    assert network(torch.zeros(2, 1, 32, 32)).shape == (2, 2)


def test_drop_path_grows_linearly_to_the_last_block() -> None:
    network = build("ReXNet_1_0", 2, drop_path=0.3)
    rates = [
        block.drop_path.rate for block in network.blocks if isinstance(block, InvertedResidual)
    ]
    assert rates[0] == 0.0
    assert rates[-1] == pytest.approx(0.3)
    steps = [after - before for before, after in itertools.pairwise(rates)]
    assert steps == pytest.approx([0.3 / 15] * 15)


def test_drop_path_keeps_the_mean_and_drops_whole_samples() -> None:
    torch.manual_seed(0)
    drop = DropPath(0.25).train()
    out = drop(torch.ones(4000, 2, 3, 3))
    per_sample = out.flatten(1)
    assert torch.all((per_sample == 0).all(1) | (per_sample == 1 / 0.75).all(1))
    assert float(out.mean()) == pytest.approx(1.0, abs=0.05)
    assert torch.equal(drop.eval()(out), out)


def test_dropout_is_the_familys_own_unless_given() -> None:
    assert build("MobileNetV2", 2).dropout.p == 0.0
    assert build("ReXNet_1_0", 2).dropout.p == 0.2
    assert build("ReXNet_1_0", 2, dropout=0.5).dropout.p == 0.5


def test_initialisation_is_he_by_fan_out() -> None:
    torch.manual_seed(0)
    network = build("MobileNetV2", 1000)
    head = network.head.conv.weight.detach()
    assert float(head.std()) == pytest.approx(math.sqrt(2 / 1280), rel=0.02)
    depthwise = torch.cat(
        [
            block.depthwise.conv.weight.detach().flatten()
            for block in network.blocks
            if isinstance(block, InvertedResidual)
        ]
    )
    assert float(depthwise.std()) == pytest.approx(math.sqrt(2 / 9), rel=0.02)
    assert float(network.classifier.weight.detach().std()) == pytest.approx(0.01, rel=0.02)
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d):
            assert torch.all(module.weight == 1)
            assert torch.all(module.bias == 0)


def test_the_shortcut_adds_the_input_to_the_first_channels() -> None:
    block = InvertedResidual(
        3, 5, hidden=18, stride=1, expand=True, squeezed=0, shortcut=True, expand_act=nn.SiLU
    ).eval()
    x = torch.randn(1, 3, 8, 8)
    with torch.no_grad():
        block.project.norm.weight.zero_()
        block.project.norm.bias.fill_(2.0)
        y = block(x)
    assert torch.allclose(y[:, :3], x + 2)
    assert torch.allclose(y[:, 3:], torch.full((1, 2, 8, 8), 2.0))


@pytest.mark.parametrize("name", ["MobileNetV2_x0_25", "ReXNet_1_0", "ReXNet_lite_1_0"])
def test_zeroed_residuals_leave_the_shortcuts_alone(name: str) -> None:
    network = build(name, 2)
    network.zero_residuals()
    network.eval()
    blocks = [block for block in network.blocks if isinstance(block, InvertedResidual)]
    shortcuts = [block for block in blocks if block.shortcut]
    assert shortcuts
    for block in shortcuts:
        first = block.expand if isinstance(block.expand, ConvNormAct) else block.depthwise
        x = torch.randn(1, first.conv.in_channels, 8, 8)
        with torch.no_grad():
            y = block(x)
        assert torch.equal(y[:, : x.shape[1]], x)
        assert not y[:, x.shape[1] :].any()
    # What has no shortcut would pass nothing on.
    rest = [block for block in blocks if not block.shortcut]
    assert all(block.project.norm.weight.eq(1).all() for block in rest)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"num_classes": 0}, "num_classes"),
        ({"num_classes": 10**9}, "num_classes"),
        ({"drop_pat": 0.1}, "'drop_path'"),
        ({"dropout": 1.0}, "dropout"),
        ({"in_channels": 0}, "in_channels"),
    ],
)
def test_wrong_arguments_are_named(arguments: dict[str, float], words: str) -> None:
    with pytest.raises(ModelError, match=words):
        build_model("MobileNetV2", **arguments)  # type: ignore[arg-type]
