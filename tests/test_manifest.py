"""Manifests of other versions, and manifests that somebody has broken."""

import copy
import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from broken_json import after, edits
from fleetnet.bundle import FORMAT_VERSION, MANIFEST, Artifact, Bundle, Manifest, write_bundle
from fleetnet.errors import BundleError
from fleetnet.inference.classifier import Classifier

NEWER = "2.7"
VALUES: dict[str, Any] = {
    "format": "fleetnet-bundle",
    "format_version": FORMAT_VERSION,
    "model": {"name": "MobileNetV2_x0_25", "num_classes": 2, "activation": "softmax"},
    "classes": ["cat", "dog"],
    "preprocess": {
        "resize": 36,
        "crop": 32,
        "interpolation": "bilinear",
        "mean": [0.5, 0.5, 0.5],
        "std": [0.2, 0.2, 0.2],
    },
    "input": {"name": "pixels", "dtype": "uint8", "shape": [None, 32, 32, 3]},
    "outputs": [{"name": "logits", "dtype": "float32", "shape": [None, 2]}],
    "metrics": {"held_out": {"top1": 0.5}},
    "provenance": {"recipe": {"epochs": 3}},
    "self_test": {"logits": [[0.0, 1.0]]},
    "calibration": {
        "temperature": 1.5,
        "images": 9,
        "ece_before": 0.2,
        "ece_after": 0.1,
        "source": "held-out images",
    },
    "artifacts": [
        {
            "format": "openvino-ir",
            "precision": "int8",
            "batch": None,
            "files": [
                {"name": "model.int8.xml", "sha256": "0" * 64, "bytes": 3},
                {"name": "model.int8.bin", "sha256": "1" * 64, "bytes": 4},
            ],
            "verification": [
                {
                    "engine": "openvino",
                    "engine_version": "1",
                    "images": 3,
                    "source": "photos",
                    "max_abs_diff": 0.0,
                    "top1_agreement": 1.0,
                    "tolerance": 1.0,
                    "latency_ms": 1.0,
                    "machine": "some",
                }
            ],
            "quantization": None,
        },
        {
            "format": "onnx",
            "precision": "fp32",
            "files": [{"name": "model.onnx", "sha256": "2" * 64, "bytes": 5}],
        },
    ],
}


OLD = {
    **VALUES,
    "format_version": 1,
    "artifacts": [
        {
            "name": name,
            "file": f"{name}.bin",
            "format": kind,
            "precision": precision,
            "sha256": str(number) * 64,
            "bytes": 7,
        }
        for number, (name, kind, precision) in enumerate(
            [
                ("onnx", "onnx", "fp32"),
                ("onnx-batch8", "onnx", "fp32"),
                ("openvino-int8", "openvino-ir", "int8"),
                ("openvino-int8-weights", "openvino-ir", "int8"),
                ("trained-images", "blake2b-64", "none"),
            ]
        )
    ],
}
"""The same in the format of before, as far as it had it."""


def read(values: Any) -> Manifest:
    return Manifest.from_json(json.dumps(values), "here")


def changed(**changes: object) -> dict[str, Any]:
    return {**copy.deepcopy(VALUES), **changes}


def test_an_artifact_is_found_by_format_precision_and_batch(tmp_path: Path) -> None:
    bundle = Bundle(tmp_path, read(VALUES))
    found = bundle.find(format="openvino-ir", precision="int8")
    assert found is not None
    assert [file.name for file in found.files] == ["model.int8.xml", "model.int8.bin"]
    assert (found.bytes, found.verification[0].engine) == (7, "openvino")
    assert bundle.find(format="onnx") is not None
    for other in ({"precision": "int8"}, {"batch": 8}, {"precision": None}):
        assert bundle.find(format="onnx", **other) is None
    with pytest.raises(BundleError, match="has no onnx in fp32 for batches of 8") as refused:
        bundle.file(format="onnx", batch=8)
    assert "(it has: openvino-ir in int8, onnx in fp32)" in str(refused.value)


def test_records_are_found_by_engine_and_stored_precision(tmp_path: Path) -> None:
    bundle = Bundle(tmp_path, read(VALUES))
    (found,) = bundle.records("openvino", "int8")
    int8 = bundle.find(format="openvino-ir", precision="int8")
    assert int8 is not None
    assert found == (int8, int8.verification[0])
    assert list(bundle.records("onnxruntime", "int8")) == []
    assert list(bundle.records("openvino", "bf16")) == []


def test_all_files_of_an_artifact_are_checked(tmp_path: Path) -> None:
    contents = {"model.xml": b"graph", "model.bin": b"weights"}
    artifact = Artifact.of("openvino-ir", contents, precision="fp16")
    manifest = read(VALUES).with_artifacts([artifact], "here")
    bundle = write_bundle(tmp_path / "b.bundle", manifest, contents)
    paths = Bundle.load(bundle.path).files(format="openvino-ir", precision="fp16")
    assert [path.read_bytes() for path in paths] == [b"graph", b"weights"]
    with pytest.raises(BundleError, match="in 2 files instead of one"):
        bundle.file(format="openvino-ir", precision="fp16")
    (bundle.path / "model.bin").write_bytes(b"weightz")
    with pytest.raises(BundleError, match=r"model\.bin is not the file that was exported"):
        bundle.files(format="openvino-ir", precision="fp16")


