"""What every family owes the rest, and that the rest asks for nothing else."""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

import fleetnet
from fleetnet.errors import ModelError
from fleetnet.models import MODELS, build_model
from fleetnet.models.base import Network, Stage
from fleetnet.models.folding import fold_batch_norm, fold_input_scale
from fleetnet.models.names import OWN
from fleetnet.models.padding import pad_channels
from fleetnet.models.registry import family_of

SMALLEST = {
    family: min(
        (name for name, entry in MODELS.items() if entry.family == family),
        key=lambda name: tuple(str(value) for value in MODELS[name].arguments.values()),
    )
    for family in dict.fromkeys(entry.family for entry in MODELS.values())
}


@pytest.fixture(params=SMALLEST)
def network(request: pytest.FixtureRequest) -> Network:
    torch.manual_seed(0)
    return build_model(SMALLEST[request.param], 5).eval()


def test_every_parameter_is_in_one_stage(network: Network) -> None:
    stages = network.stages()
    inside = [parameter for stage in stages for parameter in stage.parameters()]
    assert len(inside) == len({id(parameter) for parameter in inside})
    assert {id(p) for p in inside} == {id(p) for p in network.parameters()}
    assert len({stage.name for stage in stages}) == len(stages)
    for stage in stages:
        for name, module in stage.modules.items():
            assert network.get_submodule(name) is module


def test_the_stages_are_in_the_order_data_flows(network: Network) -> None:
    """A hook on each sees them run in that order, and the layers as well."""
    ran: list[str] = []

    def note(name: str) -> None:
        if not ran or ran[-1] != name:
            ran.append(name)

    handles = [
        layer.register_forward_hook(lambda *_, name=name: note(name))
        for name, layer in network.layers().items()
    ]
    network(torch.randn(1, 3, 64, 64))
    for handle in handles:
        handle.remove()
    assert ran == list(network.layers())


def test_the_first_and_the_last_layer(network: Network) -> None:
    assert network.first_convolution.in_channels == 3
    (last,) = network.stages()[-1].modules.values()
    assert network.get_submodule(network.classifier_layer) is last
    assert isinstance(last, nn.Linear)
    assert last.out_features == network.num_classes == 5
    for name in network.classifier_parameters:
        assert network.get_parameter(name).shape[0] == 5


def test_features_lead_to_the_logits(network: Network) -> None:
    images = torch.randn(2, 3, 64, 64)
    with torch.no_grad():
        features = network.forward_features(images)
        assert features.shape[:2] == (2, network.num_features)
        assert torch.equal(network.classify(features), network(images))
        assert torch.equal(network.embedding(images), network.pool(features))


def test_the_classifier_can_be_replaced(network: Network) -> None:
    kept = {
        key: value.clone()
        for key, value in network.state_dict().items()
        if key not in network.classifier_parameters
    }
    network.replace_classifier(9)
    assert network(torch.randn(1, 3, 64, 64)).shape == (1, 9)
    assert network.num_classes == 9
    state = network.state_dict()
    assert all(torch.equal(state[key], value) for key, value in kept.items())


@pytest.mark.slow
@pytest.mark.parametrize("name", MODELS)
def test_the_facts_of_a_family_are_its_networks(name: str) -> None:
    entry = MODELS[name]
    family = family_of(entry)
    with torch.device("meta"):
        built = build_model(name)
    assert built.input_layer == family.input_layer
    assert built.classifier_layer == family.classifier_layer
    widths = family.widths(**entry.arguments)
    assert widths
    for layer, width in widths.items():
        found = built.get_submodule(layer)
        assert isinstance(found, nn.Conv2d)
        assert found.out_channels == width
    parts = family.names[OWN](**entry.arguments)
    assert parts is not None
    layers = {key.rpartition(".")[0] for key in built.state_dict()}
    assert {part.ours for part in parts} == {part.theirs for part in parts} == layers


class Plain(Network):
    """A network with its own names, whose layers know nothing of padding."""

    input_layer = "features.0"
    classifier_layer = "answer"

    def __init__(self) -> None:
        super().__init__()
        self.num_classes, self.num_features = 4, 7
        self.features = nn.Sequential(
            nn.Conv2d(3, 5, 3, padding=1),
            nn.BatchNorm2d(5),
            nn.ReLU(),
            nn.Conv2d(5, 7, 3, stride=2, padding=1, bias=False),
            nn.BatchNorm2d(7),
        )
        self.dense = nn.Sequential(nn.Linear(7, 7), nn.BatchNorm1d(7), nn.ReLU())
        self.answer = nn.Linear(7, 4)

    def stages(self) -> tuple[Stage, ...]:
        return (
            Stage("features", {"features": self.features}),
            Stage("dense", {"dense": self.dense}),
            Stage("answer", {"answer": self.answer}),
        )

    def forward_features(self, x: Tensor) -> Tensor:
        features: Tensor = self.features(x)
        return features

    def classify(self, features: Tensor) -> Tensor:
        logits: Tensor = self.answer(self.dense(self.pool(features)))
        return logits


