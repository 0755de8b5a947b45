"""Rockchip's processors; where the environment was not made, nothing is fetched here."""

from __future__ import annotations

import os
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import conftest
from export.pages import check_program
from export.test_mobile_targets import needs
from export.test_native_program import STAND_INS, answers, changed, put, ran
from fleetnet.bundle import Bundle
from fleetnet.errors import FleetnetError
from fleetnet.export.converted import export_to
from fleetnet.export.converted_engine import ConvertedEngine
from fleetnet.export.native_program import program
from fleetnet.export.plain_layers import tensors_of
from fleetnet.export.plain_onnx import plain_graph
from fleetnet.export.quantize.layers import layers_of, read_graph
from fleetnet.export.separate import convert
from fleetnet.export.targets import TARGETS, find_target
from fleetnet.export.targets.rknn import ENVIRONMENT, PARTS, kept_in
from fleetnet.export.targets.tnn import run_planes
from fleetnet.preprocess import Preprocess

pytestmark = pytest.mark.slow
LONG = pytest.mark.skipif(
    os.environ.get("FLEETNET_DEVICES") != "all", reason="FLEETNET_DEVICES=all"
)
BOARD = """
import numpy as np
import onnxruntime

class RKNNLite:
    def load_rknn(self, path):
        self.session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
        return 0

    def init_runtime(self):
        return 0

    def inference(self, inputs, data_format=None):
        (pixels,) = inputs
        assert pixels.dtype == np.uint8 and data_format == ["nhwc"]
        planes = pixels.transpose(0, 3, 1, 2).astype(np.float32)
        return self.session.run(["logits"], {"pixels": planes})

    def release(self):
        pass
"""
"""In place of the package for boards."""


def test_a_plain_graph_has_the_layers_of_the_network(bundle: Bundle) -> None:
    layers = layers_of(read_graph(bundle.content(format="onnx").data, "it"), "it")
    graph = plain_graph(bundle, 1)
    tensors = tensors_of(graph, layers)
    assert list(tensors) == [layer.name for layer in layers]
    every = [name for names in tensors.values() for name in names]
    assert len(every) == len(set(every))
    assert all(tensors.values())
    assert "logits" in tensors[layers[-1].name]
    with pytest.raises(FleetnetError, match=f"other layers than the network: {layers[-1].name}"):
        tensors_of(graph, layers[:-1])


def test_kept_tensors_are_listed() -> None:
    names = ("/a_1", "/a_10", "/a_1_gavg", "b", "b_mm", "b_int8")
    ranges = "quantize_parameters:\n" + "".join(f"    {n}:\n        min: 0\n" for n in names)
    config = f"custom_quantize_layers: {{}}\n{ranges}".encode()
    assert kept_in(config, []) == config
    kept = "".join(f"    {n}: float16\n" for n in ("/a_1", "/a_1_gavg", "b", "b_mm"))
    expected = f"custom_quantize_layers:\n{kept}{ranges}".encode()
    assert kept_in(config, ["/a_1", "/gone", "b"]) == expected
    with pytest.raises(FleetnetError, match="not understood"):
        kept_in(b"layers: {}", ["a"])


@pytest.mark.parametrize(
    ("given", "words"),
    [
        (["--to", "rknn", "--chip", "rk3858"], "unknown chip 'rk3858', did you mean 'rk3588'?"),
        (["--to", "onnx", "--chip", "rk3588"], "for no chip in particular: leave out --chip"),
        (["--chip", "rk3588"], "--chip is for files of another runtime: give it with --to"),
    ],
)
def test_odd_chips_are_a_line(
    given: list[str], words: str, fleetnet: conftest.Run, bundle: Bundle, tmp_path: Path
) -> None:
    refused = fleetnet("export", bundle.path, "-o", tmp_path / "made", *given)
    assert refused.code == 2
    assert words in refused.err.splitlines()[-1]
    assert not (tmp_path / "made").exists()


