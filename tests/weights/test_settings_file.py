"""A network that a settings file describes is trained, exported and explained as any other."""

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from conftest import Run
from fleetnet import Classifier
from fleetnet.bundle import Bundle
from fleetnet.errors import CheckpointError, FleetnetError, ModelError
from fleetnet.models import registry
from fleetnet.models.network import MobileNetwork
from fleetnet.training.adopt import checkpoint_of
from fleetnet.training.checkpoint import Checkpoint
from fleetnet.weights.create import create_model
from fleetnet.weights.read import read_weights
from fleetnet.weights.settings_file import (
    model_named,
    read_description,
    write_description,
)
from fleetnet.weights.subject import file_of, find_subject
from samples import TINY

SETTINGS = """
stem: 8
head: 32
activation: silu
shortcut: partial
blocks:
  - {channels: 8, expand: 1}
  - {channels: 12, stride: 2, expand: 3}
  - {channels: 16, stride: 2, expand: 3, kernel: 5, squeeze: 4}
  - {channels: 16, expand: 3}
"""


def forget(monkeypatch: pytest.MonkeyPatch) -> None:
    """Know no described network, as a process that has just begun."""
    monkeypatch.setattr(registry, "_DESCRIBED", {})


@pytest.fixture(scope="module")
def settings(tmp_path_factory: pytest.TempPathFactory) -> Path:
    file = tmp_path_factory.mktemp("settings") / "my ramp.yaml"
    file.write_text(SETTINGS)
    return file


