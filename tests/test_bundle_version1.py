"""Bundles that users have on disk are read for ever: version 1, one file an artifact, by names."""

import hashlib
import json
import tarfile
from pathlib import Path

import numpy as np
import onnx
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from broken_json import after, edits
from conftest import Run
from fleetnet.bundle import FORMAT_VERSION, MANIFEST, Bundle, Manifest
from fleetnet.errors import BundleError, FleetnetError
from fleetnet.evaluation.overlap import trained_images_of
from fleetnet.inference.classifier import Classifier
from fleetnet.inference.engines import Engine, Precision, open_engine, precisions
from fleetnet.inference.engines.engine import Setup
from fleetnet.inference.engines.onnxruntime import OnnxRuntimeEngine
from fleetnet.inference.engines.openvino import OpenVinoEngine
from fleetnet.inference.probabilities import softmax
from samples import make_folder

ARCHIVE = Path(__file__).parent / "bundles" / "version1.tar.xz"
with tarfile.open(ARCHIVE) as _archive:
    _file = _archive.extractfile("version1.bundle/fleetnet.json")
    MANIFEST_OF_1 = _file.read() if _file else b""
OLD_NAMES = {
    "onnx": ("onnx", "fp32", None),
    "onnx-batch2": ("onnx", "fp32", 2),
    "weights": ("safetensors", "fp32", None),
    "trained-images": ("trained-images", None, None),
    "openvino-int8": ("openvino-ir", "int8", None),
    "onnx-int8": ("onnx", "int8", None),
}


@pytest.fixture
def old(tmp_path: Path) -> Path:
    with tarfile.open(ARCHIVE) as archive:
        archive.extractall(tmp_path, filter="data")
    return tmp_path / "version1.bundle"


