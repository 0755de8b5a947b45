"""A bundle of format 2.0 is read for ever, and so is one to which a later 2.x has added fields."""

import copy
import json
import tarfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from conftest import Run
from fleetnet.bundle import MANIFEST, Bundle
from fleetnet.errors import BundleError
from fleetnet.evaluation.overlap import trained_images_of
from fleetnet.inference.engines import Engine, Setup, open_engine, precisions
from fleetnet.inference.engines.onnxruntime import OnnxRuntimeEngine
from fleetnet.inference.engines.openvino import OpenVinoEngine
from fleetnet.inference.probabilities import softmax

ARCHIVE = Path(__file__).parent / "bundles" / "version2_0.tar.xz"
KEYS = {
    ("onnx", "fp32", None): ["model.onnx"],
    ("onnx", "fp32", 2): ["model.batch2.onnx"],
    ("safetensors", "fp32", None): ["model.safetensors"],
    ("trained-images", None, None): ["trained-images.bin"],
    ("onnx", "int8", None): ["model.int8.onnx"],
    ("openvino-ir", "int8", None): ["model.int8.xml", "model.int8.bin"],
}
STRICT = ("preprocess",)
"""Where an unknown field is refused in every version, because it decides over the answers."""
FREE = ("metrics", "provenance")
"""Where any field may be in every version."""


@pytest.fixture
def kept(tmp_path: Path) -> Path:
    with tarfile.open(ARCHIVE) as archive:
        archive.extractall(tmp_path, filter="data")
    return tmp_path / "version2_0.bundle"


def read(path: Path) -> dict[str, Any]:
    values: dict[str, Any] = json.loads((path / MANIFEST).read_text("utf-8"))
    return values


def write(path: Path, values: dict[str, Any]) -> None:
    (path / MANIFEST).write_text(json.dumps(values), "utf-8")


def with_a_field_everywhere(values: Any, place: tuple[str | int, ...] = ()) -> list[str]:
    """Add a field that nobody knows to every object of a manifest; return where they are."""
    if place[:1] and place[0] in (*STRICT, *FREE):
        return []
    inside = values.items() if isinstance(values, dict) else enumerate(values)
    added = []
    for key, value in list(inside):
        if isinstance(value, dict | list):
            added += with_a_field_everywhere(value, (*place, key))
    if isinstance(values, dict):
        values["surprise"] = {"anything": [1]}
        added.append(".".join(map(str, (*place, "surprise"))))
    return added


def assert_answers_as_recorded(bundle: Bundle) -> None:
    """Hold every engine in fp32 to the answers that the bundle records."""
    assert bundle.manifest.self_test is not None
    pixels = bundle.manifest.self_test.pixels(bundle.manifest.preprocess.crop)
    recorded = np.asarray(bundle.manifest.self_test.logits, np.float32)
    for name in ("openvino", "onnxruntime", "torch"):
        with open_engine(name, bundle, 1) as engine:
            assert np.allclose(softmax(engine.run(pixels)), softmax(recorded), atol=1e-4), name


def test_every_artifact_is_found_and_its_hashes_hold(kept: Path) -> None:
    assert read(kept)["format_version"] == "2.0"
    bundle = Bundle.load(kept)
    assert {artifact.key for artifact in bundle.artifacts} == set(KEYS)
    for (kind, precision, batch), names in KEYS.items():
        files = bundle.files(format=kind, precision=precision, batch=batch)
        assert [file.name for file in files] == names
    assert bundle.manifest.passed_over == ()
    assert bundle.manifest.classes == ("circle", "stripes")
    assert bundle.manifest.temperature != 1
    assert len(trained_images_of(bundle)) == 60


@pytest.mark.parametrize("name", [name for names in KEYS.values() for name in names])
def test_a_file_that_changed_is_refused(kept: Path, name: str) -> None:
    content = bytearray((kept / name).read_bytes())
    content[-1] ^= 1
    (kept / name).write_bytes(content)
    bundle = Bundle.load(kept)
    (key,) = (key for key, names in KEYS.items() if name in names)
    with pytest.raises(BundleError, match=f"{name} is not the file that was exported"):
        bundle.files(format=key[0], precision=key[1], batch=key[2])


def test_the_answers_are_those_that_it_records(kept: Path) -> None:
    assert_answers_as_recorded(Bundle.load(kept))


def test_int8_is_computed_from_its_own_files(kept: Path) -> None:
    bundle = Bundle.load(kept)
    pixels = np.random.default_rng(0).integers(0, 256, (4, 32, 32, 3), dtype=np.uint8)
    setup = Setup("int8")
    ends = ("xml", "bin", "onnx")
    graph, weights, onnx = ((kept / f"model.int8.{end}").read_bytes() for end in ends)
    by_hand: dict[str, Engine] = {
        "openvino": OpenVinoEngine.of_ir(graph, weights, setup),
        "onnxruntime": OnnxRuntimeEngine(onnx, setup),
    }
    for name, expected in by_hand.items():
        assert "int8" in precisions(name, bundle)
        with open_engine(name, bundle, 1, precision="int8") as engine, expected:
            assert np.array_equal(engine.run(pixels), expected.run(pixels))


def test_a_later_minor_version_with_unknown_fields_everywhere_still_answers(kept: Path) -> None:
    before, values = Bundle.load(kept).manifest, read(kept)
    added = with_a_field_everywhere(values)
    levels = {place.count(".") for place in added}
    # The manifest, model, artifacts.N, artifacts.N.quantization, artifacts.N.files.N
    assert levels == {0, 1, 2, 3, 4}
    write(kept, {**values, "format_version": "2.7"})
    bundle = Bundle.load(kept)
    assert set(bundle.manifest.passed_over) == set(added)
    assert bundle.manifest.model_dump() == before.model_dump()
    assert_answers_as_recorded(bundle)
    # In version 2.0 itself they are mistakes.
    write(kept, values)
    with pytest.raises(BundleError, match="surprise"):
        Bundle.load(kept)


def test_a_later_minor_version_is_refused_where_it_changes_the_answers(kept: Path) -> None:
    values = read(kept)
    values["format_version"] = "2.7"
    for place in STRICT:
        changed = copy.deepcopy(values)
        changed[place]["surprise"] = 1
        write(kept, changed)
        with pytest.raises(BundleError, match="surprise"):
            Bundle.load(kept)


@pytest.mark.parametrize("version", ["4.0", "1.0", 2, "2"])
def test_an_unknown_major_version_is_refused_in_one_line(
    kept: Path, fleetnet: Run, version: object
) -> None:
    write(kept, {**read(kept), "format_version": version})
    result = fleetnet("predict", kept, kept / "image.jpg")
    result.assert_one_line(str(kept / MANIFEST), f"format version {version!r}", "update fleetnet")