@pytest.fixture(scope="module")
def run(settings: Path, shapes: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    from fleetnet.data.sources import open_source
    from fleetnet.training.recipe import Recipe
    from fleetnet.training.trainer import train

    folder = tmp_path_factory.mktemp("run")
    recipe = Recipe.load(overrides=[*TINY, "epochs=1"], model=str(settings))
    train(open_source(str(shapes)), str(settings), recipe, folder)
    return folder


@pytest.fixture(scope="module")
def described(run: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    from fleetnet.export.bundle import export_bundle

    return export_bundle(run / "last.ckpt", tmp_path_factory.mktemp("export") / "my.bundle").path


def test_a_file_gives_the_name_and_is_written_as_it_is_read(settings: Path, tmp_path: Path) -> None:
    description = read_description(settings)
    assert description.name == "my_ramp"
    assert model_named(str(settings)) == description.full_name
    write_description(description, tmp_path / "again.yaml", comment="found\nby a search")
    assert read_description(tmp_path / "again.yaml") == description
    assert (tmp_path / "again.yaml").read_text().startswith("# found\n# by a search\nname: my_ramp")
    assert model_named("MobileNetV2") == "MobileNetV2"


def test_a_checkpoint_carries_the_settings(
    run: Path, settings: Path, shapes: Path, fleetnet: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    name = model_named(str(settings))
    forget(monkeypatch)
    checkpoint = Checkpoint.load(run / "last.ckpt")
    assert checkpoint.model == name
    assert isinstance(checkpoint.network().stem.act, nn.SiLU)  # type: ignore[union-attr]
    assert read_description(run / "network.yaml") == read_description(settings)
    forget(monkeypatch)
    result = fleetnet("train", "--resume", run)
    assert result.code == 0, result
    assert f"--model {run / 'network.yaml'} --weights" in result.err
    forget(monkeypatch)
    assert (
        json.loads(fleetnet("weights", "inspect", run / "last.ckpt", "--json").out)["network"]
        == name
    )


def test_a_bundle_carries_the_settings(
    described: Path, shapes: Path, tmp_path: Path, fleetnet: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    for command in (
        ("verify", described, "--images", shapes),
        ("explain", described, shapes / "circle" / "000.jpg", "-o", tmp_path / "maps"),
        ("weights", "inspect", described),
        ("weights", "convert", described, tmp_path / "again.safetensors"),
    ):
        forget(monkeypatch)
        result = fleetnet(*command)
        assert result.code == 0, result
    forget(monkeypatch)
    checkpoint = checkpoint_of(find_subject(described), described / "model.safetensors")
    assert checkpoint.model == Bundle.load(described).manifest.model.name
    assert isinstance(checkpoint.network(), MobileNetwork)


def test_a_bundle_of_it_is_measured(
    described: Path, settings: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from fleetnet.benchmark.networks import find_subjects

    forget(monkeypatch)
    trained, untrained = find_subjects([str(described), str(settings)], size=64)
    assert trained.model == untrained.model
    assert trained.parameters == 6878
    assert (trained.trained, untrained.trained) == (True, False)


def test_weights_of_the_same_shapes_are_taken_for_the_network_that_is_asked_for(
    run: Path, settings: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    other = tmp_path / "other.yaml"
    other.write_text(SETTINGS.replace("silu", "hard-swish"))
    forget(monkeypatch)
    network = create_model(str(other), 3, run / "last.ckpt")
    assert isinstance(network.stem.act, nn.Hardswish)  # type: ignore[union-attr]
    assert read_weights(run / "last.ckpt").identity.entry.name == model_named(str(settings))
    with pytest.raises(CheckpointError, match="does not fit MobileNetV2: it holds my_ramp-"):
        create_model("MobileNetV2", 3, run / "last.ckpt")


HOSTILE: dict[str, tuple[bytes, str]] = {
    "no YAML": (b"blocks: [", "is not valid YAML at line"),
    "code": (b"!!python/object/apply:os.system ['touch here']", "is not valid YAML at line 1"),
    "bytes": (b"\xff\xfe\x00", "it is not UTF-8 text"),
    "nested": (b"[" * 100_000, "is not valid YAML"),
    "long": (b"# " + b"x" * 300_000, "is larger than 256 KiB"),
    "empty": (b"", "must be a mapping of keys to values"),
    "laughs": (
        b"a: &a0 [x, x]\n"
        + b"".join(b"b%d: &a%d [*a%d, *a%d]\n" % (n, n, n - 1, n - 1) for n in range(1, 60))
        + b"blocks: [*a59, *a59]\n",
        "blocks.0: it must be settings of its own, each with a name, not [",
    ),
    "a recipe": (b"name: finetune\nepochs: 3\n", "blocks: it is missing"),
}


@pytest.mark.parametrize("case", HOSTILE)
def test_a_hostile_settings_file_is_refused_in_a_line(
    case: str, shapes: Path, tmp_path: Path, fleetnet: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    content, message = HOSTILE[case]
    Path("custom.yaml").write_bytes(content)
    result = fleetnet("train", shapes, "--model", "custom.yaml")
    assert (result.code, result.out) == (2, "")
    assert message in result.err
    assert result.err.count("\n") == 1
    assert sorted(path.name for path in tmp_path.iterdir()) == ["custom.yaml"]


def test_a_settings_file_that_is_not_there(shapes: Path, fleetnet: Run) -> None:
    for command in (("train", shapes, "--model"), ("bench",)):
        result = fleetnet(*command, "nowhere.yaml")
        assert (result.code, result.err) == (
            2,
            "error: cannot read nowhere.yaml: No such file or directory\n",
        )


def changed(checkpoint: Path, path: Path, change: dict[str, Any]) -> Path:
    """Write a checkpoint whose description says something else."""
    content = torch.load(checkpoint, weights_only=False)
    description = {**json.loads(content["description"]), **change}
    content["description"] = json.dumps(description)
    torch.save(content, path)
    return path


CHANGES: dict[str, tuple[dict[str, Any], str]] = {
    "a path for a name": ({"model": "/etc/custom.yaml", "network": None}, "unknown model '/etc/"),
    "the name of another": ({"model": "MobileNetV2"}, "names the network 'MobileNetV2'"),
    "no network": ({"network": [1]}, "the description of its network must be a mapping"),
    "a huge one": (
        {"network": {"blocks": [{"channels": 4096, "expand": 12}] * 50}},
        "million parameters; at most 200 million",
    ),
}


@pytest.mark.parametrize("case", CHANGES)
def test_a_hostile_description_in_a_checkpoint_is_refused_in_a_line(
    case: str, run: Path, tmp_path: Path, fleetnet: Run
) -> None:
    change, message = CHANGES[case]
    path = changed(run / "last.ckpt", tmp_path / "x.ckpt", change)
    result = fleetnet("export", path, "-o", tmp_path / "x.bundle")
    assert result.code == 2
    assert message in result.err
    assert result.err.count("\n") == 1
    assert not (tmp_path / "x.bundle").exists()
    if change.get("network"):
        with pytest.raises(CheckpointError, match=str(path)):
            read_weights(path)


@pytest.mark.parametrize("case", CHANGES)
def test_a_hostile_description_in_a_bundle_is_refused_in_a_line(
    case: str, described: Path, tmp_path: Path
) -> None:
    change, message = CHANGES[case]
    place = tmp_path / "x.bundle"
    shutil.copytree(described, place)
    manifest = json.loads((place / "fleetnet.json").read_text())
    manifest["model"]["name"] = change.get("model", manifest["model"]["name"])
    manifest["provenance"]["network"] = change.get("network", manifest["provenance"]["network"])
    (place / "fleetnet.json").write_text(json.dumps(manifest))
    with pytest.raises(FleetnetError, match=message):
        Classifier(place, engine="torch")
    subject = find_subject(place)
    with pytest.raises(FleetnetError, match=message):
        checkpoint_of(subject, file_of(subject))
    # The graph needs no description, and answers.
    pixels = np.zeros((64, 64, 3), np.uint8)
    assert next(Classifier(place, engine="openvino").predict(pixels)).label


def test_the_library_says_what_is_wrong(tmp_path: Path) -> None:
    (tmp_path / "x.yml").write_text("blocks: 3")
    with pytest.raises(ModelError, match=r"x\.yml: blocks: it must be a list, not 3"):
        create_model(str(tmp_path / "x.yml"))
