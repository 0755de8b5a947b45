import json
import re
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import openvino as ov
import pytest
from openvino import properties

from export.quantize.damage import COMPENSATED, SCALED, bundle_with, with_outlier
from fleetnet.benchmark.untrained import make_untrained
from fleetnet.bundle import MANIFEST, Bundle
from fleetnet.errors import BundleError, FleetnetError, VerificationError
from fleetnet.export.quantize import session
from fleetnet.export.quantize.bundle import quantize_bundle
from fleetnet.export.quantize.layers import layers_of, read_graph
from fleetnet.export.quantize.nncf import OpenVinoQuantizer
from fleetnet.export.quantize.quantizer import Quantizer, QuantizerKind, Unquantized
from fleetnet.export.quantize.quantizers import QUANTIZERS, onnxruntime
from fleetnet.export.quantize.samples import Samples
from fleetnet.export.quantize.session import Result
from fleetnet.image_files import find_images
from fleetnet.inference.agreement import same_answers
from fleetnet.inference.classifier import Classifier
from fleetnet.inference.comparison import Comparison, compare, run_in_batches
from fleetnet.inference.engines import Logits, Pixels, open_engine, precisions
from fleetnet.inference.engines.openvino import core
from fleetnet.reporting import Advance
from samples import CLASSES
from serving.conftest import serving

pytestmark = pytest.mark.slow

BY_ENGINE = [("openvino-ir", "openvino"), ("onnx", "onnxruntime")]
"""Formats of networks in int8, and the engine that takes each."""
WANTED = 0.8
"""Less than these small networks reach, so that no test but those of the search has to search."""

Both = tuple[Bundle, list[Result]]


@pytest.fixture(scope="module")
def both(taught: Bundle, drawn: Samples, tmp_path_factory: pytest.TempPathFactory) -> Both:
    """Quantise for both engines, into another folder."""
    output = tmp_path_factory.mktemp("int8") / "b.bundle"
    return quantize_bundle(taught, drawn, "shapes", output=output, agreement=WANTED)


def test_the_network_says_every_class(taught: Bundle, drawn: Samples) -> None:
    """Otherwise these tests would show nothing."""
    answers = run_in_batches(open_engine("onnxruntime", taught, 1), drawn.validation).argmax(1)
    assert set(answers) == set(range(len(CLASSES)))


def test_the_bundle_holds_both_networks_beside_the_old_files(taught: Bundle, both: Both) -> None:
    written = Bundle.load(both[0].path)
    files = {artifact.key: [file.name for file in artifact.files] for artifact in written.artifacts}
    assert files == {
        ("onnx", "fp32", None): ["model.onnx"],
        ("safetensors", "fp32", None): ["model.safetensors"],
        ("trained-images", None, None): ["trained-images.bin"],
        ("openvino-ir", "int8", None): ["model.int8.xml", "model.int8.bin"],
        ("onnx", "int8", None): ["model.int8.onnx"],
    }
    for artifact in written.artifacts:
        contents = [path.read_bytes() for path in written.files_of(artifact)]
        assert sum(map(len, contents)) == artifact.bytes
        if artifact.precision != "int8":
            assert contents == [path.read_bytes() for path in taught.files_of(artifact)]
    assert written.manifest.artifacts[:3] == taught.manifest.artifacts
    assert len(taught.manifest.artifacts) == 3


def test_openvino_has_one_core_a_process(
    taught: Bundle, drawn: Samples, monkeypatch: pytest.MonkeyPatch
) -> None:
    """NNCF computes with ours: a second one, once destroyed, could end the process."""

    def refuse(*_: object) -> None:
        raise AssertionError("a second core")

    monkeypatch.setattr(ov, "Core", refuse)
    content = taught.file(format="onnx").read_bytes()
    quantizer = OpenVinoQuantizer(
        content, "it", drawn.calibration[:2], 8, lambda *_: lambda _: None
    )
    assert quantizer.quantize([]).contents


