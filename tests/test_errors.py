"""What a program learns of an error: its code and its fields, whatever the message says."""

import ast
import json
import re
import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import onnx
import pytest
from PIL import Image

import fleetnet
from fleetnet import errors
from fleetnet.bundle import MANIFEST, Bundle
from fleetnet.conformance.refusals import kind_of
from fleetnet.data.sources import SourceOptions, open_source
from fleetnet.errors import FleetnetError, ImageError, VerificationError
from fleetnet.export import bundle as exporting
from fleetnet.export.onnx import to_onnx
from fleetnet.export.quantize.guard import search
from fleetnet.export.quantize.layers import Layer
from fleetnet.geometry import geometry
from fleetnet.image_bytes import read_bytes
from fleetnet.images import decode
from fleetnet.inference.comparison import Comparison
from fleetnet.inference.engines import open_engine
from fleetnet.training.recipe import Recipe
from fleetnet.weights.read import read_weights
from samples import ROOT, encode

PACKAGE = Path(fleetnet.__file__).parent


def facts(error: FleetnetError) -> dict[str, object]:
    """Return an error's fields after a way through JSON, which they have to survive."""
    found: dict[str, object] = json.loads(json.dumps(error.to_json(), allow_nan=False))["fields"]
    return found


def raised(function: object, *arguments: object, **named: object) -> FleetnetError:
    assert callable(function)
    with pytest.raises(FleetnetError) as caught:
        function(*arguments, **named)
    return caught.value


def test_a_file_of_a_bundle_that_changed(bundle: Bundle, tmp_path: Path) -> None:
    copy = tmp_path / "a.bundle"
    shutil.copytree(bundle.path, copy)
    (file,) = bundle.manifest.artifacts[0].files
    (copy / file.name).write_bytes(b"else")
    error = raised(open_engine, "onnxruntime", Bundle.load(copy))
    assert error.code == "changed-file"
    found = facts(error)
    assert found["file"] == str(copy / file.name)
    assert found["expected"] == file.sha256
    assert len(str(found["found"])) == 64
    (copy / file.name).unlink()
    error = raised(open_engine, "onnxruntime", Bundle.load(copy))
    assert (error.code, facts(error)) == ("missing-file", {"file": str(copy / file.name)})


@pytest.mark.parametrize(
    ("change", "code", "expected"),
    [
        ({"model": {"name": "x", "num_classes": 0}}, "manifest", {"key": "model.num_classes"}),
        ({"nothing": 1}, "manifest", {"key": "nothing"}),
        ({"format": "other"}, "bundle", {}),
    ],
)
def test_a_manifest(
    bundle: Bundle, tmp_path: Path, change: dict[str, object], code: str, expected: object
) -> None:
    copy = tmp_path / "a.bundle"
    copy.mkdir()
    values = json.loads((bundle.path / MANIFEST).read_text("utf-8")) | change
    (copy / MANIFEST).write_text(json.dumps(values), "utf-8")
    error = raised(Bundle.load, copy)
    assert error.code == code
    assert isinstance(expected, dict)
    assert facts(error).items() >= {"file": str(copy / MANIFEST), **expected}.items()


@pytest.mark.parametrize(
    ("setting", "code", "expected"),
    [
        ("optimizer.lrr=1", "unknown-key", {"key": "optimizer.lrr"}),
        ("epochs=-1", "bad-value", {"key": "epochs", "value": -1, "allowed": "at least 1"}),
        ("epochs=x", "bad-value", {"key": "epochs", "value": "x", "allowed": "a whole number"}),
    ],
)
def test_a_setting_of_a_recipe(setting: str, code: str, expected: dict[str, object]) -> None:
    error = raised(Recipe.load, overrides=[setting])
    assert error.code == code
    assert facts(error).items() >= expected.items()


def test_a_recipe_lists_the_words_that_a_setting_takes() -> None:
    allowed = facts(raised(Recipe.load, overrides=["optimizer.name=addam"]))["allowed"]
    assert isinstance(allowed, list)
    assert "sgd" in allowed


def test_a_line_of_a_list(tmp_path: Path) -> None:
    file = tmp_path / "list.txt"
    file.write_text("a.jpg one\nb.jpg\n")
    error = raised(open_source, str(file))
    assert facts(error) == {"file": str(file), "line": 2, "arguments": ["separator"]}
    table = tmp_path / "table.csv"
    table.write_text("path,label,split\na.jpg,one,train\nb.jpg,two,tset\n")
    error = raised(open_source, str(table))
    assert error.code == "unknown-split"
    assert facts(error).items() >= {"file": str(table), "line": 3, "given": "tset"}.items()
    error = raised(open_source, str(table), options=SourceOptions(label_columns=("lable",)))
    assert error.code == "unknown-column"
    assert facts(error)["known"] == ["path", "label", "split"]
    assert facts(error)["file"] == str(table)


