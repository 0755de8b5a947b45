import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import numpy.typing as npt
import onnx
import pytest
import torch
from torch import nn

from fleetnet.bundle import ONNX_METADATA_KEY, Bundle, Manifest
from fleetnet.errors import DataError, FleetnetError, VerificationError
from fleetnet.export import bundle as exporting
from fleetnet.export.divergence import first_divergence
from fleetnet.export.onnx import LAYER_KEY, to_onnx
from fleetnet.export.quantize.layers import layers_of, read_graph
from fleetnet.inference.comparison import compare
from fleetnet.inference.engines import ENGINES, Logits, Setup, graph_engines, open_graph
from fleetnet.inference.engines.onnxruntime import OnnxRuntimeEngine
from fleetnet.inference.engines.openvino import OpenVinoEngine
from fleetnet.inference.engines.torch import TorchEngine, load_network
from fleetnet.inference.verify import prepare
from fleetnet.models import build_model
from fleetnet.models.base import Network
from fleetnet.models.folding import fold_batch_norm
from fleetnet.models.network import BlockSetting, MobileNetwork, NetworkSetting
from fleetnet.preprocess import Preprocess
from fleetnet.training.checkpoint import Checkpoint

NETWORKS = (
    "MobileNetV2_x0_25",
    "mobilenetv2_035",
    "ReXNet_1_0",
    "ReXNet_lite_1_0",
    "EfficientNet_Lite0",
    "PPLCNet_x0_25",
    "MobileNetV4_conv_small",
    "MobileNetV1_x0_25",
    "MobileNetV3_small_x0_35",
    "mobilenet_v3_small",
    "ShuffleNetV2_x0_25",
    "GhostNet_x0_5",
)
PREPROCESS = Preprocess(72, 64, mean=(0.4, 0.5, 0.6), std=(0.2, 0.25, 0.3))


def randomised(name: str) -> Network:
    torch.manual_seed(3)
    return randomise(build_model(name, 3))


def randomise(network: Network) -> Network:
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d | nn.BatchNorm1d):
            assert module.running_mean is not None
            assert module.running_var is not None
            nn.init.normal_(module.running_mean, 0, 0.1)
            nn.init.uniform_(module.running_var, 0.5, 1.5)
            nn.init.uniform_(module.weight, 0.5, 1.5)
            nn.init.normal_(module.bias, 0, 0.1)
        if isinstance(module, nn.Linear):
            nn.init.normal_(module.weight, 0, 0.3)
    return network.eval()


def pixels(count: int, crop: int = 64) -> np.ndarray[tuple[int, ...], np.dtype[np.uint8]]:
    return np.random.default_rng(0).integers(0, 256, (count, crop, crop, 3), dtype=np.uint8)


@pytest.fixture(scope="module")
def manifest(bundle: Bundle) -> Manifest:
    return bundle.manifest.model_copy(update={"preprocess": PREPROCESS})


@pytest.fixture
def model(bundle: Bundle) -> onnx.ModelProto:
    return onnx.load(bundle.file(format="onnx"))


@pytest.mark.slow
@pytest.mark.parametrize("name", NETWORKS)
def test_the_graph_answers_as_the_network_in_both_engines(name: str, manifest: Manifest) -> None:
    network = randomised(name)
    graph = to_onnx(network, PREPROCESS, manifest)
    images = pixels(5)
    expected = TorchEngine(network, PREPROCESS).run(images)
    assert expected.std() > 0.1
    for engine in (OpenVinoEngine.of_onnx(graph, Setup()), OnnxRuntimeEngine(graph, Setup())):
        comparison = compare(engine, images, expected)
        assert comparison.max_abs_diff < 1e-4, engine.name
        assert comparison.top1_agreement == 1.0
        # Probabilities can hide a difference that logits show.
        assert np.abs(engine.run(images) - expected).max() < 1e-4 * np.abs(expected).max()
        # The batch is free: the same engine takes other sizes.
        assert np.allclose(engine.run(images[:1]), expected[:1], atol=1e-3)
        assert np.allclose(engine.run(images[:3]), expected[:3], atol=1e-3)
    labelled = {
        entry.value
        for node in onnx.load_from_string(graph).graph.node
        for entry in node.metadata_props
        if entry.key == LAYER_KEY
    }
    assert labelled == set(network.layers())
    # Quantisation tells the layers by the names of the nodes, and squeeze-excitation's apart.
    quantised = {layer.name for layer in layers_of(read_graph(graph, "here"), "here")}
    assert labelled <= quantised
    assert all(".se." in layer for layer in quantised - labelled)
    assert_tensorrt_takes(onnx.load_from_string(graph))


