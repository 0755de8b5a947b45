"""The four files that docs/extending.md shows do what it says, each found by its own means."""

import importlib
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
from torch import nn

from conftest import Run
from fleetnet.bundle import Bundle
from fleetnet.data import sources
from fleetnet.data.sources import SOURCES, open_source, open_source_spec
from fleetnet.export import targets
from fleetnet.export.bundle import export_bundle
from fleetnet.export.targets import TARGETS
from fleetnet.inference import engines
from fleetnet.inference.classifier import Classifier
from fleetnet.inference.comparison import compare
from fleetnet.inference.engines import ENGINES, open_engine
from fleetnet.models import MODELS, build_model
from fleetnet.models.base import Network
from fleetnet.models.registry import NAMES, family_of
from fleetnet.registration import Registry
from fleetnet.training.recipe import Recipe
from fleetnet.training.trainer import train
from samples import ROOT, TINY

PAGE = (ROOT / "docs" / "extending.md").read_text("utf-8")
SMALL = ("input.resize=36", "input.crop=32", "epochs=1")


def shown(heading: str) -> str:
    """Return the Python below a heading of the page."""
    section = PAGE.partition(f"\n## {heading}\n")[2].partition("\n## ")[0]
    (code,) = re.findall(r"```python\n(.*?)```", section, re.DOTALL)
    return str(code)