def test_what_was_measured_is_recorded(both: Both) -> None:
    written, results = both
    assert [result.comparison.engine for result in results] == ["openvino", "onnxruntime"]
    for artifact in Bundle.load(written.path).manifest.artifacts[3:]:
        assert artifact.precision == "int8"
        (record,) = artifact.verification
        assert (artifact.format, record.engine) in BY_ENGINE
        assert (record.images, record.source, record.tolerance) == (40, "shapes", 1.0)
        assert record.agreement is not None
        assert record.agreement >= WANTED
        assert record.mean_abs_diff is not None
        assert 0 < record.mean_abs_diff < record.max_abs_diff < 1
        how = artifact.quantization
        assert how is not None
        assert (how.calibration_images, how.weight_bits, how.agreement) == (20, 7, WANTED)
        assert (how.layers, how.kept_layers, how.kept_macs) == (54, (), 0.0)
    for result in results:
        assert result.latency_ms["int8"] == result.comparison.latency_ms > 0
        assert "fp32" in result.latency_ms
        assert all(result.latency_ms[name] < result.latency_ms["int8"] for name in result.faster)


def test_engines_find_int8_and_answer_as_recorded(both: Both, drawn: Samples) -> None:
    written = both[0]
    expected = run_in_batches(open_engine("onnxruntime", written, 1), drawn.validation)
    for name in ("openvino", "onnxruntime"):
        assert "int8" in precisions(name, written)
        found = run_in_batches(open_engine(name, written, 1, precision="int8"), drawn.validation)
        assert same_answers(expected, found, "softmax", boundary=0) >= WANTED
        assert not np.array_equal(found, expected)
        classifier = Classifier(written, engine=name, precision="int8")
        prediction = next(classifier.predict(drawn.validation[0]))
        assert prediction.probability <= 1


def test_a_server_answers_in_int8(both: Both, others: Path) -> None:
    images = sorted(find_images([str(others)]))[:4]
    for engine in ("onnxruntime", "openvino"):
        chosen = {"name": engine, "precision": "int8"}
        with (
            serving(models={"net": both[0].path}, engine=chosen) as client,
            Classifier(both[0].path, engine=engine, precision="int8", threads=1) as classifier,
        ):
            card = client.get("/models/net/card").json()["engine"]
            assert (card["name"], card["precision"]) == (engine, "int8")
            for image, expected in zip(images, classifier.predict(images), strict=True):
                answer = client.post("/classify", content=Path(image).read_bytes()).json()
                (told,) = answer["predictions"]
                assert told["top"][0]["class"] == expected.label
                assert told["top"][0]["probability"] == pytest.approx(
                    expected.top[0].probability, abs=1e-4
                )


def test_weights_are_int8_by_channel_and_pixels_are_normalised_in_fp32(both: Both) -> None:
    model = onnx.load(both[0].file(format="onnx", precision="int8"))
    kinds = {tensor.name: tensor.data_type for tensor in model.graph.initializer}
    weights = [name for name in kinds if name.endswith("weight_quantized")]
    assert len(weights) == 54
    assert {kinds[name] for name in weights} == {onnx.TensorProto.INT8}
    first = next(t for t in model.graph.initializer if t.name == "network.stem.conv.weight_scale")
    assert list(first.dims) == [8]
    before = [node.op_type for node in model.graph.node][:3]
    assert before == ["Cast", "Add", "Transpose"]
    assert max(abs(v) for t in model.graph.initializer if t.name in weights
               for v in np.frombuffer(t.raw_data, np.int8).tolist()) <= 64  # fmt: skip


def test_files_tell_nothing_of_the_machine(both: Both, tmp_path: Path) -> None:
    for name, _ in BY_ENGINE:
        content = both[0].files(format=name, precision="int8")[0].read_bytes()
        for word in (b"/tmp", b"site-packages", str(tmp_path.parent).encode()):
            assert word not in content, name


