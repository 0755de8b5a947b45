"""Damaged bundles are refused by the C++ library with the line that Python says."""

from __future__ import annotations

import copy
import itertools
import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from cpp.library import Library, LibraryError
from fleetnet.bundle import Bundle
from fleetnet.errors import BundleError
from fleetnet.inference.classifier import Classifier

NETWORK = Path(__file__).parents[2] / "conformance" / "network.onnx"
Values = dict[str, Any]


@pytest.fixture(scope="module")
def manifest() -> Values:
    """Return the manifest of a whole bundle, with every field that there can be."""
    bundle = Bundle.load(NETWORK)
    values: Values = json.loads(bundle.manifest.to_json())
    file = bundle.artifacts[0].files[0]
    judged = {
        "metric": "recall", "of_class": "c", "judged_by": "labels", "images": 8, "loss": 0.0,
        "low": -0.1, "high": 0.1, "allowed": 0.2, "fp32": 0.5, "found": 0.5, "fp32_nll": 0.1,
        "nll": 0.1, "fp32_ece": None, "ece": None,
    }  # fmt: skip
    record = {
        "engine": "openvino", "engine_version": "1", "device": "cpu", "images": 8, "source": "s",
        "max_abs_diff": 0.1, "top1_agreement": 1.0, "tolerance": 1.0, "agreement": None,
        "mean_abs_diff": 0.0, "judgement": judged, "latency_ms": 1.5, "machine": "m",
    }  # fmt: skip
    made = {
        "tool": "t", "calibration_images": 8, "weight_bits": 8, "agreement": 0.99, "layers": 4,
        "kept_layers": ["a"], "kept_macs": 0.25,
    }  # fmt: skip
    values["artifacts"] = [
        {
            "format": "onnx", "precision": "fp32", "batch": None,
            "files": [{"name": "model.onnx", "sha256": file.sha256, "bytes": file.bytes}],
            "verification": [record], "quantization": made,
        }
    ]  # fmt: skip
    values["calibration"] = {
        "temperature": 1.5, "images": 9, "ece_before": 0.2, "ece_after": 0.1, "source": "s",
    }  # fmt: skip
    values["format_version"] = "3.0"
    values["rejection"] = {
        "score": "max-logit", "threshold": -1.5, "coverage": 0.9, "risk": 0.1, "images": 9,
        "source": "s",
    }  # fmt: skip
    values["self_test"] = {"logits": [[0.5, 1, -2.0, 0.0]]}
    return values


def _places(value: Any, path: tuple[int | str, ...] = ()) -> list[tuple[int | str, ...]]:
    inner = value.items() if isinstance(value, dict) else enumerate(value)
    found = []
    for key, item in inner:
        found.append((*path, key))
        if isinstance(item, dict | list):
            found += _places(item, (*path, key))
    return found


def _changed(
    values: Values, place: tuple[int | str, ...], change: Callable[[Any, Any], None]
) -> Values:
    copied = copy.deepcopy(values)
    inside: Any = copied
    for key in place[:-1]:
        inside = inside[key]
    change(inside, place[-1])
    return copied


def _set(value: Any) -> Callable[[Any, Any], None]:
    return lambda inside, key: inside.__setitem__(key, value)


OTHERS: tuple[Any, ...] = (
    None, True, 0, -3, 2, 2.5, 7.0, 1e300, 10**30, 4097, "", "x", "3", " 3.0 ", "softmin",
    "float23", "a/b", "..", "fleetnet.JSON", "it's", 'q"', "\u200b", "\t", "ä" * 70, [], [1, 2, 3],
    ["a", None], {}, {"x": 1}, [None, 24, 24, 3], [8, 24, 24, 3], [0.0, 1, 2],
)  # fmt: skip
VERSIONS: tuple[Any, ...] = (
    "2.0", "2.9", "2.00", "2.", "3.0", "3.7", "3.", "4.0", "1", "1.0", 1, 1.0, True, 2, 2.0, None,
    [], "2.1234567", "a very long version that is not shown",
)  # fmt: skip


def _said_by_python(folder: Path) -> str:
    try:
        with Classifier(folder):
            return ""
    except BundleError as error:
        return str(error)


def _said_by_library(library: Library, folder: Path) -> str:
    try:
        with library.open(folder, reject=1):
            return ""
    except LibraryError as error:
        return str(error)