@pytest.mark.slow
@pytest.mark.parametrize("name", ["MobileNetV3_small_x0_35"])
def test_activations_of_straight_lines_have_the_form_that_engines_fuse(
    name: str, manifest: Manifest
) -> None:
    """Hard-swish is one operator; of a gate's hard sigmoid only a clip is left, of any slope."""
    nodes = onnx.load_from_string(to_onnx(randomised(name), PREPROCESS, manifest)).graph.node
    kinds = [node.op_type for node in nodes]
    assert kinds.count("HardSwish") == 19
    assert kinds.count("Clip") == kinds.count("ReduceMean") - 1 == 9
    assert "HardSigmoid" not in kinds
    made_by = {node.output[0]: node.op_type for node in nodes}
    assert {made_by[node.input[0]] for node in nodes if node.op_type == "Clip"} == {"Conv"}


def test_the_graph_takes_pixels_and_gives_logits_and_probabilities(model: onnx.ModelProto) -> None:
    (taken,) = model.graph.input
    assert taken.name == "pixels"
    assert taken.type.tensor_type.elem_type == onnx.TensorProto.UINT8
    batch, *rest = taken.type.tensor_type.shape.dim
    assert batch.dim_param
    assert [dimension.dim_value for dimension in rest] == [64, 64, 3]
    assert [output.name for output in model.graph.output] == ["logits", "probabilities"]


def test_batch_norm_is_folded(model: onnx.ModelProto) -> None:
    kinds = {node.op_type for node in model.graph.node}
    assert "BatchNormalization" not in kinds
    assert {"Conv", "Clip", "Gemm", "Softmax"} <= kinds


def test_the_metadata_is_in_the_file(model: onnx.ModelProto, bundle: Bundle) -> None:
    (entry,) = model.metadata_props
    assert entry.key == ONNX_METADATA_KEY
    values = json.loads(entry.value)
    assert values["classes"] == ["circle", "square", "stripes"]
    assert values["preprocess"] == bundle.manifest.preprocess.to_json()


def test_the_file_tells_nothing_of_the_exporting_machine(bundle: Bundle) -> None:
    content = bundle.file(format="onnx").read_bytes()
    assert b"/src/" not in content
    assert b"site-packages" not in content


def test_folding_changes_no_answer_and_leaves_the_network_alone() -> None:
    network = randomised("ReXNet_lite_1_0")
    before = {key: value.clone() for key, value in network.state_dict().items()}
    folded = fold_batch_norm(network)
    x = torch.randn(2, 3, 64, 64)
    with torch.no_grad():
        expected = network(x)
        assert (folded(x) - expected).abs().max() < 1e-4 * expected.abs().max()
    assert not any(isinstance(m, nn.BatchNorm2d | nn.BatchNorm1d) for m in folded.modules())
    assert all(torch.equal(before[key], value) for key, value in network.state_dict().items())


def test_the_verification_is_recorded(bundle: Bundle) -> None:
    artifact = bundle.manifest.artifacts[0]
    assert [record.engine for record in artifact.verification] == ["onnxruntime", "openvino"]
    for record in artifact.verification:
        assert record.images == 9
        assert record.max_abs_diff <= 1e-4
        assert record.top1_agreement == 1.0
        assert record.latency_ms > 0
        assert record.source == "held-out images of folder shapes"


def tampered(graph: bytes, layer: str) -> bytes:
    """Change one weight of the convolution that a layer ends in or begins with."""
    model = onnx.load_from_string(graph)
    node = next(n for n in model.graph.node if n.name.startswith(f"{layer}.conv/Conv"))
    weights = next(t for t in model.graph.initializer if t.name == node.input[1])
    values = onnx.numpy_helper.to_array(weights).copy()
    values *= -1
    weights.CopyFrom(onnx.numpy_helper.from_array(values, weights.name))
    content: bytes = model.SerializeToString()
    return content


@pytest.mark.parametrize(
    "layer",
    [
        "stem",
        pytest.param("blocks.3.depthwise", marks=pytest.mark.slow),
        pytest.param("blocks.7.project", marks=pytest.mark.slow),
        "head",
    ],
)
@pytest.mark.parametrize("engine", ["openvino", "onnxruntime"])
def test_the_first_layer_that_diverges_is_named(layer: str, engine: str, bundle: Bundle) -> None:
    from fleetnet.inference.engines.torch import load_network

    graph = tampered(bundle.file(format="onnx").read_bytes(), layer)
    network, preprocess = load_network(bundle), bundle.manifest.preprocess
    divergence = first_divergence(graph, engine, network, preprocess, pixels(2))
    assert divergence is not None
    assert divergence.layer == layer
    untouched = bundle.file(format="onnx").read_bytes()
    assert first_divergence(untouched, engine, network, preprocess, pixels(2)) is None


