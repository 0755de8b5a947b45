"""Export targets: those of our own, and what a target's answers are held to."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import numpy as np
import onnxruntime
import pytest

import conftest
from export.pages import check_program
from fleetnet.bundle import Artifact, Bundle, Judgement
from fleetnet.errors import FleetnetError, VerificationError
from fleetnet.export.converted import export_to
from fleetnet.export.devices import measure, measured
from fleetnet.export.targets import TARGETS, Files, Run, Target, find_target
from fleetnet.export.targets.triton import configuration
from fleetnet.inference.classifier import Classifier
from fleetnet.inference.engines import Pixels, open_engine
from fleetnet.inference.engines.openvino import core
from fleetnet.inference.judging import sentence
from made_up_int8 import cell_of
from samples import ROOT

pytestmark = pytest.mark.slow

TRITON = ROOT / ".venv-triton" / "bin" / "python"


@pytest.fixture
def pixels(bundle: Bundle) -> Pixels:
    crop = bundle.manifest.preprocess.crop
    return np.random.default_rng(0).integers(0, 256, (5, crop, crop, 3), np.uint8)


def only(written: Bundle) -> Artifact:
    """Return the only artifact, after checking its files."""
    (artifact,) = written.artifacts
    written.files_of(artifact)
    return artifact


@pytest.mark.parametrize("batch", [None, 3])
@pytest.mark.parametrize("to", ["onnx", "openvino", "openvino:fp32", "openvino:fp16"])
def test_converted_and_verified(
    to: str, batch: int | None, bundle: Bundle, pixels: Pixels, shapes: Path, tmp_path: Path
) -> None:
    written = export_to(
        str(bundle.path), to, tmp_path / "made", batch=batch, images=[str(shapes)], limit=20
    )
    artifact = only(written)
    target, precision = find_target(to)
    assert artifact.key == (target.format, precision, batch)
    (record,) = artifact.verification
    assert record.images == 20
    assert record.engine == target.package
    assert record.top1_agreement == 1.0
    assert record.max_abs_diff <= 1e-3
    assert (record.agreement is None) == (precision == "fp32")
    assert written.manifest.classes == bundle.manifest.classes
    assert Bundle.load(written.path).artifacts == written.artifacts
    files = {path.name: path.read_bytes() for path in written.files_of(artifact)}
    page = (written.path / "README.md").read_text("utf-8")
    assert all(name in page for name in files)
    assert f"uint8[{batch or 'N'}, " in page
    given = pixels[:batch]
    with open_engine("torch", bundle, 1) as reference:
        np.testing.assert_allclose(target.run(files, given), reference.run(given), atol=0.05)


def test_cpp_comes_with_a_program(bundle: Bundle, tmp_path: Path) -> None:
    written = export_to(str(bundle.path), "cpp", tmp_path / "made", limit=2)
    assert only(written).key == ("onnx", "fp32", None)
    assert {path.name for path in written.path.iterdir()} == {
        "CMakeLists.txt",
        "README.md",
        "classify.cpp",
        "fleetnet.json",
        "model.onnx",
    }
    page = (written.path / "README.md").read_text("utf-8")
    assert "cmake --build build" in page
    assert "pip install onnx" not in page
    # People change the program: it is no file of the manifest.
    (written.path / "classify.cpp").write_text("// mine")
    written.files_of(only(Bundle.load(written.path)))
    with pytest.raises(FleetnetError, match="takes any batch: leave out fixed_batch="):
        export_to(str(bundle.path), "cpp", tmp_path / "other", batch=2)
    assert not (tmp_path / "other").exists()


@pytest.mark.parametrize("batch", [None, 3])
@pytest.mark.parametrize("to", ["onnx", "openvino"])
def test_each_runs_by_the_program_of_its_page(
    to: str, batch: int | None, bundle: Bundle, shapes: Path, tmp_path: Path
) -> None:
    written = export_to(str(bundle.path), to, tmp_path / to, batch=batch, limit=2)
    check_program(written, bundle, sorted(shapes.glob("*/*"))[0], None)


def test_half_the_bits_are_half_the_bytes(bundle: Bundle, tmp_path: Path) -> None:
    sizes = {
        to: only(export_to(str(bundle.path), to, tmp_path / to.replace(":", "-"))).files[1].bytes
        for to in ("openvino", "openvino:fp16")
    }
    assert sizes["openvino:fp16"] < 0.55 * sizes["openvino"]


def test_images_that_do_not_exist(
    fleetnet: conftest.Run, bundle: Bundle, shapes: Path, tmp_path: Path
) -> None:
    made = tmp_path / "made"
    given = ["--images", shapes, "--images", tmp_path / "nothing"]
    refused = fleetnet("export", bundle.path, "--to", "onnx", "-o", made, *given)
    refused.assert_one_line("nothing does not exist")
    assert not made.exists()


def test_on_the_command_line(
    fleetnet: conftest.Run, bundle: Bundle, checkpoint: Path, shapes: Path, tmp_path: Path
) -> None:
    made = tmp_path / "made"
    result = fleetnet(
        "export", bundle.path, "--to", "openvino:fp16", "-o", made, "--fixed-batch", "2",
        "--images", shapes, "--limit", "4",
    )  # fmt: skip
    assert result.code == 0, result
    assert "verifying on 4 images (shapes)" in result.err
    assert str(made / "model.xml") in result.out
    assert sorted(path.name for path in made.iterdir()) == [
        "README.md", "fleetnet.json", "model.bin", "model.xml",
    ]  # fmt: skip
    manifest = json.loads((made / "fleetnet.json").read_text("utf-8"))
    (artifact,) = manifest["artifacts"]
    assert (artifact["format"], artifact["precision"], artifact["batch"]) == (
        "openvino-ir", "fp16", 2,
    )  # fmt: skip
    judgement = Judgement.model_validate(artifact["verification"][0]["judgement"])
    heading, row = result.out.splitlines()[2:4]
    assert "points lost" in heading
    assert row.split()[-2] == cell_of(judgement)
    assert f"{row.split()[0]}: {sentence(judgement)}" in result.out
    # Again over its own folder, and of a checkpoint on the images that were held out from it.
    again = fleetnet("export", checkpoint, "--to", "onnx", "-o", made)
    assert again.code == 0, again
    assert "images (held-out images of folder shapes)" in again.err
    assert f"{made} replaces the bundle that was there" in again.err
    assert sorted(path.name for path in made.iterdir()) == [
        "README.md", "fleetnet.json", "model.onnx",
    ]  # fmt: skip
    answers = fleetnet("predict", made, shapes / "circle" / "000.jpg", "--csv")
    assert answers.code == 0, answers


def test_fewer_bits_are_judged_by_what_is_known_of_the_images(
    checkpoint: Path, bundle: Bundle, shapes: Path, tmp_path: Path
) -> None:
    judged = {}
    for name, model, images in (
        ("labels", checkpoint, []),
        ("none", bundle.path, [str(shapes)]),
        ("made up", bundle.path, []),
    ):
        made = export_to(model, "openvino:fp16", tmp_path / name, images=images)
        (record,) = only(made).verification
        judged[name] = record.judgement
        page = (made.path / "README.md").read_text("utf-8")
        assert "gives the same answer on" in page or "is expected to lose" in page
    labels, none, made_up = judged.values()
    assert labels is not None
    assert (labels.judged_by, labels.images) == ("confidence", 9)
    assert labels.fp32 == labels.found == pytest.approx(bundle.manifest.metrics["held_out"]["top1"])
    assert none is not None
    assert (none.judged_by, none.fp32, none.allowed) == ("confidence", None, 0.005)
    assert made_up is not None
    assert made_up.judged_by == "agreement"


def test_a_conversion_that_loses_too_much_is_not_written(
    fleetnet: conftest.Run, bundle: Bundle, shapes: Path, tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    added(monkeypatch, precisions=("fp16",), load=nothing_but_nan)
    result = fleetnet(
        "export", bundle.path, "--to", "odd", "-o", tmp_path / "made", "--images", shapes
    )
    assert result.code == 2
    assert "in fp16 does not answer as the trained network does" in result.err.splitlines()[-1]
    assert "it is expected to lose" in result.err.splitlines()[-1]
    assert list(tmp_path.iterdir()) == []
    fleetnet("export", bundle.path, "--max-loss", "1").assert_one_line("--max-loss")


def test_the_default_output_is_named_for_the_target(
    fleetnet: conftest.Run, bundle: Bundle, tmp_path: Path
) -> None:
    place = tmp_path / "shapes.bundle"
    place.symlink_to(bundle.path)
    result = fleetnet("export", place, "--to", "openvino:fp16", "--limit", "2")
    assert result.code == 0, result
    assert "(2 made-up pictures)" in result.err
    assert Bundle.load(tmp_path / "shapes.openvino-fp16").artifacts


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (
            ["--to", "opnvino"],
            "unknown target 'opnvino', did you mean 'openvino'? (known: android, ",
        ),
        (["--to", "openvino:int4"], "unknown precision 'int4'"),
        (["--to", "openvino:"], "unknown precision '' (known: fp32, fp16)"),
        (["--to", "onnx:fp16"], "unknown precision 'fp16', did you mean 'fp32'? (known: fp32)"),
        (["--to", "onnx", "--fixed-batch", "0"], "it must be from 1 to 4096"),
        (["--to", "onnx", "--fixed-batch", "1", "--fixed-batch", "2"], "takes one --fixed-batch"),
        (["--to", "onnx", "--calibrate"], "export that first"),
        (["--to", "onnx", "--images", "nothing-here"], "nothing-here"),
        (["--to", "onnx", "--tolerance", "1e-12"], "does not answer as the trained network does"),
    ],
)
def test_bad_input(
    fleetnet: conftest.Run, bundle: Bundle, tmp_path: Path, arguments: list[str], words: str
) -> None:
    result = fleetnet("export", bundle.path, "-o", tmp_path / "made", *arguments)
    assert result.code == 2
    assert words in result.err
    assert result.err.strip().splitlines()[-1].startswith("error: ")
    assert "Traceback" not in result.err
    assert list(tmp_path.iterdir()) == []


def test_a_lone_graph_has_no_network_to_compare_with(
    fleetnet: conftest.Run, bundle: Bundle, tmp_path: Path
) -> None:
    graph = bundle.file(format="onnx")
    result = fleetnet("export", graph, "-o", tmp_path / "made", "--to", "openvino")
    assert result.code == 2
    assert "without safetensors in fp32: give the bundle's folder" in result.err
    assert list(tmp_path.iterdir()) == []


def test_what_is_no_bundle_is_not_replaced(
    fleetnet: conftest.Run, bundle: Bundle, tmp_path: Path
) -> None:
    (tmp_path / "mine.txt").touch()
    result = fleetnet("export", bundle.path, "-o", tmp_path, "--to", "onnx")
    result.assert_one_line("exists and is not a bundle")


def test_a_place_that_cannot_be_is_refused_before_the_conversion(
    fleetnet: conftest.Run, bundle: Bundle, tmp_path: Path
) -> None:
    (tmp_path / "mine.txt").touch()
    result = fleetnet("export", bundle.path, "-o", tmp_path / "mine.txt" / "made", "--to", "onnx")
    result.assert_one_line("mine.txt is no folder; choose another place")


def added(monkeypatch: pytest.MonkeyPatch, **changed: object) -> None:
    """Make a target known that is our ONNX but for what is changed."""
    monkeypatch.setattr(TARGETS, "_found", dict(TARGETS))
    TARGETS.add(replace(TARGETS["onnx"], name="odd", title="Odd", **changed))  # type: ignore[arg-type]


def zeros(classes: int, dtype: type = np.float32) -> Callable[[Files], Run]:
    return lambda _: lambda pixels: np.zeros((len(pixels), classes), dtype)


def nothing_but_nan(_: Files) -> Run:
    return lambda pixels: np.full((len(pixels), 3), np.nan, np.float32)


def fail(*_: object) -> Any:
    raise ArithmeticError("the odd tool\nfails")


@pytest.mark.parametrize("precision", ["fp32", "fp16"])
@pytest.mark.parametrize(
    ("load", "words"),
    [
        (zeros(3), r"Odd in fp\d\d does not answer as the trained network does"),
        (nothing_but_nan, "does not answer as the trained network does"),
        (zeros(2), r"gives float32\[1, 2\] for an image in place of"),
        (zeros(3, np.float64), r"gives float64\[1, 3\]"),
        (fail, "cannot run what was converted to Odd: the odd tool fails"),
        (lambda _: fail, "cannot run what was converted to Odd: the odd tool fails"),
    ],
)
def test_a_conversion_that_answers_otherwise_is_not_written(
    precision: str,
    load: Callable[[Files], Run],
    words: str,
    bundle: Bundle,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    added(monkeypatch, precisions=(precision,), load=load)
    with pytest.raises(VerificationError, match=words):
        export_to(str(bundle.path), "odd", tmp_path / "made", limit=8)
    assert list(tmp_path.iterdir()) == []


def test_a_converter_that_fails_is_one_line(
    fleetnet: conftest.Run, bundle: Bundle, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    added(monkeypatch, convert=fail)
    result = fleetnet("export", bundle.path, "-o", tmp_path / "made", "--to", "odd")
    assert result.code == 2
    assert "cannot be converted to Odd: the odd tool fails" in result.err.splitlines()[-1]


@pytest.mark.parametrize("files", [{}, {"../model": b"x"}, {"model": b""}, {"fleetnet.json": b"x"}])
def test_files_that_no_bundle_can_hold(
    files: dict[str, bytes], bundle: Bundle, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    added(monkeypatch, convert=lambda *_: files)
    with pytest.raises(FleetnetError, match=r"the target 'odd' gives odd files: [^\n]+$"):
        export_to(str(bundle.path), "odd", tmp_path / "made")
    assert list(tmp_path.iterdir()) == []


def test_unknown_fields_of_a_newer_bundle_are_left_out_with_a_warning(
    fleetnet: conftest.Run, bundle: Bundle, tmp_path: Path
) -> None:
    newer = tmp_path / "newer.bundle"
    shutil.copytree(bundle.path, newer)
    manifest = json.loads((newer / "fleetnet.json").read_text("utf-8"))
    manifest |= {"format_version": "2.7", "novelty": 1}
    (newer / "fleetnet.json").write_text(json.dumps(manifest), "utf-8")
    result = fleetnet("export", newer, "--to", "onnx", "-o", tmp_path / "made", "--limit", "2")
    assert result.code == 0, result
    assert f"{newer} is of a newer version than this fleetnet" in result.err
    assert "novelty" in result.err


def test_files_that_nothing_here_can_run_are_written_and_said_to_be_unverified(
    fleetnet: conftest.Run,
    bundle: Bundle,
    pixels: Pixels,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    added(monkeypatch, load=None, package="odd-runtime")
    result = fleetnet("export", bundle.path, "-o", tmp_path / "made", "--to", "odd")
    assert result.code == 0, result
    assert "not verified" in result.err
    assert not only(Bundle.load(tmp_path / "made")).verification
    assert "Not verified" in (tmp_path / "made" / "README.md").read_text("utf-8")
    with pytest.raises(FleetnetError, match="Odd cannot be run here: it takes odd-runtime"):
        TARGETS["odd"].run({}, pixels)


def test_what_is_not_installed_is_named(
    bundle: Bundle, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    added(monkeypatch, needs={"nowhere_at_all": "nowhere"})
    with pytest.raises(FleetnetError, match=r"needs nowhere_at_all, .*: pip install 'nowhere'"):
        export_to(str(bundle.path), "odd", tmp_path / "made")


def test_every_target_says_what_its_users_need() -> None:
    for name, target in TARGETS.items():
        assert isinstance(target, Target)
        assert target.name == name
        assert target.precisions
        assert target.package
        assert target.how or "{file}" in target.command


def test_triton_gets_a_model_of_its_repository(
    bundle: Bundle, pixels: Pixels, shapes: Path, tmp_path: Path
) -> None:
    folder = tmp_path / "models" / "shapes"
    for _ in range(2):  # the second replaces the first
        written = export_to(str(bundle.path), "triton", folder, images=[str(shapes)], limit=8)
    assert written.path == folder / "1"
    assert {path.name for path in folder.iterdir()} == {
        "1",
        "README.md",
        "config.pbtxt",
        "labels.txt",
    }
    assert (folder / "labels.txt").read_text("utf-8").split() == list(bundle.manifest.classes)
    (record,) = only(written).verification
    assert (record.images, record.engine, record.top1_agreement) == (8, "onnxruntime", 1.0)
    graph = onnxruntime.InferenceSession(
        folder / "1" / "model.onnx", providers=["CPUExecutionProvider"]
    )
    with open_engine("torch", bundle, 1) as reference:
        expected = reference.run(pixels)
    found = graph.run(["logits"], {"pixels": pixels})[0]
    np.testing.assert_allclose(found, expected, atol=1e-3)
    with pytest.raises(FleetnetError, match="of any size: leave out fixed_batch="):
        export_to(str(bundle.path), "triton", tmp_path / "other", batch=2)
    # What is no such folder is left alone.
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "fleetnet.json").write_text("{}")
    with pytest.raises(FleetnetError, match="is not a bundle"):
        export_to(str(bundle.path), "triton", tmp_path / "mine")


@pytest.mark.skipif(not TRITON.exists(), reason="make .venv-triton/.made installs tritonclient")
def test_the_configuration_is_one_by_tritons_schema(bundle: Bundle) -> None:
    manifest = bundle.manifest
    odd = manifest.outputs[0].model_copy(update={"name": 'ein "Ünicode"\\\n'})
    for one in (manifest, manifest.model_copy(update={"outputs": (*manifest.outputs, odd)})):
        found = parsed(configuration(one))
        (given,) = found["input"]
        crop = manifest.preprocess.crop
        assert given == {
            "name": "pixels",
            "dataType": "TYPE_UINT8",
            "dims": [str(crop), str(crop), "3"],
        }
        assert [output["name"] for output in found["output"]] == [
            output.name for output in one.outputs
        ]
        assert found["output"][0]["dims"] == [str(len(manifest.classes))]
        assert found["output"][0]["labelFilename"] == "labels.txt"
        assert found["maxBatchSize"] == 32
        assert found["dynamicBatching"] == {"maxQueueDelayMicroseconds": "2000"}
        (warm_up,) = found["modelWarmup"]
        assert warm_up["inputs"]["pixels"]["zeroData"] is True
        assert warm_up["inputs"]["pixels"]["dims"] == given["dims"]
    with pytest.raises(subprocess.CalledProcessError):
        parsed(configuration(manifest).replace("max_batch_size", "max_batch"))


def parsed(text: str) -> dict[str, Any]:
    """Return a configuration as JSON, as Triton's own schema reads it."""
    program = (
        "import sys; from google.protobuf import json_format, text_format; "
        "from tritonclient.grpc.model_config_pb2 import ModelConfig; "
        "print(json_format.MessageToJson(text_format.Parse(sys.stdin.read(), ModelConfig())))"
    )
    command = [str(TRITON), "-c", program]
    found = subprocess.run(command, input=text, capture_output=True, text=True, check=True)
    values: dict[str, Any] = json.loads(found.stdout)
    return values


