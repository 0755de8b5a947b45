import contextlib
import json
import shutil
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fleetnet.bundle import MANIFEST, Bundle, Manifest, onnx_metadata, self_test_pixels
from fleetnet.errors import BundleError, FleetnetError


@pytest.fixture
def copy(bundle: Bundle, tmp_path: Path) -> Path:
    path = tmp_path / "copy.bundle"
    shutil.copytree(bundle.path, path)
    return path


def edit(path: Path, **changes: object) -> None:
    values = json.loads((path / MANIFEST).read_text())
    values.update(changes)
    (path / MANIFEST).write_text(json.dumps(values))


def test_manifest_reads_with_a_json_parser_alone(bundle: Bundle) -> None:
    values = json.loads((bundle.path / MANIFEST).read_text("utf-8"))
    assert values["format"] == "fleetnet-bundle"
    assert values["model"] == {
        "name": "MobileNetV2_x0_25",
        "num_classes": 3,
        "activation": "softmax",
    }
    assert values["calibration"] is None
    assert values["classes"] == ["circle", "square", "stripes"]
    assert values["preprocess"]["crop"] == 64
    assert values["input"]["shape"] == [None, 64, 64, 3]
    assert values["metrics"]["held_out"]["images"] == 9
    assert values["provenance"]["data"]["train_images"] == 27
    assert {file["name"] for artifact in values["artifacts"] for file in artifact["files"]} == {
        "model.onnx",
        "model.safetensors",
        "trained-images.bin",
    }


def test_manifest_does_not_hold_paths_of_the_training_machine(bundle: Bundle, shapes: Path) -> None:
    assert str(shapes.parent) not in (bundle.path / MANIFEST).read_text("utf-8")
    assert str(shapes.parent).encode() not in bundle.file(format="onnx").read_bytes()


def test_round_trip(bundle: Bundle) -> None:
    assert Bundle.load(bundle.path).manifest == bundle.manifest
    assert Bundle.load(bundle.path / MANIFEST).path == bundle.path
    assert Manifest.from_json(bundle.manifest.to_json(), "here") == bundle.manifest


def test_the_onnx_file_alone_is_enough(bundle: Bundle, tmp_path: Path) -> None:
    alone = tmp_path / "anything.onnx"
    shutil.copy(bundle.file(format="onnx"), alone)
    loaded = Bundle.load(alone)
    assert loaded.manifest == bundle.manifest.model_copy(update={"artifacts": ()})
    assert loaded.file(format="onnx") == alone
    with pytest.raises(BundleError, match="give the bundle's folder"):
        loaded.file(format="safetensors")


def test_a_changed_artifact_is_refused(copy: Path) -> None:
    file = copy / "model.onnx"
    content = bytearray(file.read_bytes())
    content[len(content) // 2] ^= 1
    file.write_bytes(content)
    with pytest.raises(BundleError, match="not the file that was exported"):
        Bundle.load(copy).file(format="onnx")


def test_a_missing_artifact_is_named(copy: Path) -> None:
    (copy / "model.onnx").unlink()
    with pytest.raises(BundleError, match=r"model\.onnx is missing"):
        Bundle.load(copy).file(format="onnx")
    with pytest.raises(BundleError, match="it has: onnx in fp32, safetensors in fp32, train"):
        Bundle.load(copy).file(format="tflite")


def test_a_link_in_place_of_an_artifact_is_refused(copy: Path, bundle: Bundle) -> None:
    (copy / "model.onnx").unlink()
    (copy / "model.onnx").symlink_to(bundle.file(format="onnx"))
    with pytest.raises(BundleError, match="missing"):
        Bundle.load(copy).file(format="onnx")


@pytest.mark.parametrize("name", ["../model.onnx", "/etc/passwd", "..", "a/b", "a\\b", ""])
def test_artifacts_outside_the_bundle_are_refused(copy: Path, name: str) -> None:
    artifacts = json.loads((copy / MANIFEST).read_text())["artifacts"]
    artifacts[0]["files"][0]["name"] = name
    edit(copy, artifacts=artifacts)
    with pytest.raises(BundleError, match="plain file name"):
        Bundle.load(copy)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"format": "other"}, "not a Fleetnet manifest"),
        ({"format_version": 2, "new_field": 1}, "update fleetnet"),
        ({"format_version": "4.0", "new_field": 1}, "update fleetnet"),
        ({"classes": ["one"]}, "1 class names for 3 classes"),
        ({"preprocess": {"resize": 72}}, "preprocess lacks"),
        ({"preprocess": 7}, "must be an object"),
        ({"surprise": 1}, "surprise"),
        ({"self_test": {"logits": [[1.0]]}}, "self_test"),
        ({"input": {"name": "x", "dtype": "uint8", "shape": [None, 1, 1, 3]}}, "does not fit"),
    ],
)
def test_a_wrong_manifest_is_refused(copy: Path, changes: dict[str, object], words: str) -> None:
    edit(copy, **changes)
    with pytest.raises(BundleError, match=words):
        Bundle.load(copy)