@pytest.fixture(scope="module")
def drawn(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two folders of 25 images each, none of which the network was trained on."""
    return make_folder(tmp_path_factory.mktemp("drawn") / "images", 25, ("circle", "stripes"), 5)


def written(path: Path) -> dict[str, object]:
    values: dict[str, object] = json.loads((path / MANIFEST).read_text("utf-8"))
    return values


def test_every_artifact_has_its_place(old: Path) -> None:
    entries = written(old)["artifacts"]
    assert isinstance(entries, list)
    bundle = Bundle.load(old)
    assert {artifact.key for artifact in bundle.artifacts} == set(OLD_NAMES.values())
    named = {entry["name"]: entry for entry in entries}
    for name, (kind, precision, batch) in OLD_NAMES.items():
        found = bundle.find(format=kind, precision=precision, batch=batch)
        assert found is not None
        assert found.files[0].name == named[name]["file"]
        assert found.files[0].sha256 == named[name]["sha256"]
        assert [vars(record)["engine"] for record in found.verification] == [
            record["engine"] for record in named[name]["verification"]
        ]
        assert (found.quantization is None) == (named[name]["quantization"] is None)
        assert all(path.is_file() for path in bundle.files_of(found))
    graph, weights = bundle.files(format="openvino-ir", precision="int8")
    assert (graph.name, weights.name) == ("model.int8.xml", "model.int8.bin")
    assert bundle.manifest.passed_over == ()
    assert bundle.manifest.temperature == pytest.approx(2.99, abs=0.01)


def test_the_answers_are_those_that_it_records(old: Path) -> None:
    bundle = Bundle.load(old)
    assert bundle.manifest.self_test is not None
    pixels = bundle.manifest.self_test.pixels(32)
    recorded = np.asarray(bundle.manifest.self_test.logits, np.float32)
    for name in ("openvino", "onnxruntime", "torch"):
        with open_engine(name, bundle, 1) as engine:
            assert np.allclose(softmax(engine.run(pixels)), softmax(recorded), atol=1e-4)


def test_int8_is_computed_from_its_own_files(old: Path) -> None:
    bundle = Bundle.load(old)
    pixels = np.random.default_rng(0).integers(0, 256, (4, 32, 32, 3), dtype=np.uint8)
    setup = Setup("int8")
    graph, weights = (old / f"model.int8.{ending}" for ending in ("xml", "bin"))
    by_hand: dict[str, Engine] = {
        "openvino": OpenVinoEngine.of_ir(graph.read_bytes(), weights.read_bytes(), setup),
        "onnxruntime": OnnxRuntimeEngine((old / "model.int8.onnx").read_bytes(), setup),
    }
    for name, expected in by_hand.items():
        assert precisions(name, bundle)[0] == "fp32"
        assert precisions(name, bundle)[-1] == "int8"
        with open_engine(name, bundle, 1, precision="int8") as engine, expected:
            assert np.array_equal(engine.run(pixels), expected.run(pixels))


def test_it_predicts_and_knows_what_it_was_trained_on(old: Path, drawn: Path) -> None:
    with Classifier(old) as classifier:
        (answer,) = classifier.predict(drawn / "circle" / "000.jpg")
    assert answer.label in ("circle", "stripes")
    assert answer.logits is not None
    hottest = softmax(answer.logits[None] / 2.991)[0].max()
    assert answer.probability == pytest.approx(hottest, abs=1e-3)
    assert len(trained_images_of(Bundle.load(old))) == 60


def test_its_onnx_file_is_read_without_the_bundle(old: Path, tmp_path: Path) -> None:
    link = tmp_path / "link.onnx"
    link.symlink_to((old / "model.onnx").rename(tmp_path / "alone.onnx"))
    for path in (tmp_path / "alone.onnx", link):
        bundle = Bundle.load(path)
        assert [artifact.key for artifact in bundle.artifacts] == [("onnx", "fp32", None)]
        assert bundle.file(format="onnx") == path
        assert bundle.manifest.classes == ("circle", "stripes")
        with Classifier(bundle) as classifier:
            pixels = np.zeros((40, 40, 3), np.uint8)
            assert next(classifier.predict(pixels)).ok
    with pytest.raises(BundleError, match="takes only batches of 2"):
        Bundle.load(old / "model.batch2.onnx")


@pytest.mark.slow
def test_every_verb_takes_it(old: Path, drawn: Path, fleetnet: Run) -> None:
    answers = fleetnet("predict", old, drawn, "--json")
    assert (answers.code, len(answers.out.splitlines())) == (0, 50)
    assert fleetnet("verify", old, "--images", drawn, "--limit", "30").code == 0
    evaluated = fleetnet("evaluate", old, drawn, "--json")
    assert json.loads(evaluated.out)["images"] == 50
    tuned = fleetnet("tune", old, "--images", drawn, "--mode", "latency", "--threads", "1",
                     "--seconds", "0", "--json")  # fmt: skip
    assert tuned.code == 0
    tried = {trial["precision"] for trial in json.loads(tuned.out)["modes"]["latency"]["trials"]}
    assert {"fp32", "int8"} <= tried


@pytest.mark.slow
def test_quantising_writes_it_in_the_format_of_now(old: Path, drawn: Path, fleetnet: Run) -> None:
    before = Bundle.load(old)

    def quantise() -> str:
        result = fleetnet("quantize", old, "--images", drawn, "--engine", "onnxruntime",
                          "--agreement", "0.5", "--json")  # fmt: skip
        assert result.code == 0, result
        assert written(old)["format_version"] == FORMAT_VERSION
        return result.err

    assert "newer version" not in quantise()
    values = {**written(old), "format_version": "2.4", "surprise": 1}
    (old / MANIFEST).write_text(json.dumps(values), "utf-8")
    warnings = [line for line in quantise().splitlines() if "newer version" in line]
    assert len(warnings) == 1
    assert warnings[0].endswith("leaves out what it does not know: surprise")
    after = Bundle.load(old)
    assert {artifact.key for artifact in after.artifacts} == set(OLD_NAMES.values())
    for artifact in before.artifacts:
        same = after.find(
            format=artifact.format, precision=artifact.precision, batch=artifact.batch
        )
        assert (same == artifact) == (artifact.key != ("onnx", "int8", None))
    assert (after.manifest.calibration, after.manifest.self_test) == (
        before.manifest.calibration,
        before.manifest.self_test,
    )


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda entries: entries[0].pop("file"), "files.0.name"),
        (lambda entries: entries[0].update(surprise=1), "surprise"),
        (lambda entries: entries.append(entries[0]), "two artifacts have the same name"),
        (lambda entries: entries[1].update(name="other"), "two artifacts are onnx in fp32"),
        (lambda entries: entries[0].update(name=7), "an artifact has no name"),
        (lambda entries: entries.append("text"), "a list of objects"),
        (lambda entries: entries[2].update(file="MODEL.onnx"), "in the same file"),
    ],
)
def test_a_wrong_one_is_refused(old: Path, change: object, words: str) -> None:
    values = written(old)
    change(values["artifacts"])  # type: ignore[operator]
    (old / MANIFEST).write_text(json.dumps(values), "utf-8")
    with pytest.raises(BundleError, match=words):
        Bundle.load(old)


@pytest.mark.parametrize("classes", [("circle",), ("circle", "stripes", "square")])
def test_classes_that_the_network_does_not_have_are_found(
    old: Path, classes: tuple[str, ...]
) -> None:
    values = written(old)
    model = values["model"]
    assert isinstance(model, dict)
    values.update(classes=classes, self_test=None, model={**model, "num_classes": len(classes)})
    (old / MANIFEST).write_text(json.dumps(values), "utf-8")
    with (
        Classifier(old) as classifier,
        pytest.raises(BundleError, match="logits per image for"),
    ):
        list(classifier.predict(np.zeros((40, 40, 3), np.uint8)))


@pytest.mark.parametrize("engine", ["openvino", "onnxruntime"])
def test_a_size_that_the_graph_does_not_take_is_found(old: Path, engine: str) -> None:
    values = written(old)
    assert isinstance(values["preprocess"], dict)
    assert isinstance(values["input"], dict)
    values["preprocess"].update(crop=64, resize=72)
    values["input"]["shape"] = [None, 64, 64, 3]
    (old / MANIFEST).write_text(json.dumps(values), "utf-8")
    for precision in ("fp32", "int8"):
        with pytest.raises(BundleError, match="takes images of 32×32×3, the manifest says 64×64×3"):
            open_engine(engine, Bundle.load(old), 1, precision=precision)


@pytest.mark.parametrize("engine", ["openvino", "onnxruntime"])
def test_a_graph_without_logits_is_found(old: Path, engine: str) -> None:
    graph = onnx.load(old / "model.onnx")
    del graph.graph.output[0]
    content = graph.SerializeToString()
    (old / "model.onnx").write_bytes(content)
    values = written(old)
    assert isinstance(values["artifacts"], list)
    values["artifacts"][0].update(sha256=hashlib.sha256(content).hexdigest(), bytes=len(content))
    (old / MANIFEST).write_text(json.dumps(values), "utf-8")
    with pytest.raises(BundleError, match=r"model\.onnx gives no logits"):
        open_engine(engine, Bundle.load(old), 1)


@pytest.mark.slow
@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.data())
def test_a_broken_one_answers_or_says_what_is_wrong(old: Path, data: st.DataObject) -> None:
    before = json.loads(Manifest.from_json(MANIFEST_OF_1, "here").to_json())
    versions = [json.loads(MANIFEST_OF_1), before, {**before, "format_version": "2.5"}]
    values = data.draw(st.sampled_from(versions))
    values = after(values, data.draw(edits(values)))
    (old / MANIFEST).write_text(json.dumps(values), "utf-8")
    engine = data.draw(st.sampled_from(["openvino", "onnxruntime"]))
    precision: Precision = data.draw(st.sampled_from(["fp32", "int8"]))
    said = ""
    try:
        with Classifier(old, engine=engine, precision=precision, threads=1) as classifier:
            list(classifier.predict(np.zeros((40, 40, 3), np.uint8)))
    except FleetnetError as error:
        said = str(error)
    assert len(said.splitlines()) <= 1


def test_half_of_a_pair_is_named_when_it_is_opened(old: Path) -> None:
    values = written(old)
    entries = values["artifacts"]
    assert isinstance(entries, list)
    values["artifacts"] = [one for one in entries if one["name"] != "openvino-int8-weights"]
    (old / MANIFEST).write_text(json.dumps(values), "utf-8")
    with pytest.raises(BundleError, match=r"model\.int8\.xml: its weights are not in"):
        open_engine("openvino", Bundle.load(old), 1, precision="int8")