def _compare(library: Library, folder: Path, texts: list[str | bytes]) -> None:
    file = folder / "fleetnet.json"
    differing = []
    for text in texts:
        file.write_bytes(text if isinstance(text, bytes) else text.encode())
        wanted, found = _said_by_python(folder), _said_by_library(library, folder)
        if wanted != found:
            differing.append(f"{text[-300:]!r}\n  Python: {wanted}\n  C++:    {found}")
    assert not differing, f"{len(differing)} of {len(texts)}:\n" + "\n".join(differing[:20])


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Return a folder with the network in it, for a manifest."""
    shutil.copy(NETWORK, tmp_path / "model.onnx")
    return tmp_path


def test_every_field_that_is_another(library: Library, folder: Path, manifest: Values) -> None:
    """Each field gets values of other kinds, goes, or has another beside it."""
    texts: list[str | bytes] = []
    for place in _places(manifest):
        if place[0] in ("metrics", "provenance"):
            continue
        # Larger batches than any engine takes are not told apart.
        others = OTHERS if place[-1] != "batch" else [each for each in OTHERS if each != 10**30]
        texts += [json.dumps(_changed(manifest, place, _set(other))) for other in others]
        texts.append(json.dumps(_changed(manifest, place, lambda inside, key: inside.pop(key))))
        if isinstance(place[-1], str):
            texts.append(json.dumps(_changed(manifest, (*place[:-1], "more"), _set(1))))
    _compare(library, folder, texts)


def test_versions(library: Library, folder: Path, manifest: Values) -> None:
    """Older, newer and impossible versions, with unknown fields and without."""
    texts: list[str | bytes] = []
    bare = {key: value for key, value in manifest.items() if key != "rejection"}
    for version, values in itertools.product(VERSIONS, (bare, manifest)):
        plain = {**values, "format_version": version}
        texts.append(json.dumps(plain))
        places = ((), ("model",), ("preprocess",), ("artifacts", 0), ("artifacts", 0, "files", 0))
        texts += [
            json.dumps(_changed(plain, (*place, "later"), _set({"x": [1]}))) for place in places
        ]
    _compare(library, folder, texts)


def test_artifacts_of_version_1(library: Library, folder: Path, manifest: Values) -> None:
    """Artifacts that had a name and one file."""
    file = manifest["artifacts"][0]["files"][0]
    onnx = {"name": "onnx", "format": "onnx", "file": "model.onnx", "sha256": file["sha256"]}
    onnx["bytes"] = file["bytes"]
    other = {**onnx, "name": "other", "file": "b", "precision": "none"}
    lists: tuple[Any, ...] = (
        [onnx], [onnx, onnx], [onnx, other], [onnx, {**other, "name": "weights"}],
        [onnx, {**other, "name": "onnx-batch8"}], [onnx, {**other, "name": "onnx-batch08"}],
        [{**other, "name": "openvino-int8-weights"}, onnx, {**other, "name": "openvino-int8"}],
        [onnx, {**other, "name": "openvino-int8"}], [{"name": "onnx"}], [{}], [3], {}, None, "x",
        [{**onnx, "files": []}], [{**onnx, "more": 1}],
    )  # fmt: skip
    old = {
        key: value for key, value in manifest.items() if key not in ("format_version", "rejection")
    }
    _compare(library, folder, [json.dumps({**old, "artifacts": each}) for each in lists])


def test_what_is_no_manifest(library: Library, folder: Path, manifest: Values) -> None:
    """Broken JSON, names twice, and depth."""
    whole = json.dumps(manifest)
    inside = json.dumps({**manifest, "metrics": {}})
    texts: list[str | bytes] = [
        "", "{", "null", "[]", '"x"', "{}", '{"format": 3}', whole[:-1], whole + "x",
        "\x00" + whole,
        whole.replace('"resize": 27', '"resize": 27, "resize": 27'),
        whole.replace('"name": "MobileNetV2_x0_25"', '"name": "it\'s", "name": "b"'),
        *(inside.replace('"metrics": {}', f'"metrics": {{"a": {"[" * n}{"]" * n}}}')
          for n in (10, 60, 61, 62, 63, 200)),
        b"\xff" + whole.encode(),
        whole.replace("circle", "\u0000kreis ä").encode(),
    ]  # fmt: skip
    _compare(library, folder, texts)


def test_files_that_are_not_as_exported(library: Library, folder: Path, manifest: Values) -> None:
    """Other content, absence, a link, a folder in a file's place."""
    (folder / "fleetnet.json").write_text(json.dumps(manifest))
    file, content = folder / "model.onnx", NETWORK.read_bytes()
    differing = []

    def compare(case: str) -> None:
        wanted, found = _said_by_python(folder), _said_by_library(library, folder)
        if wanted != found or not wanted:
            differing.append(f"{case}\n  Python: {wanted}\n  C++:    {found}")

    file.write_bytes(content[:-1] + b"x")
    compare("other content")
    file.write_bytes(content + b"x")
    compare("longer")
    file.write_bytes(content[:-1])
    compare("shorter")
    file.unlink()
    compare("missing")
    file.symlink_to(NETWORK)
    compare("a link")
    file.unlink()
    file.mkdir()
    compare("a folder")
    (folder / "fleetnet.json").unlink()
    compare("no manifest")
    assert not differing, "\n".join(differing)


def test_onnx_files_without_a_manifest(library: Library, tmp_path: Path) -> None:
    """Files that are cut off, of another kind, or without metadata."""
    content = NETWORK.read_bytes()
    plain = tmp_path / "plain.onnx"
    differing = []
    for data in (b"", b"x", content[:1000], content[:-1], b"\x08\x07", b"\xff" * 40, b"\x0b"):
        plain.write_bytes(data)
        wanted, found = _said_by_python(plain), _said_by_library(library, plain)
        if wanted != found or not wanted:
            differing.append(f"{data[:20]!r}\n  Python: {wanted}\n  C++:    {found}")
    assert not differing, "\n".join(differing)