@pytest.fixture(scope="module")
def odd(manifest: Manifest) -> tuple[Network, bytes]:
    """Export a small network of ReXNet's kind, whose odd widths the graph has padded."""
    first = BlockSetting(9, 11, 9, 2, expand=False, squeezed=0, shortcut=False)
    second = BlockSetting(11, 13, 66, 1, expand=True, squeezed=5, shortcut=True)
    torch.manual_seed(5)
    network = randomise(MobileNetwork(NetworkSetting(9, (first, second), 37, 0, nn.SiLU), 3))
    return network, to_onnx(network, PREPROCESS, manifest)


@pytest.mark.slow
@pytest.mark.parametrize("channel", [0, -1], ids=["a true channel", "a padded channel"])
@pytest.mark.parametrize("layer", ["blocks.0.project", "blocks.1.expand", "blocks.1.depthwise"])
def test_the_first_layer_that_diverges_is_named_in_a_padded_graph(
    layer: str, channel: int, odd: tuple[Network, bytes]
) -> None:
    network, graph = odd
    assert first_divergence(graph, "openvino", network, PREPROCESS, pixels(2)) is None
    model = onnx.load_from_string(graph)
    node = next(n for n in model.graph.node if n.name.startswith(f"{layer}.conv/Conv"))
    biases = next(t for t in model.graph.initializer if t.name == node.input[2])
    values = onnx.numpy_helper.to_array(biases).copy()
    assert len(values) % 4 == 0
    values[channel] += 1
    biases.CopyFrom(onnx.numpy_helper.from_array(values, biases.name))
    divergence = first_divergence(
        model.SerializeToString(), "openvino", network, PREPROCESS, pixels(2)
    )
    assert divergence is not None
    assert divergence.layer == layer


def test_the_graph_keeps_to_what_tensorrt_takes(odd: tuple[Network, bytes]) -> None:
    assert_tensorrt_takes(onnx.load_from_string(odd[1]))


def assert_tensorrt_takes(model: onnx.ModelProto) -> None:
    """Its parser wants uint8 input to be cast at once, and padding and axes to be constants."""
    (taken,) = (node for node in model.graph.node if "pixels" in node.input)
    assert taken.op_type == "Cast"
    assert {node.op_type for node in model.graph.node} <= {
        *("Add", "Cast", "Clip", "Conv", "Gemm", "Mul", "Pad", "ReduceMean", "Relu", "Reshape"),
        *(
            "Concat",
            "HardSwish",
            "MaxPool",
            "Sigmoid",
            "Softmax",
            "Split",
            "Transpose",
            "Unsqueeze",
        ),
    }
    constants = {tensor.name for tensor in model.graph.initializer}
    for node in model.graph.node:
        if node.op_type in ("Pad", "ReduceMean", "Reshape", "Clip"):
            assert set(node.input[1:]) - {""} <= constants