@pytest.mark.parametrize("name", ["gone.pth", "text.pth"])
def test_weights(name: str, tmp_path: Path) -> None:
    (tmp_path / "text.pth").write_text("text")
    assert facts(raised(read_weights, tmp_path / name))["file"] == str(tmp_path / name)


@dataclass(frozen=True)
class Answers:
    agreement: float


def test_too_few_answers_in_int8() -> None:
    layers = [Layer("first", ("a",), 1), Layer("second", ("b",), 1)]

    def attempt(_: Sequence[Layer]) -> Answers:
        return Answers(0.5)

    error = raised(search, attempt, lambda: layers, 0.9, "openvino")
    assert error.code == "verification"
    found = facts(error)
    assert (found["engine"], found["agreement"], found["required_agreement"]) == (
        "openvino",
        0.5,
        0.9,
    )
    assert found["kept_layers"] == ["first"]


@pytest.mark.slow
def test_an_engine_that_answers_otherwise(
    checkpoint: Path, tmp_path: Path, shapes: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def wrong(*arguments: object) -> bytes:
        model = onnx.load_from_string(to_onnx(*arguments))  # type: ignore[arg-type]
        node = next(n for n in model.graph.node if n.name.startswith("blocks.4.project.conv/Conv"))
        weights = next(t for t in model.graph.initializer if t.name == node.input[1])
        values = -onnx.numpy_helper.to_array(weights)
        weights.CopyFrom(onnx.numpy_helper.from_array(values, weights.name))
        return bytes(model.SerializeToString())

    monkeypatch.setattr(exporting, "to_onnx", wrong)
    error = raised(
        exporting.export_bundle, checkpoint, tmp_path / "a.bundle", images=[str(shapes)], limit=4
    )
    assert isinstance(error, VerificationError)
    found = facts(error)
    assert found["layer"] == "blocks.4.project"
    assert (found["engine"], found["precision"], found["images"]) == ("onnxruntime", "fp32", 4)
    assert isinstance(found["difference"], float)
    assert isinstance(found["tolerance"], float)
    assert found["difference"] > found["tolerance"] or found["top1_agreement"] != 1.0


def test_a_difference_that_is_no_number_is_null() -> None:
    compared = Comparison("x", "1", 1, float("nan"), 0.0, 1.0, 1)
    found = facts(VerificationError("differs", **compared.facts))
    assert found["difference"] is None


def png(array: object) -> bytes:
    return encode(Image.fromarray(np.asarray(array)), "PNG")


GOOD = png(np.zeros((8, 8, 3), np.uint8))


@pytest.mark.parametrize(
    ("data", "kind"),
    [
        (b"text", "not-an-image"),
        (GOOD[:-14], "truncated"),
        (GOOD[:-20] + b"x" + GOOD[-19:], "damaged"),
        (encode(Image.fromarray(np.zeros((8, 8), np.float32)), "TIFF"), "unsupported"),
        (encode(Image.new("RGB", (64, 64), "red"), "BMP")[:-100], "truncated"),
        (b"P6 100000 100000 255\n", "too-large"),
    ],
    ids=["text", "cut-png", "checksum", "float", "cut-bmp", "huge"],
)
def test_why_an_image_is_refused(data: bytes, kind: str) -> None:
    error = raised(decode, data)
    assert isinstance(error, ImageError)
    assert (error.code, kind_of(error)) == (kind, kind)


def test_why_a_file_or_a_shape_is_refused(tmp_path: Path) -> None:
    (tmp_path / "a.png").touch()
    assert raised(read_bytes, tmp_path / "a.png").code == "empty"
    error = raised(geometry, 101, 1, 32, 32, "bilinear")
    assert (error.code, facts(error)) == ("too-long", {"width": 101, "height": 1, "limit": 100})


def test_the_page_lists_every_code() -> None:
    """Those that stand in the source; ``unknown-…`` is made of what is unknown."""
    page = (ROOT / "docs" / "errors.md").read_text("utf-8")
    told = set(re.findall(r"`([a-z-]+)`", page))
    codes = {
        kind.code
        for kind in vars(errors).values()
        if isinstance(kind, type) and issubclass(kind, FleetnetError)
    }
    for file in PACKAGE.rglob("*.py"):
        for node in ast.walk(ast.parse(file.read_text("utf-8"))):
            if isinstance(node, ast.keyword) and node.arg == "code":
                codes |= {
                    inner.value
                    for inner in ast.walk(node.value)
                    if isinstance(inner, ast.Constant) and isinstance(inner.value, str)
                }
    codes = {code for code in codes if re.fullmatch(r"[a-z]+(-[a-z]+)*", code)}
    missing = {code for code in codes if not code.startswith("unknown-")} - told
    assert not missing
