"""int8 for other runtimes: the guard, with a tool of our own and with those of the targets."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import conftest
from fleetnet.bundle import Bundle
from fleetnet.cache import cache_folder
from fleetnet.errors import DataError, VerificationError
from fleetnet.export import converted, int8
from fleetnet.export.converted import export_to
from fleetnet.export.quantize import samples, session
from fleetnet.export.quantize.layers import Layer, layers_of, read_graph
from fleetnet.export.targets import TARGETS, Files
from fleetnet.export.targets.target import Int8, Quantize
from fleetnet.inference.engines import Pixels
from fleetnet.weights.subject import find_subject

pytestmark = pytest.mark.slow

USERS_CACHE = cache_folder() / "environments"
"""Of this user, not of the tests: what was made there once is used again."""
Give = Callable[[Bundle, Sequence[str]], bytes]


@pytest.fixture
def few(monkeypatch: pytest.MonkeyPatch) -> None:
    """Compare on as many images as the tests have."""
    monkeypatch.setattr(int8, "LEAST", 40)
    monkeypatch.setattr(session, "IMAGES", 2)  # rank by so many


def odd(monkeypatch: pytest.MonkeyPatch, give: Give) -> list[tuple[Any, ...]]:
    """Make a target known that is our ONNX, with a tool for int8 of our own; return its calls."""
    called: list[tuple[Any, ...]] = []

    def calibrate(
        bundle: Bundle, batch: int | None, pixels: Pixels, layers: Sequence[Layer]
    ) -> Quantize:
        called.append((batch, len(pixels), [layer.name for layer in layers]))

        def quantize(kept: Sequence[str]) -> Files:
            called.append(tuple(kept))
            return {"model.onnx": give(bundle, kept)}

        return quantize

    monkeypatch.setattr(TARGETS, "_found", dict(TARGETS))
    TARGETS.add(
        replace(
            TARGETS["onnx"],
            name="odd",
            title="Odd",
            precisions=("fp32", "int8"),
            int8=Int8("numpy", calibrate),
        )
    )
    return called


def graph(bundle: Bundle) -> bytes:
    return bundle.content(format="onnx").data


def other(bundle: Bundle) -> bytes:
    """Return the graph with another order of the classes."""
    model = read_graph(graph(bundle), "the graph")
    layer = layers_of(model, "the graph")[-1]
    (node,) = (node for node in model.graph.node if node.name == layer.nodes[0])
    for tensor in model.graph.initializer:
        if tensor.name in node.input[1:]:
            tensor.raw_data = (-np.frombuffer(tensor.raw_data, np.float32)).tobytes()
    return bytes(model.SerializeToString())


@pytest.mark.usefixtures("few")
def test_a_target_gets_images_and_the_layers_to_keep(
    taught: Bundle, others: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    called = odd(monkeypatch, lambda bundle, kept: (graph if len(kept) > 1 else other)(bundle))
    written = export_to(
        str(taught.path), "odd:int8", tmp_path / "made", images=[str(others)], limit=40
    )
    (artifact,) = written.artifacts
    (record,) = artifact.verification
    made = artifact.quantization
    assert made is not None
    (batch, images, layers), *attempts = called
    assert (artifact.precision, batch) == ("int8", None)
    assert [len(kept) for kept in attempts] == [0, 1, 2]
    assert made.kept_layers == attempts[-1]
    assert set(made.kept_layers) < set(layers)
    assert (made.layers, made.calibration_images) == (len(layers), images)
    assert made.tool == f"numpy {np.__version__}"
    assert made.weight_bits == 8
    assert (record.images, record.agreement, record.source) == (40, 1.0, others.name)


@pytest.mark.usefixtures("few")
def test_a_refusal_names_the_layer(
    taught: Bundle, others: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    called = odd(monkeypatch, lambda bundle, _: other(bundle))
    with pytest.raises(VerificationError) as refused:
        export_to(str(taught.path), "odd:int8", tmp_path / "made", images=[str(others)], limit=40)
    layer = called[2][0]
    assert str(refused.value).startswith("Odd in int8 gives the same answer on ")
    assert f"rounding '{layer}' changes the answers most" in str(refused.value)
    assert "agreement=" not in str(refused.value)
    assert refused.value.to_json()["fields"]["layer"] == layer
    assert not (tmp_path / "made").exists()


def test_images_have_to_be_real_and_enough(
    fleetnet: conftest.Run, bundle: Bundle, others: Path, tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    odd(monkeypatch, lambda bundle, _: graph(bundle))
    made = tmp_path / "made"
    command = ["export", bundle.path, "--to", "odd:int8", "-o", made]
    for given, words in (
        ([], "int8 takes real images to calibrate with, like those that it will see: give some, "),
        (["--images", others, "--limit", 99], "compared on at least 100 images: leave out --limit"),
        (["--images", others / "circle"], "validation at least 100 others"),
    ):
        result = fleetnet(*command, *given)
        assert result.code == 2, result
        assert words in result.err.splitlines()[-1], result
    assert not made.exists()


@pytest.mark.usefixtures("few")
def test_a_checkpoint_brings_the_images_that_were_held_out(
    checkpoint: Path, bundle: Bundle, monkeypatch: pytest.MonkeyPatch
) -> None:
    subject = find_subject(str(checkpoint))

    def images() -> tuple[samples.Samples, str]:
        return int8.real_images(
            subject, bundle, (), 40, None, lambda _what, _steps: lambda _done: None
        )

    with pytest.raises(DataError, match="different images are too few to quantise with"):
        images()
    monkeypatch.setattr(samples, "LEAST_VALIDATION", 4)
    monkeypatch.setattr(samples, "LEAST_CALIBRATION", 2)
    monkeypatch.setattr(int8, "LEAST", 4)
    found, origin = images()
    assert origin == "held-out images of folder shapes"
    assert len(found.calibration) == 3
    assert len(found.validation) == 6
    assert not found.trained_on


@pytest.mark.skipif(os.environ.get("FLEETNET_DEVICES") != "all", reason="FLEETNET_DEVICES=all")
@pytest.mark.usefixtures("few")
@pytest.mark.parametrize(
    ("name", "batch"), [("litert", 1), ("litert", 3), ("executorch", 1), ("mnn", 1)]
)
def test_targets_in_int8(
    name: str,
    batch: int,
    taught: Bundle,
    others: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for module in (int8, converted):  # less than so small a network reaches
        monkeypatch.setattr(module, "AGREEMENT", 0.8)
    environment = TARGETS[name].environment
    assert environment is not None
    kept = USERS_CACHE / environment.folder.name
    if not (kept / "made").is_file():
        pytest.skip(f"no environment '{name}': fleetnet export --to {name} makes it once")
    if not environment.made:
        environment.folder.parent.mkdir(parents=True, exist_ok=True)
        environment.folder.symlink_to(kept, target_is_directory=True)
    written = export_to(
        str(taught.path), f"{name}:int8", tmp_path / "made", images=[str(others)], limit=40,
        batch=batch,
    )  # fmt: skip
    (artifact,) = written.artifacts
    (record,) = artifact.verification
    assert artifact.key == (TARGETS[name].format, "int8", batch)
    assert artifact.quantization is not None
    assert record.agreement is not None
    assert record.agreement >= 0.8
    assert record.max_abs_diff > 0
    assert artifact.bytes < 0.6 * taught.content(format="onnx").path.stat().st_size