CALIBRATION = {
    "temperature": 1.4,
    "images": 9,
    "ece_before": 0.2,
    "ece_after": 0.1,
    "source": "held-out images",
}


@pytest.mark.parametrize(
    "wrong",
    [
        {"temperature": 0},
        {"temperature": -1.0},
        {"temperature": float("inf")},
        {"temperature": float("nan")},
        {"images": 0},
        {"ece_after": 2},
        {"surprise": 1},
    ],
)
def test_a_wrong_calibration_is_refused(copy: Path, wrong: dict[str, object]) -> None:
    edit(copy, calibration={**CALIBRATION, **wrong})
    with pytest.raises(BundleError, match=f"calibration.{next(iter(wrong))}"):
        Bundle.load(copy)


def test_a_bundle_from_before_calibration_and_activation_is_read(copy: Path) -> None:
    values = json.loads((copy / MANIFEST).read_text())
    del values["calibration"], values["model"]["activation"]
    (copy / MANIFEST).write_text(json.dumps(values))
    manifest = Bundle.load(copy).manifest
    assert manifest.calibration is None
    assert manifest.model.activation == "softmax"


def test_an_unknown_activation_is_refused(copy: Path) -> None:
    edit(copy, model={"name": "MobileNetV2_x0_25", "num_classes": 3, "activation": "tanh"})
    with pytest.raises(BundleError, match=r"model\.activation"):
        Bundle.load(copy)


@given(st.text(max_size=60) | st.binary(max_size=60))
def test_garbage_for_a_manifest_is_refused(text: str | bytes) -> None:
    with pytest.raises(BundleError):
        Manifest.from_json(text, "here")


def test_deep_json_is_refused() -> None:
    with pytest.raises(BundleError):
        Manifest.from_json("[" * 100_000, "here")


def test_a_path_that_is_no_bundle_is_named(tmp_path: Path) -> None:
    with pytest.raises(BundleError, match="no such bundle"):
        Bundle.load(tmp_path / "nothing")
    with pytest.raises(BundleError, match="is not a bundle"):
        Bundle.load(tmp_path)
    (tmp_path / "x.onnx").write_bytes(b"\x08\x0a")
    with pytest.raises(BundleError, match="no Fleetnet metadata"):
        Bundle.load(tmp_path / "x.onnx")
    (tmp_path / "y.onnx").write_bytes(b"\xff" * 50)
    with pytest.raises(BundleError, match="not an ONNX file"):
        Bundle.load(tmp_path / "y.onnx")


@given(st.binary(max_size=300))
def test_onnx_metadata_of_garbage_raises_value_error_or_finds_nothing(data: bytes) -> None:
    with contextlib.suppress(ValueError):
        onnx_metadata(data)


def test_a_truncated_onnx_file_is_refused(bundle: Bundle, tmp_path: Path) -> None:
    content = bundle.file(format="onnx").read_bytes()
    file = tmp_path / "cut.onnx"
    for percent in range(0, 100, 5):
        file.write_bytes(content[: len(content) * percent // 100])
        with pytest.raises(BundleError):
            Bundle.load(file)


def test_export_does_not_replace_what_is_not_a_bundle(checkpoint: Path, tmp_path: Path) -> None:
    from fleetnet.export.bundle import export_bundle

    (tmp_path / "precious.txt").write_text("mine")
    with pytest.raises(FleetnetError, match="exists and is not a bundle"):
        export_bundle(checkpoint, tmp_path)
    assert (tmp_path / "precious.txt").read_text() == "mine"


def test_self_test_images_are_what_the_manifest_documents() -> None:
    crop = 5
    pixels = self_test_pixels(2, crop).reshape(2, -1)
    for n in range(2):
        for k in range(crop * crop * 3):
            product = ((k + 1 + n * 1000003) * 2654435761) & 0xFFFFFFFF
            assert pixels[n, k] == product >> 24