@pytest.mark.parametrize("precision", ["fp32", "fp16"])
def test_openvino_model_server_gets_a_version_and_a_configuration(
    precision: str, bundle: Bundle, pixels: Pixels, tmp_path: Path, fleetnet: conftest.Run
) -> None:
    folder = tmp_path / "served"
    result = fleetnet(
        "export", bundle.path, "--to", f"openvino-model-server:{precision}", "-o", folder,
        "--limit", 4,
    )  # fmt: skip
    assert result.code == 0, result
    assert f"how to run it: {folder / 'README.md'}" in result.out
    assert {path.name for path in folder.iterdir()} == {"1", "README.md", "config.json"}
    (entry,) = json.loads((folder / "config.json").read_text())["model_config_list"]
    name = entry["config"]["name"]
    assert name == "mobilenetv2_x0_25"
    assert entry["config"]["base_path"] == f"/models/{name}"
    assert entry["config"]["layout"] == {"pixels": "NHWC"}
    written = Bundle.load(folder / "1")
    assert only(written).key == ("openvino-ir", precision, None)
    assert only(written).verification
    # As the configuration asks for it.
    compiled = core().compile_model(
        folder / "1" / "model.xml", "CPU", entry["config"]["plugin_config"]
    )
    with open_engine("torch", bundle, 1) as reference:
        expected = reference.run(pixels)
    np.testing.assert_allclose(compiled(pixels)["logits"], expected, atol=0.05)