def settled(network: nn.Module) -> nn.Module:
    for module in network.modules():
        if isinstance(module, nn.BatchNorm1d | nn.BatchNorm2d):
            assert module.running_mean is not None
            assert module.running_var is not None
            nn.init.normal_(module.running_mean, 0, 0.3)
            nn.init.uniform_(module.running_var, 0.3, 3)
            nn.init.normal_(module.weight)
            nn.init.normal_(module.bias)
    return network.eval()


def test_a_network_of_other_layers_is_folded_and_stays_unpadded() -> None:
    torch.manual_seed(0)
    network = Plain()
    settled(network)
    scale = torch.tensor([0.5, 2.0, 3.0])
    folded = fold_batch_norm(network)
    padded = pad_channels(fold_input_scale(folded, scale))
    assert not any(isinstance(m, nn.BatchNorm1d | nn.BatchNorm2d) for m in folded.modules())
    images = torch.randn(2, 3, 16, 16)
    with torch.no_grad():
        expected = network(images * scale[:, None, None])
        assert torch.allclose(padded(images), expected, atol=1e-5)
    assert [name for name, _ in padded.named_parameters()] == [
        name for name, _ in folded.named_parameters()
    ]


class _WithAct(nn.BatchNorm2d):
    """A batch norm that does more than that, as timm's does."""

    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x).relu()


def _shared() -> nn.Module:
    conv = nn.Conv2d(3, 3, 1)
    return nn.Sequential(conv, nn.BatchNorm2d(3), conv)


class _Apart(nn.Module):
    """A convolution and a batch norm of which only ``forward`` knows the order."""

    def __init__(self) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(3, 3, 1)
        self.bn1 = nn.BatchNorm2d(3)

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.bn1(self.conv1(x))
        return y


@pytest.mark.parametrize(
    ("network", "name"),
    [
        (nn.Sequential(nn.BatchNorm2d(3), nn.Conv2d(3, 4, 1)), "0"),
        (nn.Sequential(nn.Conv2d(3, 4, 1), nn.ReLU(), nn.BatchNorm2d(4)), "2"),
        (nn.Sequential(nn.Conv2d(3, 4, 1), _WithAct(4)), "1"),
        (nn.Sequential(nn.Conv2d(3, 4, 1), nn.BatchNorm2d(4, track_running_stats=False)), "1"),
        (nn.Sequential(_Apart()), "0.bn1"),
        (_shared(), "1"),
    ],
)
def test_a_batch_norm_that_cannot_be_folded_is_named(network: nn.Module, name: str) -> None:
    with pytest.raises(ModelError, match=f"the batch norm '{name}' cannot be folded"):
        fold_batch_norm(network)


def test_any_pair_in_a_sequence_is_folded() -> None:
    torch.manual_seed(0)
    network = settled(
        nn.Sequential(
            nn.Sequential(nn.Conv2d(3, 6, 3, groups=3, bias=False), nn.BatchNorm2d(6), nn.ReLU()),
            nn.Conv2d(6, 4, 1),
            nn.BatchNorm2d(4, affine=True, eps=1e-3),
            nn.Flatten(),
            nn.Linear(4 * 36, 5),
            nn.BatchNorm1d(5),
        )
    )
    folded = fold_batch_norm(network)
    images = torch.randn(2, 3, 8, 8)
    with torch.no_grad():
        assert torch.allclose(folded(images), network(images), atol=1e-4)
    assert not any("BatchNorm" in type(module).__name__ for module in folded.modules())
    assert sum("BatchNorm" in type(module).__name__ for module in network.modules()) == 3


LAYERS = {"stem", "blocks", "head", "neck", "classifier"}
"""What the families that there are call their layers."""


def _named(tree: ast.AST) -> Iterator[str]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Attribute) and node.attr in LAYERS:
            value = node.value
            # '.stem' of a pathlib.Path and '.classifier' of a subject are other things.
            if isinstance(value, ast.Name | ast.Attribute):
                owner = value.id if isinstance(value, ast.Name) else value.attr
                if "network" in owner or owner in ("net", "model", "module"):
                    yield f"{owner}.{node.attr}"
        if isinstance(node, ast.Constant) and isinstance(node.value, str):
            first = node.value.partition(".")[0]
            dotted = first in LAYERS and "." in node.value and " " not in node.value
            if dotted or node.value in ("blocks", "neck"):
                yield node.value


def test_nothing_outside_of_models_names_a_familys_layers() -> None:
    package = Path(fleetnet.__file__).parent
    found = {
        (file.relative_to(package).as_posix(), name)
        for file in package.rglob("*.py")
        if file.relative_to(package).parts[0] != "models"
        for name in _named(ast.parse(file.read_text("utf-8")))
    }
    assert found == set()