def test_in_place_the_other_engines_int8_stays(both: Both, drawn: Samples, tmp_path: Path) -> None:
    shutil.copytree(both[0].path, tmp_path / "b.bundle")
    written, _ = quantize_bundle(
        Bundle.load(tmp_path / "b.bundle"),
        drawn,
        "again",
        engines=("onnxruntime",),
        weight_bits=8,
        agreement=WANTED,
    )
    made = [written.find(format=name, precision="int8") for name, _ in BY_ENGINE]
    assert [[r.source for r in a.verification] for a in made if a] == [["shapes"], ["again"]]
    assert [a.quantization.weight_bits for a in made if a and a.quantization] == [7, 8]
    open_engine("openvino", Bundle.load(written.path), 1, precision="int8")
    assert [entry.name for entry in tmp_path.iterdir()] == ["b.bundle"]


@pytest.fixture(scope="module")
def outlier(taught: Bundle, tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    graph = with_outlier(taught.file(format="onnx").read_bytes())
    return bundle_with(taught, graph, tmp_path_factory.mktemp("outlier") / "b.bundle")


def test_a_layer_that_does_not_bear_int8_stays_in_fp32(outlier: Bundle, drawn: Samples) -> None:
    steps: list[str] = []

    def begin(what: str, _: int) -> Advance:
        steps.append(what)
        return lambda _: None

    before = outlier.file(format="onnx").read_bytes()
    written, (result,) = quantize_bundle(
        outlier, drawn, "shapes", engines=("onnxruntime",), agreement=WANTED, begin=begin
    )
    assert result.comparison.agreement >= WANTED
    assert result.attempts > 1
    kept = result.quantization.kept_layers
    # The values between the two are rounded unless both stay: one writes them, the other reads.
    assert {SCALED, COMPENSATED} <= set(kept)
    assert len(kept) <= 4
    assert 0 < result.quantization.kept_macs < 0.5
    assert steps.count("ranking layers") == 1
    # Once with the weights rounded one by one, once with them rounded for their sums.
    recipes = QUANTIZERS.find("onnxruntime").recipes
    assert steps.count("onnxruntime: calibrating") == len(recipes)
    model = onnx.load(written.file(format="onnx", precision="int8"))
    kinds = {tensor.name: tensor.data_type for tensor in model.graph.initializer}
    for layer in kept:
        assert kinds[f"network.{layer}.conv.weight"] == onnx.TensorProto.FLOAT
    assert written.file(format="onnx").read_bytes() == before


def weights_in_fp32(graph: str) -> set[str]:
    """Return the layers whose weights are fp32 in a graph in OpenVINO's format."""
    pattern = (
        r'name="network\.([^"]*?)(?:\.conv)?\.weight" type="Const"[^>]*>\s*<data element_type="f32"'
    )
    return set(re.findall(pattern, graph))


def with_fp32_beside_int8(graph: bytes, weights: bytes, pixels: Pixels) -> Logits:
    """Return a graph's answers with fp32 around int8 on every processor: with bf16 they differ."""
    model = core().read_model(graph, weights)
    model.reshape(ov.PartialShape(list(pixels.shape)))
    options = {properties.hint.inference_precision: ov.Type.f32}
    answers: Logits = core().compile_model(model, "CPU", options)(pixels)["logits"]
    return answers


def test_openvino_keeps_the_layers_that_it_is_told(outlier: Bundle, drawn: Samples) -> None:
    content = outlier.file(format="onnx").read_bytes()
    layers = {layer.name: layer for layer in layers_of(read_graph(content, "here"), "here")}
    quantizer = OpenVinoQuantizer(content, "here", drawn.calibration, 7, lambda *_: lambda _: None)
    expected = run_in_batches(open_engine("onnxruntime", outlier, 1), drawn.validation)
    disturbance: list[float] = []
    for kept in ((), (layers[SCALED], layers[COMPENSATED])):
        quantized = quantizer.quantize(kept)
        graph, weights = quantized.contents.values()
        found = with_fp32_beside_int8(graph, weights, drawn.validation)
        disturbance.append(float(np.square(found - expected).mean()))
        assert weights_in_fp32(graph.decode()) == {layer.name for layer in kept}
    assert disturbance[1] < disturbance[0] / 2


def test_silu_is_quantised_as_a_whole(tmp_path: Path) -> None:
    """With x and its sigmoid quantised apart, OpenVINO does not compute them in the convolution."""
    bundle = make_untrained("ReXNet_1_0", 32, tmp_path / "b.bundle")
    content = bundle.file(format="onnx").read_bytes()
    pixels = np.random.default_rng(0).integers(0, 256, (2, 32, 32, 3), dtype=np.uint8)
    quantizer = OpenVinoQuantizer(content, "here", pixels, 7, lambda *_: lambda _: None)
    model = core().read_model(*quantizer.quantize([]).contents.values())
    joined = [one for one in model.get_ordered_ops() if one.get_type_name() == "Swish"]
    sigmoids = [node for node in onnx.load_from_string(content).graph.node if "act/" in node.name]
    assert len(joined) == sum(node.op_type == "Sigmoid" for node in sigmoids) > 10
    for silu in joined:
        before = silu.input(0).get_source_output().get_node().get_type_name()
        after = {entry.get_node().get_type_name() for entry in silu.output(0).get_target_inputs()}
        assert (before, after) == ("Add", {"FakeQuantize"})


@pytest.mark.slow
def test_hard_swish_is_quantised_as_a_whole(tmp_path: Path) -> None:
    """Between a convolution with its bias and the next layer's input in int8."""
    bundle = make_untrained("MobileNetV3_small_x0_35", 32, tmp_path / "b.bundle")
    content = bundle.file(format="onnx").read_bytes()
    pixels = np.random.default_rng(0).integers(0, 256, (2, 32, 32, 3), dtype=np.uint8)
    quantizer = OpenVinoQuantizer(content, "here", pixels, 7, lambda *_: lambda _: None)
    model = core().read_model(*quantizer.quantize([]).contents.values())
    found = [one for one in model.get_ordered_ops() if one.get_type_name() == "HSwish"]
    nodes = onnx.load_from_string(content).graph.node
    assert len(found) == sum(node.op_type == "HardSwish" for node in nodes) == 19
    for swish in found:
        before = swish.input(0).get_source_output().get_node().get_type_name()
        after = {entry.get_node().get_type_name() for entry in swish.output(0).get_target_inputs()}
        # The neck's is behind a convolution without a bias, and before the factor of PaddleClas.
        assert before in ("Add", "Convolution")
        assert after <= {"FakeQuantize", "Multiply"}


def snapshot(path: Path) -> dict[str, bytes]:
    return {entry.name: entry.read_bytes() for entry in path.iterdir()}


def test_a_network_that_cannot_be_saved_is_refused(
    taught: Bundle, drawn: Samples, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shutil.copytree(taught.path, tmp_path / "b.bundle")
    before = snapshot(tmp_path / "b.bundle")
    monkeypatch.setattr(session, "compare", disagreeing)
    monkeypatch.setattr(session, "rank", lambda layers, *_: layers)
    with pytest.raises(VerificationError, match="nothing is written"):
        quantize_bundle(
            Bundle.load(tmp_path / "b.bundle"),
            drawn,
            "shapes",
            engines=("onnxruntime",),
            agreement=0.99,
        )
    assert snapshot(tmp_path / "b.bundle") == before
    assert [entry.name for entry in tmp_path.iterdir()] == ["b.bundle"]


def disagreeing(*arguments: object) -> Comparison:
    return replace(compare(*arguments), agreement=0.7)  # type: ignore[arg-type]


@pytest.mark.parametrize("error", [KeyboardInterrupt, OSError(28, "No space left on device")])
def test_an_interrupted_write_leaves_the_old_bundle(
    taught: Bundle,
    drawn: Samples,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    error: BaseException,
) -> None:
    shutil.copytree(taught.path, tmp_path / "b.bundle")
    before = snapshot(tmp_path / "b.bundle")
    write = Path.write_bytes

    def failing(self: Path, data: bytes) -> int:
        if self.name == "model.int8.onnx":
            raise error
        return write(self, data)

    monkeypatch.setattr(Path, "write_bytes", failing)
    with pytest.raises((KeyboardInterrupt, FleetnetError)):
        quantize_bundle(
            Bundle.load(tmp_path / "b.bundle"),
            drawn,
            "shapes",
            engines=("onnxruntime",),
            agreement=WANTED,
        )
    assert snapshot(tmp_path / "b.bundle") == before
    assert [entry.name for entry in tmp_path.iterdir()] == ["b.bundle"]


def test_independent_labels_are_compared_by_each_labels_decisions(
    taught: Bundle, drawn: Samples, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shutil.copytree(taught.path, tmp_path / "b.bundle")
    values = json.loads((tmp_path / "b.bundle" / MANIFEST).read_text())
    values["model"]["activation"] = "sigmoid"
    (tmp_path / "b.bundle" / MANIFEST).write_text(json.dumps(values))
    bundle = Bundle.load(tmp_path / "b.bundle")
    written, (result,) = quantize_bundle(
        bundle, drawn, "shapes", engines=("onnxruntime",), agreement=WANTED
    )
    expected = run_in_batches(open_engine("onnxruntime", written, 1), drawn.validation) >= 0
    found = run_in_batches(
        open_engine("onnxruntime", written, 1, precision="int8"), drawn.validation
    ) >= 0  # fmt: skip
    assert result.comparison.agreement == (expected == found).mean(0).min() >= WANTED
    assert 0 < expected.mean() < 1


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda path: (path / "notes.txt").write_text("mine"), "holds notes.txt"),
        (lambda path: (path / "model.onnx").write_bytes(b"x"), "not the file that was exported"),
        (lambda path: (path / "model.safetensors").unlink(), "is missing"),
    ],
)
def test_a_bundle_that_would_lose_something_is_refused(
    taught: Bundle, drawn: Samples, tmp_path: Path, change: object, words: str
) -> None:
    shutil.copytree(taught.path, tmp_path / "b.bundle")
    change(tmp_path / "b.bundle")  # type: ignore[operator]
    with pytest.raises(BundleError, match=words):
        quantize_bundle(Bundle.load(tmp_path / "b.bundle"), drawn, "shapes")