def test_the_page_is_for_the_chip_and_its_program_runs(
    bundle: Bundle, shapes: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = replace(
        TARGETS["rknn"].for_chip("rk3566"),
        environment=None,
        made_by=(),
        package="onnxruntime",
        precisions=("fp32",),
        convert=lambda bundle, _precision, _batch: {"model.rknn": plain_graph(bundle, 1)},
        load=lambda files: run_planes(files["model.rknn"]),
    )
    monkeypatch.setattr(TARGETS, "_found", dict(TARGETS) | {"rknn": made})
    written = export_to(bundle.path, "rknn", tmp_path / "made", images=[str(shapes)], limit=5)
    assert written.manifest.provenance["chip"] == "rk3566"
    page = (written.path / "README.md").read_text("utf-8")
    crop = bundle.manifest.preprocess.crop
    assert "is for the chip rk3566:" in page
    assert f"Takes `uint8[1, {crop}, {crop}, 3]`, RGB, which is `RKNN_TENSOR_UINT8`" in page
    (written.path / "rknnlite").mkdir()
    (written.path / "rknnlite" / "api.py").write_text(BOARD)
    check_program(written, bundle, sorted(shapes.glob("*/*"))[0], None)


@pytest.mark.skipif(shutil.which("g++") is None, reason="apt-get install g++")
def test_the_program_gives_the_runtime_the_pixels_of_python(bundle: Bundle, tmp_path: Path) -> None:
    preprocess = Preprocess(40, 32, "bilinear")
    manifest = changed(bundle, preprocess, "softmax", None)
    put(tmp_path, program("rknn")({}, manifest))
    shutil.copy(STAND_INS / "rknn" / "runtime.cpp", tmp_path)
    core = [*(tmp_path / "core").glob("*.c")]
    strict: list[str | Path] = [
        "-std=c++17",
        "-Wall",
        "-Wextra",
        "-Wpedantic",
        "-Werror",
        "-I",
        STAND_INS / "rknn",
    ]
    ran("gcc", "-c", "-std=c99", "-O1", "-ffp-contract=off", *core, cwd=tmp_path)
    objects = [f"{path.stem}.o" for path in core]
    sources = ["classify.cpp", "answers.cpp", "network.cpp", "runtime.cpp"]
    ran("g++", *strict, *sources, *objects, "-o", "classify", cwd=tmp_path)
    (tmp_path / "model.rknn").write_bytes(b"a network")
    picture = np.random.default_rng(4).integers(0, 256, (57, 91, 3), np.uint8)
    image = tmp_path / "picture.ppm"
    Image.fromarray(picture).save(image)
    found = answers(ran("./classify", tmp_path, image, cwd=tmp_path), image)
    pixels = np.fromfile(tmp_path / "pixels", np.uint8)
    np.testing.assert_array_equal(pixels, preprocess(picture).ravel())
    assert found[0][0] == manifest.classes[-1]


def test_files_are_run_where_they_were_made() -> None:
    load = TARGETS["rknn"].load
    assert load is not None
    with pytest.raises(FleetnetError, match="runs what was just converted"):
        load({"model.rknn": b"RKNN"})


def test_the_simulator_answers_as_the_network(bundle: Bundle, shapes: Path, tmp_path: Path) -> None:
    needs("rknn")
    written = export_to(
        bundle.path, "rknn", tmp_path / "made", chip="rk3568", images=[str(shapes)], limit=5
    )
    (artifact,) = written.artifacts
    (record,) = artifact.verification
    assert artifact.key == ("rknn", "fp16", 1)
    assert [file.name for file in artifact.files] == ["model.rknn"]
    assert (record.engine, record.images, record.top1_agreement) == ("rknn-toolkit2", 5, 1.0)
    assert 0 < record.max_abs_diff <= 0.05
    assert set(written.manifest.provenance["converters"]) == {"rknn-toolkit2"}


@LONG
def test_what_the_tool_refuses_is_a_line() -> None:
    needs("rknn")
    for files in ({"model.onnx": b"no graph"}, dict.fromkeys(PARTS, b"nothing")):
        with pytest.raises(FleetnetError) as refused:
            convert(ENVIRONMENT, "rknn_convert", files, ("model.rknn",), {"chip": "rk3588"})
        assert len(str(refused.value).splitlines()) == 1


@LONG
@pytest.mark.parametrize("chip", TARGETS["rknn"].chips)
def test_every_chip_gets_a_file(chip: str, bundle: Bundle) -> None:
    needs("rknn")
    target, precision = find_target("rknn")
    files = target.for_chip(chip).convert(bundle, precision, None)
    assert files["model.rknn"].startswith(b"RKNN")


@LONG
def test_layers_are_kept_in_16_bits(bundle: Bundle) -> None:
    needs("rknn")
    target = TARGETS["rknn"]
    assert target.int8 is not None
    crop = bundle.manifest.preprocess.crop
    pixels = np.random.default_rng(0).integers(0, 256, (10, crop, crop, 3), np.uint8)
    layers = layers_of(read_graph(bundle.content(format="onnx").data, "it"), "it")
    quantize = target.int8.calibrate(bundle, 1, pixels, layers)
    found = []
    for files in (
        target.convert(bundle, "fp16", 1),
        quantize([]),
        quantize([layer.name for layer in layers]),
    ):
        with ConvertedEngine(target, files, "int8", 1) as engine:
            found.append(engine.run(pixels))
    assert np.abs(found[2] - found[0]).max() < np.abs(found[1] - found[0]).max() / 4
