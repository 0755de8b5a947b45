from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest

from conftest import Run
from fleetnet.bundle import Bundle
from fleetnet.errors import BundleError
from fleetnet.export.bundle import export_bundle
from fleetnet.export.fixed_batch import InWholeBatches, fix_batch
from fleetnet.inference.engines import Setup, open_engine
from fleetnet.inference.engines.onnxruntime import OnnxRuntimeEngine
from fleetnet.inference.engines.openvino import OpenVinoEngine

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def fixed(tmp_path_factory: pytest.TempPathFactory, checkpoint: Path) -> Bundle:
    output = tmp_path_factory.mktemp("export") / "fixed.bundle"
    return export_bundle(checkpoint, output, fixed_batches=(3, 1, 3))


def pixels(bundle: Bundle, count: int) -> np.ndarray:
    crop = bundle.manifest.preprocess.crop
    return np.random.default_rng(0).integers(0, 256, (count, crop, crop, 3), np.uint8)


def test_each_size_is_a_verified_file_of_the_bundle(fixed: Bundle) -> None:
    names = list(map(str, fixed.artifacts))
    assert names == [
        "onnx in fp32",
        "onnx in fp32 for batches of 1",
        "onnx in fp32 for batches of 3",
        "safetensors in fp32",
        "trained-images",
    ]
    for artifact in fixed.manifest.artifacts[:3]:
        engines = {record.engine for record in artifact.verification}
        assert engines == {"onnxruntime", "openvino"}
        assert all(record.top1_agreement == 1.0 for record in artifact.verification)


@pytest.mark.parametrize("batch", [1, 3])
def test_no_dimension_is_free(fixed: Bundle, batch: int) -> None:
    model = onnx.load(fixed.file(format="onnx", batch=batch))
    for value in (*model.graph.input, *model.graph.output, *model.graph.value_info):
        assert all(dim.HasField("dim_value") for dim in value.type.tensor_type.shape.dim)
    assert model.graph.input[0].type.tensor_type.shape.dim[0].dim_value == batch
    # All of a node's outputs are known, so that a compiler can plan its memory.
    known = {value.name for value in (*model.graph.value_info, *model.graph.output)}
    assert {name for node in model.graph.node for name in node.output} <= known


def test_it_takes_no_other_size_and_answers_as_the_free_graph(fixed: Bundle) -> None:
    path = fixed.file(format="onnx", batch=3)
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    images = pixels(fixed, 3)
    logits, probabilities = session.run(None, {"pixels": images})
    free = open_engine("onnxruntime", fixed, 1).run(images)
    np.testing.assert_allclose(logits, free, atol=1e-4)
    np.testing.assert_allclose(probabilities.sum(1), 1, atol=1e-5)
    with pytest.raises(Exception, match="invalid dimensions"):
        session.run(None, {"pixels": images[:2]})


@pytest.mark.parametrize("engine", [OnnxRuntimeEngine, OpenVinoEngine.of_onnx])
@pytest.mark.parametrize("count", [1, 3, 7])
def test_any_number_of_images_in_whole_batches(fixed: Bundle, engine: type, count: int) -> None:
    images = pixels(fixed, count)
    graph = fixed.file(format="onnx", batch=3).read_bytes()
    whole = InWholeBatches(engine(graph, Setup()), 3)
    expected = open_engine("torch", fixed, 1).run(images)
    np.testing.assert_allclose(whole.run(images), expected, atol=1e-3)
    assert [len(part) for part in whole.run_all([images, images])] == [count, count]


def test_its_onnx_file_without_the_bundle_is_refused_in_one_line(
    fleetnet: Run, fixed: Bundle, shapes: Path
) -> None:
    path = fixed.file(format="onnx", batch=3)
    with pytest.raises(BundleError, match="takes only batches of 3"):
        Bundle.load(path)
    result = fleetnet("predict", path, shapes)
    assert result.code == 2
    assert "give the bundle" in result.err


def test_its_metadata_says_which_size(fixed: Bundle) -> None:
    model = onnx.load(fixed.file(format="onnx", batch=3))
    (text,) = (entry.value for entry in model.metadata_props if entry.key == "fleetnet")
    assert '"shape": [\n      3,' in text


def test_sizes_that_no_batch_has(fleetnet: Run, checkpoint: Path, tmp_path: Path) -> None:
    for size in ("0", "-2", "5000"):
        result = fleetnet(
            "export", checkpoint, "-o", tmp_path / "x.bundle", f"--fixed-batch={size}"
        )
        assert result.code == 2
        assert "it must be from 1 to 4096" in result.err
    assert list(tmp_path.iterdir()) == []


def test_predict_and_verify_take_a_bundle_with_fixed_batches(
    fleetnet: Run, fixed: Bundle, shapes: Path
) -> None:
    assert fleetnet("predict", fixed.path, shapes, "--csv").code == 0
    assert fleetnet("verify", fixed.path, "--images", shapes).code == 0
    graph = fixed.file(format="onnx").read_bytes()
    assert fix_batch(graph, 1) == fixed.file(format="onnx", batch=1).read_bytes()