@pytest.mark.parametrize("to", ["triton", "openvino-model-server"])
def test_what_a_servers_page_tells_clients_to_do_is_what_the_classifier_does(
    to: str, bundle: Bundle, shapes: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    written = export_to(str(bundle.path), to, tmp_path / "models" / "shapes", limit=2)
    page = (written.path.parent / "README.md").read_text("utf-8")
    if to == "openvino-model-server":
        settings = json.loads((written.path.parent / "config.json").read_text("utf-8"))
        name = settings["model_config_list"][0]["config"]["name"]
        assert f":/models/{name}:ro " in page
        assert f'infer("{name}", ' in page
    lines = [line[4:] for line in page.splitlines() if line.startswith("    ")]
    code = "\n".join(lines[next(i for i, line in enumerate(lines) if "import Path" in line) :])
    picture = sorted(shapes.glob("*/*"))[0]
    expected = next(Classifier(bundle, exact=True).predict(picture, top_k=3))
    asked: list[Any] = []
    monkeypatch.chdir(tmp_path if to == "triton" else written.path.parent)
    Path("photo.jpg").write_bytes(picture.read_bytes())
    triton, http = ModuleType("tritonclient"), stand_in(bundle, asked)
    monkeypatch.setitem(sys.modules, "tritonclient", triton)
    monkeypatch.setitem(sys.modules, "tritonclient.http", http)
    monkeypatch.setattr(triton, "http", http, raising=False)
    names: dict[str, Any] = {"print": asked.append}
    exec(code, names)  # noqa: S102 - our own page
    probabilities = asked[-1][0]
    assert [int(np.argmax(probabilities))] == [expected.top[0].index]
    assert probabilities.max() == pytest.approx(expected.probability, abs=1e-3)


def stand_in(bundle: Bundle, asked: list[Any]) -> Any:
    """Return what the page takes for tritonclient; it computes with PyTorch."""

    class Given:
        def __init__(self, name: str, shape: list[int], kind: str) -> None:
            assert (name, kind) == ("pixels", "UINT8")
            self.shape = shape

        def set_data_from_numpy(self, pixels: Pixels) -> None:
            assert list(pixels.shape) == self.shape
            self.pixels = pixels

    class Client:
        def __init__(self, address: str) -> None:
            asked.append(address)

        def infer(self, _model: str, inputs: list[Given]) -> Client:
            with open_engine("torch", bundle, 1) as reference:
                self.logits = reference.run(inputs[0].pixels)
            return self

        def as_numpy(self, name: str) -> Any:
            assert name == "logits"
            return self.logits

    return SimpleNamespace(InferInput=Given, InferenceServerClient=Client)


def test_the_table_of_devices_shows_what_is_lost(
    fleetnet: conftest.Run,
    bundle: Bundle,
    shapes: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("FLEETNET_CACHE", str(tmp_path))
    command = ("devices", bundle.path, "--target", "openvino:fp16")
    measured_now = fleetnet(*command, "--verify", "--images", shapes)
    assert measured_now.code == 0, measured_now
    (device,) = json.loads(fleetnet(*command, "--json").out)
    judgement = Judgement.model_validate(device["verification"]["judgement"])
    assert (judgement.judged_by, judgement.allowed) == ("confidence", 0.005)
    for printed in (measured_now, fleetnet(*command)):
        heading, row = printed.out.splitlines()[:2]
        assert "lost" in heading.split()
        assert row.split()[:5][-1] == cell_of(judgement)


@pytest.mark.parametrize("to", ["triton:fp32", "openvino-model-server:fp16"])
def test_figures_of_what_has_a_version_folder_are_found_again(
    to: str, bundle: Bundle, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FLEETNET_CACHE", str(tmp_path))
    (device,) = measure(bundle, [to])
    assert device.record is not None, device
    assert list(measured(bundle, [to])) == [device]