def test_a_graph_that_is_none_is_refused(taught: Bundle, drawn: Samples, tmp_path: Path) -> None:
    for number, content in enumerate((b"garbage" * 20, b"")):
        damaged = bundle_with(taught, content, tmp_path / f"{number}.bundle")
        with pytest.raises(BundleError) as refused:
            quantize_bundle(damaged, drawn, "shapes", engines=("onnxruntime",))
        assert "\n" not in str(refused.value)


def test_two_artifacts_in_one_file_are_refused(
    taught: Bundle, drawn: Samples, tmp_path: Path
) -> None:
    shutil.copytree(taught.path, tmp_path / "b.bundle")
    (tmp_path / "b.bundle" / "model.safetensors").rename(tmp_path / "b.bundle" / "model.int8.onnx")
    values = json.loads((tmp_path / "b.bundle" / MANIFEST).read_text())
    values["artifacts"][1]["files"][0]["name"] = "model.int8.onnx"
    (tmp_path / "b.bundle" / MANIFEST).write_text(json.dumps(values))
    before = snapshot(tmp_path / "b.bundle")
    with pytest.raises(BundleError, match="in the same file"):
        quantize_bundle(
            Bundle.load(tmp_path / "b.bundle"),
            drawn,
            "shapes",
            engines=("onnxruntime",),
            agreement=WANTED,
        )
    assert snapshot(tmp_path / "b.bundle") == before


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        ({"agreement": 0.0}, "agreement is 0.0"),
        ({"agreement": float("nan")}, "agreement is nan"),
        ({"engines": ("onnxruntim",)}, "did you mean 'onnxruntime'"),
        ({"engines": ("torch",)}, "no int8 for the engine 'torch'"),
    ],
)
def test_wrong_values_are_refused(
    taught: Bundle, drawn: Samples, wrong: dict[str, Any], words: str
) -> None:
    with pytest.raises(FleetnetError, match=words):
        quantize_bundle(taught, drawn, "shapes", **wrong)


