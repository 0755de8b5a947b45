"""The layer that a refusal names: found by the values that a target's own runtime gives."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path
from typing import NoReturn

import numpy as np
import pytest

from fleetnet.bundle import Bundle
from fleetnet.errors import VerificationError
from fleetnet.export.bundle import export_bundle
from fleetnet.export.converted import export_to
from fleetnet.export.layers_apart import first_apart
from fleetnet.export.quantize.layers import layers_of, read_graph
from fleetnet.export.targets import TARGETS, Target
from fleetnet.image_files import find_images
from fleetnet.inference.engines import Pixels
from fleetnet.inference.verify import prepare
from fleetnet.training.checkpoint import Checkpoint
from users_environments import borrowed

pytestmark = pytest.mark.slow

LAYER = "blocks.3.expand"
HERE = (
    "onnx",
    "openvino",
    "openvino:fp16",
    "openvino-model-server",
    "cpp",
    "tensorrt",
    "triton",
    "vendors",
)
APART = (
    "web",
    "tnn",
    "ncnn",
    "ncnn:fp16",
    "mnn",
    "mnn:fp16",
    "litert",
    "android",
    "iree",
    "executorch",
    "paddle",
    "paddle-lite",
)
IN_INT8 = ("litert", "micro", "mnn", "ncnn")
WITH_ALL = pytest.mark.skipif(
    os.environ.get("FLEETNET_DEVICES") != "all", reason="FLEETNET_DEVICES=all"
)


@pytest.fixture(scope="module")
def damaged(checkpoint: Path, tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    """Export the same network with the weights of one layer turned round."""
    trained = Checkpoint.load(checkpoint)
    (name,) = (name for name in trained.state if name.startswith(f"{LAYER}.conv"))
    place = tmp_path_factory.mktemp("damaged")
    replace(trained, state={**trained.state, name: -trained.state[name]}).save(place / "odd.ckpt")
    return export_bundle(place / "odd.ckpt", place / "odd.bundle", limit=2)


@pytest.fixture
def pixels(bundle: Bundle) -> Pixels:
    crop = bundle.manifest.preprocess.crop
    return np.random.default_rng(0).integers(0, 256, (5, crop, crop, 3), np.uint8)


def of(target: Target, other: Bundle) -> Target:
    """Return the target with a converter that takes another bundle's network."""
    layers = target.layers
    assert layers is not None
    if target.anew:
        return replace(
            target,
            name="odd",
            convert=lambda _, precision, batch: target.convert(other, precision, batch),
            layers=lambda _, files, batch: layers(other, files, batch),
        )
    return replace(
        target,
        name="odd",
        convert=lambda _, precision, batch: target.convert(other, precision, batch),
    )


def needs(target: Target, *more: Target) -> None:
    """Have the environments in the cache of the tests; skip the test where one was not made."""
    for one in (target, *more):
        if one.environment is not None and not borrowed(one.environment):
            pytest.skip(f"no '{one.name}' environment: fleetnet export --to {one.name} makes it")


@pytest.mark.parametrize("to", [*HERE, *(pytest.param(name, marks=WITH_ALL) for name in APART)])
def test_the_damaged_layer_is_named(
    to: str, bundle: Bundle, damaged: Bundle, pixels: Pixels
) -> None:
    name, _, precision = to.partition(":")
    target, precision = of(TARGETS[name], damaged), precision or "fp32"
    others = {"android": ("ncnn",), "paddle-lite": ("paddle",)}.get(name, ())
    needs(TARGETS[name], *(TARGETS[other] for other in others))
    batch = 1 if target.one_size else None
    files = target.convert(bundle, precision, batch)
    apart = first_apart(target, bundle, files, precision, batch, pixels)
    assert apart is not None
    assert apart.much
    assert apart.layer == LAYER


@WITH_ALL
@pytest.mark.parametrize("name", IN_INT8)
def test_the_damaged_layer_is_named_in_int8(
    name: str, bundle: Bundle, damaged: Bundle, shapes: Path
) -> None:
    target = TARGETS[name]
    needs(target, *([TARGETS["litert"]] if name == "micro" else []))
    assert target.int8 is not None
    pixels = prepare(sorted(find_images([str(shapes)])), bundle.manifest.preprocess)
    graph = read_graph(bundle.content(format="onnx").data, "the graph")
    layers = layers_of(graph, "the graph")
    sound, apart = (
        first_apart(
            target, bundle, target.int8.calibrate(one, 1, pixels, layers)([]), "int8", 1, pixels
        )
        for one in (bundle, damaged)
    )
    assert sound is not None
    assert not sound.much, sound
    assert apart is not None
    assert apart.much
    assert apart.layer == LAYER


def test_what_is_converted_anew_says_nothing_of_int8(bundle: Bundle, pixels: Pixels) -> None:
    target = replace(TARGETS["onnx"], anew=True)
    files = target.convert(bundle, "fp32", None)
    assert first_apart(target, bundle, files, "fp32", None, pixels) is not None
    assert first_apart(target, bundle, files, "int8", None, pixels) is None


def test_nothing_is_off_in_the_network_itself(bundle: Bundle, pixels: Pixels) -> None:
    target = TARGETS["openvino"]
    files = target.convert(bundle, "fp32", None)
    apart = first_apart(target, bundle, files, "fp32", None, pixels)
    assert apart is not None
    assert not apart.much
    assert "no single layer is off by much" in str(apart)
    assert first_apart(replace(target, layers=None), bundle, files, "fp32", None, pixels) is None


def test_files_without_such_layers_name_none(bundle: Bundle, pixels: Pixels) -> None:
    target = replace(
        TARGETS["openvino"], layers=lambda *_: lambda given: np.zeros((len(given), 3), np.float32)
    )
    assert first_apart(target, bundle, {}, "fp32", None, pixels) is None

    def broken(*_: object) -> NoReturn:
        raise ValueError("no values here")

    target = replace(target, layers=broken)
    assert first_apart(target, bundle, {}, "fp32", None, pixels) is None


def test_a_refused_conversion_names_it(
    bundle: Bundle, damaged: Bundle, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(TARGETS, "_found", dict(TARGETS))
    TARGETS.add(of(TARGETS["onnx"], damaged))
    with pytest.raises(VerificationError, match=f"the first layer that is off is '{LAYER}'") as one:
        export_to(str(bundle.path), "odd", tmp_path / "made", limit=4)
    assert one.value.to_json()["fields"]["layer"] == LAYER
    assert not (tmp_path / "made").exists()