def test_unknown_formats_are_listed_and_not_used(bundle: Bundle, tmp_path: Path) -> None:
    path = tmp_path / "b.bundle"
    shutil.copytree(bundle.path, path)
    (path / "model.hef").write_bytes(b"for some accelerator")
    values = json.loads((path / MANIFEST).read_text("utf-8"))
    made = Artifact.of("hailo", {"model.hef": b"for some accelerator"}, precision="int4")
    values["artifacts"].insert(0, made.model_dump(mode="json"))
    (path / MANIFEST).write_text(json.dumps(values), "utf-8")
    loaded = Bundle.load(path)
    assert str(loaded.artifacts[0]) == "hailo in int4"
    assert loaded.files(format="hailo", precision="int4")[0].name == "model.hef"
    with Classifier(loaded) as classifier:
        assert next(classifier.predict(np.zeros((64, 64, 3), np.uint8))).ok


@pytest.mark.parametrize(
    ("place", "said"),
    [
        ((), "surprise"),
        (("model",), "model.surprise"),
        (("input",), "input.surprise"),
        (("artifacts", 0), "artifacts.0.surprise"),
        (("artifacts", 0, "files", 1), "artifacts.0.files.1.surprise"),
        (("artifacts", 0, "verification", 0), "artifacts.0.verification.0.surprise"),
    ],
)
def test_unknown_fields_of_a_newer_minor_version_are_ignored(
    place: tuple[str | int, ...], said: str
) -> None:
    newer = changed(format_version=NEWER)
    inside: Any = newer
    for key in place:
        inside = inside[key]
    inside["surprise"] = {"anything": [1]}
    manifest = read(newer)
    assert manifest.passed_over == (said,)
    assert manifest.model_dump() == read(VALUES).model_dump()
    # What is written says of itself what it is, without what could not be looked after.
    written = json.loads(manifest.to_json())
    assert written["format_version"] == FORMAT_VERSION
    assert "surprise" not in manifest.to_json()
    # In a manifest of the version that is written here, it is a slip.
    newer["format_version"] = FORMAT_VERSION
    with pytest.raises(BundleError, match="surprise"):
        read(newer)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"preprocess": {**VALUES["preprocess"], "gamma": 2.2}}, "gamma"),
        ({"model": {**VALUES["model"], "activation": "tanh"}}, "model.activation"),
        ({"surprise": 1, "classes": ["one"]}, "1 class names for 2 classes"),
    ],
)
def test_a_newer_version_is_refused_where_unknown_fields_change_the_answers(
    changes: dict[str, object], words: str
) -> None:
    with pytest.raises(BundleError, match=words):
        read(changed(format_version=NEWER, **changes))


@pytest.mark.parametrize("version", [2, 3, 0, "1.0", "4.0", "2", "2.x", "", None, [2], True, 1e400])
def test_another_major_version_is_refused(version: object) -> None:
    with pytest.raises(BundleError, match="update fleetnet"):
        read(changed(format_version=version))


@pytest.mark.parametrize(
    "name",
    ["../x", "/x", "a\\b", "C:x", "..", "", "a\nb", "a\0b", "\ud800", "fleetnet.json",
     "FleetNet.JSON"],
)  # fmt: skip
def test_files_are_called_by_plain_names(name: str) -> None:
    values = changed()
    values["artifacts"][0]["files"][1]["name"] = name
    with pytest.raises(BundleError, match=r"artifacts\.0\.files\.1\.name") as refused:
        read(values)
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize("name", ["model.onnx", "MODEL.ONNX", "model.int8.xml"])
def test_no_file_is_there_twice(name: str) -> None:
    values = changed()
    values["artifacts"][0]["files"][1]["name"] = name
    with pytest.raises(BundleError, match="in the same file"):
        read(values)


def test_no_field_is_there_twice() -> None:
    text = json.dumps(changed())
    twice = text.replace('"classes":', '"classes": ["other"], "classes":', 1)
    Manifest.from_json(text, "m")
    with pytest.raises(BundleError, match="'classes' is there twice"):
        Manifest.from_json(twice, "m")


def test_no_artifact_is_there_twice() -> None:
    values = changed()
    values["artifacts"][0].update(format="onnx", precision="fp32")
    with pytest.raises(BundleError, match="two artifacts are onnx in fp32"):
        read(values)


def test_deeply_nested_json_is_refused() -> None:
    deep: Any = 1
    for _ in range(400):
        deep = [deep]
    with pytest.raises(BundleError, match="nested deeper"):
        read(changed(metrics={"deep": deep}))


EDITED = st.sampled_from([VALUES, {**VALUES, "format_version": NEWER}, OLD]).flatmap(
    lambda values: st.tuples(st.just(values), edits(values))
)
"""A manifest, and what somebody does to it."""


@pytest.mark.slow
@settings(max_examples=300, suppress_health_check=[HealthCheck.too_slow])
@given(EDITED)
def test_random_edits_are_read_or_refused_in_one_line(edited: Any) -> None:
    try:
        manifest = read(after(*edited))
    except BundleError as refused:
        said = str(refused)
    else:
        said = ""
        assert read(json.loads(manifest.to_json())).to_json() == manifest.to_json()
        bundle = Bundle(Path("nowhere"), manifest)
        for artifact in bundle.artifacts:
            with pytest.raises(BundleError, match="is missing"):
                bundle.files_of(artifact)
    assert len(said.splitlines()) <= 1


def test_a_manifest_of_version_1_reads_like_one_of_version_2() -> None:
    keys = [artifact.key for artifact in read(OLD).artifacts]
    assert keys == [
        ("onnx", "fp32", None),
        ("onnx", "fp32", 8),
        ("openvino-ir", "int8", None),
        ("trained-images", None, None),
    ]
    assert len(read(OLD).artifacts[2].files) == 2
    assert read(OLD).model_copy(update={"artifacts": read(VALUES).artifacts}) == read(VALUES)