@pytest.fixture(autouse=True)
def forgotten(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Have everything looked for anew, and forget in the end what was found."""
    registries: tuple[Registry, ...] = (ENGINES, SOURCES, TARGETS)  # type: ignore[type-arg]
    for registry in registries:
        monkeypatch.setattr(registry, "_found", None)
        monkeypatch.setattr(registry, "_broken", {})
    known = set(NAMES)
    yield
    for name in set(NAMES) - known:
        del NAMES[name], MODELS[name]


def put_into(room: ModuleType, heading: str, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Put the page's file into one of Fleetnet's folders, as far as Python can tell."""
    (folder / "copied.py").write_text(shown(heading), "utf-8")
    monkeypatch.setattr(room, "__path__", [*room.__path__, str(folder)])
    monkeypatch.delitem(sys.modules, f"{room.__name__}.copied", raising=False)
    importlib.invalidate_caches()


def test_the_engine_predicts(
    fleetnet: Run, bundle: Bundle, shapes: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    put_into(engines, "An engine", tmp_path, monkeypatch)
    images = sorted((shapes / "square").iterdir())[:3]
    with Classifier(bundle, engine="onnx-reference") as one, Classifier(bundle) as other:
        for found, expected in zip(one.predict(images), other.predict(images), strict=True):
            assert found.label == expected.label
            assert found.probability == pytest.approx(expected.probability, abs=1e-4)
    result = fleetnet("predict", bundle.path, images[0], "--engine", "onnx-reference")
    assert result.code == 0, result
    crop = bundle.manifest.preprocess.crop
    pixels = np.random.default_rng(0).integers(0, 256, (2, crop, crop, 3), np.uint8)
    with open_engine("torch", bundle, 1) as torch, open_engine("onnx-reference", bundle) as engine:
        assert compare(engine, pixels, torch.run(pixels)).passes(1e-4)


@pytest.mark.slow
def test_the_source_trains(fleetnet: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    put_into(sources, "A source", tmp_path, monkeypatch)
    source = open_source("dots")
    assert list(open_source_spec(source.spec).samples) == list(source.samples)
    options = [word for value in (*TINY, *SMALL) for word in ("--set", value)]
    run = tmp_path / "run"
    model = ("--model", "MobileNetV2_x0_25")
    result = fleetnet("train", "dots", *model, "-o", run, *options)
    assert result.code == 0, result
    checked = fleetnet("data", "check", "dots")
    assert checked.code == 0, checked
    # The data are found again for verification, by the spec in the checkpoint.
    exported = fleetnet("export", run, "-o", tmp_path / "dots.bundle")
    assert exported.code == 0, exported
    assert "held-out images of coloured dots" in exported.err
    assert Bundle.load(tmp_path / "dots.bundle").manifest.classes == ("red", "green", "blue")
    refused = fleetnet("data", "check", "dots", "--separator", "comma")
    refused.assert_one_line("--separator has no meaning for dots")


@pytest.mark.slow
def test_the_family_trains_and_is_exported(
    shapes: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    package = tmp_path / "code" / "mypackage"
    package.mkdir(parents=True)
    (package / "plain.py").write_text(shown("A family"), "utf-8")
    monkeypatch.syspath_prepend(str(package.parent))
    for name in ("mypackage", "mypackage.plain"):
        monkeypatch.delitem(sys.modules, name, raising=False)
    importlib.import_module("mypackage.plain")
    holds_the_contract(build_model("PlainNet", 5))
    recipe = Recipe.load(overrides=[*TINY, *SMALL, "data.val_fraction=0.2"])
    run = tmp_path / "run"
    train(open_source(str(shapes)), "PlainNet", recipe, run)
    bundle = export_bundle(run / "last.ckpt", tmp_path / "plain.bundle")
    assert bundle.manifest.model.name == "PlainNet"
    records = bundle.manifest.artifacts[0].verification
    assert {record.engine for record in records} == {"onnxruntime", "openvino"}
    assert all(record.top1_agreement == 1.0 for record in records)


def holds_the_contract(network: Network) -> None:
    inside = [id(value) for stage in network.stages() for value in stage.parameters()]
    assert sorted(inside) == sorted(map(id, network.parameters()))
    family = family_of(MODELS["PlainNet"])
    (names,) = family.names.values()
    layers = {key.rpartition(".")[0] for key in network.state_dict()}
    assert {part.ours for part in names() or ()} == layers
    for layer, width in family.widths().items():
        convolution = network.get_submodule(layer)
        assert isinstance(convolution, nn.Conv2d)
        assert convolution.out_channels == width


@pytest.mark.slow
@pytest.mark.parametrize("batch", [None, 2])
def test_the_target_is_converted_run_and_verified(
    batch: int | None,
    fleetnet: Run,
    bundle: Bundle,
    shapes: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    put_into(targets, "A target", tmp_path, monkeypatch)
    made = tmp_path / "made"
    sizes = () if batch is None else ("--fixed-batch", str(batch))
    result = fleetnet(
        "export", bundle.path, "--to", "ort", "-o", made, "--images", shapes, "--limit", "8", *sizes
    )
    assert result.code == 0, result
    (artifact,) = Bundle.load(made).artifacts
    assert artifact.key == ("ort", "fp32", batch)
    (record,) = artifact.verification
    assert record.images == 8
    assert record.max_abs_diff < 1e-4
    files = {path.name: path.read_bytes() for path in Bundle.load(made).files_of(artifact)}
    crop = bundle.manifest.preprocess.crop
    pixels = np.random.default_rng(0).integers(0, 256, (2, crop, crop, 3), np.uint8)
    with open_engine("torch", bundle, 1) as reference:
        found = TARGETS["ort"].run(files, pixels)
        np.testing.assert_allclose(found, reference.run(pixels), atol=1e-3)


@pytest.mark.parametrize(
    ("room", "registry", "attribute", "heading", "name"),
    [
        (engines, ENGINES, "ENGINE", "An engine", "onnx-reference"),
        (sources, SOURCES, "SOURCE", "A source", "dots"),
        (targets, TARGETS, "TARGET", "A target", "ort"),
    ],
)
def test_extensions_are_found_in_packages_and_added_by_hand(
    room: ModuleType,
    registry: Registry,  # type: ignore[type-arg]
    attribute: str,
    heading: str,
    name: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    group = f"fleetnet.{room.__name__.rpartition('.')[2]}"
    assert f"`{group}`" in PAGE
    ours = list(registry)
    inside: dict[str, object] = {}
    exec(shown(heading), inside)  # noqa: S102 - our own page
    with monkeypatch.context() as patch:
        patch.setattr(registry, "_found", None)
        registry.add(inside[attribute])
        assert list(registry) == [*ours, name]
    (tmp_path / "others.py").write_text(shown(heading), "utf-8")
    described = tmp_path / "others-1.0.dist-info"
    described.mkdir()
    (described / "METADATA").write_text("Metadata-Version: 2.1\nName: others\nVersion: 1.0\n")
    (described / "entry_points.txt").write_text(
        f"[{group}]\n{name} = others:{attribute}\nodd = others:nothing\n"
    )
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.delitem(sys.modules, "others", raising=False)
    monkeypatch.setattr(registry, "_found", None)
    assert list(registry) == [*ours, name]
    assert "odd" in registry.broken


def test_a_target_that_cannot_be_imported_says_why_when_it_is_named(
    fleetnet: Run, bundle: Bundle, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "odd.py").write_text("import nowhere_at_all\n")
    monkeypatch.setattr(targets, "__path__", [*targets.__path__, str(tmp_path)])
    assert {"cpp", "onnx", "openvino"} <= set(TARGETS)
    result = fleetnet("export", bundle.path, "-o", tmp_path / "made", "--to", "odd")
    result.assert_one_line("the target 'odd' cannot be loaded: No module named 'nowhere_at_all'")