@pytest.mark.slow
def test_export_refuses_a_graph_that_answers_otherwise(
    checkpoint: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def wrong(network: nn.Module, preprocess: Preprocess, manifest: Manifest) -> bytes:
        return tampered(to_onnx(network, preprocess, manifest), "blocks.4.project")

    monkeypatch.setattr(exporting, "to_onnx", wrong)
    with pytest.raises(
        VerificationError, match=r"first layer that diverges is 'blocks\.4\.project'"
    ):
        exporting.export_bundle(checkpoint, tmp_path / "wrong.bundle")
    assert list(tmp_path.iterdir()) == []


@pytest.fixture
def second_runtime(monkeypatch: pytest.MonkeyPatch) -> str:
    """Make one more engine known that runs ONNX graphs; its name."""

    class Second(OnnxRuntimeEngine):
        name = "second"

    monkeypatch.setattr(ENGINES, "_found", dict(ENGINES))
    ENGINES.add(replace(ENGINES["onnxruntime"], name=Second.name, of_graph=Second))
    return Second.name


def test_export_verifies_with_every_engine_that_runs_a_graph(
    checkpoint: Path, tmp_path: Path, shapes: Path, second_runtime: str
) -> None:
    bundle = exporting.export_bundle(
        checkpoint, tmp_path / "a.bundle", images=[str(shapes)], limit=2
    )
    records = bundle.manifest.artifacts[0].verification
    assert [record.engine for record in records] == ["onnxruntime", "openvino", second_runtime]


def test_the_layer_that_diverges_is_found_in_every_such_engine(
    bundle: Bundle, second_runtime: str
) -> None:
    network = load_network(bundle)
    content = tampered(bundle.file(format="onnx").read_bytes(), "blocks.4.project")
    crop = bundle.manifest.preprocess.crop
    found = first_divergence(
        content, second_runtime, network, bundle.manifest.preprocess, pixels(2, crop)
    )
    assert found is not None
    assert found.layer == "blocks.4.project"


def test_engines_that_run_no_graph_say_so(bundle: Bundle) -> None:
    assert "torch" not in graph_engines()
    with pytest.raises(FleetnetError, match="the engine 'torch' runs no ONNX graph"):
        open_graph("torch", bundle.file(format="onnx").read_bytes())


def test_answers_that_are_no_numbers_fail_verification(bundle: Bundle) -> None:
    class Broken(OnnxRuntimeEngine):
        def outputs(self, pixels: npt.NDArray[np.uint8]) -> dict[str, Logits]:
            answers = super().outputs(pixels)
            answers["probabilities"] = answers["probabilities"] * np.nan
            return answers

    content = bundle.file(format="onnx").read_bytes()
    expected = OnnxRuntimeEngine(content, Setup()).run(pixels(2))
    comparison = compare(Broken(content, Setup()), pixels(2), expected)
    assert not comparison.passes(1e-4)


@pytest.mark.slow
def test_export_wants_images_when_the_training_data_is_gone(
    checkpoint: Path, tmp_path: Path, shapes: Path
) -> None:
    moved = Checkpoint.load(checkpoint)
    moved.data["spec"] = {"data": str(tmp_path / "gone")}
    moved.save(tmp_path / "moved.ckpt")
    with pytest.raises(DataError, match="images="):
        exporting.export_bundle(tmp_path / "moved.ckpt", tmp_path / "moved.bundle")
    bundle = exporting.export_bundle(
        tmp_path / "moved.ckpt", tmp_path / "moved.bundle", images=[str(shapes)], limit=4
    )
    assert bundle.manifest.artifacts[0].verification[0].images == 4
    assert bundle.manifest.artifacts[0].verification[0].source == "shapes"


@pytest.mark.slow
def test_export_verifies_on_photographs(
    checkpoint: Path, tmp_path: Path, photos: list[Path]
) -> None:
    bundle = exporting.export_bundle(
        checkpoint, tmp_path / "photos.bundle", images=[str(photos[0].parent)], limit=120
    )
    for record in bundle.manifest.artifacts[0].verification:
        assert record.images == 120
        assert record.max_abs_diff <= 1e-4
        assert record.top1_agreement == 1.0


@pytest.mark.slow
def test_an_older_bundle_is_replaced(checkpoint: Path, tmp_path: Path) -> None:
    first = exporting.export_bundle(checkpoint, tmp_path / "b", limit=1)
    said: list[str] = []
    second = exporting.export_bundle(checkpoint, tmp_path / "b", limit=2, say=said.append)
    assert said[-1] == f"{tmp_path / 'b'} replaces the bundle that was there"
    assert first.path == second.path
    assert Bundle.load(tmp_path / "b").manifest.artifacts[0].verification[0].images == 2
    assert [entry.name for entry in tmp_path.iterdir()] == ["b"]


def test_prepare_leaves_out_what_cannot_be_read(tmp_path: Path, shapes: Path) -> None:
    (tmp_path / "bad.jpg").write_bytes(b"bad")
    good = shapes / "circle" / "000.jpg"
    prepared = prepare([tmp_path / "bad.jpg", good, good.read_bytes()], PREPROCESS)
    assert prepared.shape == (2, 64, 64, 3)
    with pytest.raises(DataError, match="no image to verify with"):
        prepare([tmp_path / "bad.jpg"], PREPROCESS)


def test_weights_of_a_bundle_that_are_no_numbers_are_found(bundle: Bundle, tmp_path: Path) -> None:
    import shutil

    from safetensors.torch import load_file, save_file

    from fleetnet.errors import BundleError
    from fleetnet.files import sha256_of
    from fleetnet.inference.engines.torch import load_network

    folder = Path(shutil.copytree(bundle.path, tmp_path / "broken"))
    path = folder / bundle.file(format="safetensors").name
    state = load_file(path)
    state["head.conv.weight"][0] = float("inf")
    save_file(state, path)
    manifest = json.loads((folder / "fleetnet.json").read_text())
    for file in (file for artifact in manifest["artifacts"] for file in artifact["files"]):
        if file["name"] == path.name:
            file["sha256"], file["bytes"] = sha256_of(path), path.stat().st_size
    (folder / "fleetnet.json").write_text(json.dumps(manifest))
    with pytest.raises(BundleError, match=r"'head\.conv\.weight' holds NaN or infinite values"):
        load_network(Bundle.load(folder))