def test_a_lone_onnx_file_is_refused(taught: Bundle, drawn: Samples) -> None:
    alone = Bundle.load(taught.file(format="onnx"))
    with pytest.raises(BundleError, match="only an ONNX file"):
        quantize_bundle(alone, drawn, "shapes")


def test_something_else_is_not_overwritten(taught: Bundle, drawn: Samples, tmp_path: Path) -> None:
    (tmp_path / "thesis.tex").write_text("mine")
    with pytest.raises(FleetnetError, match="is not a bundle"):
        quantize_bundle(taught, drawn, "shapes", output=tmp_path)


class RefusingError(Exception):
    """Raised by the quantiser of the test below."""


def test_a_quantiser_is_found_by_the_engine_that_it_is_for(
    taught: Bundle, drawn: Samples, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[Unquantized] = []

    def make(network: Unquantized) -> Quantizer:
        asked.append(network)
        raise RefusingError

    copy = tmp_path / "b.bundle"
    shutil.copytree(taught.path, copy)
    monkeypatch.setattr(QUANTIZERS, "_found", dict(QUANTIZERS))
    with pytest.raises(FleetnetError, match="no int8 for the engine 'torch'") as refused:
        quantize_bundle(Bundle.load(copy), drawn, "shapes", engines=("torch",))
    assert refused.value.fields["known"] == ["openvino", "onnxruntime"]
    QUANTIZERS.add(QuantizerKind("torch", make))
    with pytest.raises(RefusingError):
        quantize_bundle(Bundle.load(copy), drawn, "shapes", engines=("torch",))
    (network,) = asked
    assert network.where == str(copy / "model.onnx")
    assert network.calibration is drawn.calibration


def test_another_recipe_is_tried_before_layers_are_kept(
    taught: Bundle, drawn: Samples, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The usual one sees only images in the dark here, and so ranges that are far too small."""
    asked: list[str] = []

    def make(network: Unquantized) -> Quantizer:
        asked.append(network.recipe)
        shown = network.calibration if network.recipe == "in the light" else drawn.calibration // 64
        return onnxruntime.make(replace(network, calibration=shown))

    kind = QuantizerKind("onnxruntime", make, recipes=("", "in the light", "unneeded"))
    monkeypatch.setattr(QUANTIZERS, "_found", {**QUANTIZERS, kind.name: kind})
    _, (result,) = quantize_bundle(
        taught,
        drawn,
        "shapes",
        output=tmp_path / "b.bundle",
        engines=("onnxruntime",),
        agreement=WANTED,
    )
    assert asked == ["", "in the light"]
    assert result.quantization.kept_layers == ()
    assert result.attempts == 2


def test_corrected_bias_is_told_of(taught: Bundle, drawn: Samples) -> None:
    """And it changes nothing but biases, and those."""
    network = Unquantized(
        taught.file(format="onnx").read_bytes(),
        "it",
        onnx.ModelProto(),
        (),
        drawn.calibration,
        7,
        lambda *_: lambda _: None,
    )
    kind = QUANTIZERS.find("openvino")
    assert (kind.recipes[0], kind.recipes[-1]) == ("", "bias correction")
    plain, corrected = (
        kind.make(replace(network, recipe=recipe)) for recipe in ("", kind.recipes[-1])
    )
    assert corrected.tool == f"{plain.tool} with bias correction"
    before, after = (one.quantize(()).contents["model.int8.bin"] for one in (plain, corrected))
    assert before != after
