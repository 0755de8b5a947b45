"""ONNX for old readers: what it is made of, and what a reader of another hand computes by it."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx.reference import ReferenceEvaluator

from fleetnet.benchmark.untrained import make_untrained
from fleetnet.bundle import Bundle
from fleetnet.export.converted import export_to
from fleetnet.export.plain_onnx import plain_graph
from fleetnet.inference.engines import open_engine

pytestmark = pytest.mark.slow

OF_SHAPES = {"Cast", "Constant", "ConstantOfShape", "Gather", "Shape", "Slice", "Squeeze"}
"""Operators that exporters compute sizes with, which stand in the graph as numbers."""


def check_against_the_network(
    bundle: Bundle, graph: bytes, batch: int, *, planes: bool = True
) -> None:
    """Hold a graph to opset 11, and its answers by the reference evaluator to PyTorch's."""
    model = onnx.load_from_string(graph)
    onnx.checker.check_model(model, full_check=True)
    assert [(one.domain, one.version) for one in model.opset_import] == [("", 11)]
    assert model.ir_version <= 6
    assert not model.functions
    assert not any(node.domain for node in model.graph.node)
    computing_sizes = {node.op_type for node in model.graph.node} & OF_SHAPES
    assert computing_sizes <= (set() if planes else {"Cast"})  # of the bytes
    crop = bundle.manifest.preprocess.crop
    (given,), (wanted,) = model.graph.input, model.graph.output
    assert (given.name, wanted.name) == ("pixels", "logits")
    kinds = onnx.TensorProto
    assert given.type.tensor_type.elem_type == (kinds.FLOAT if planes else kinds.UINT8)
    taken = (batch, 3, crop, crop) if planes else (batch, crop, crop, 3)
    for value, shape in ((given, taken), (wanted, (batch, None))):
        sizes = [one.dim_value for one in value.type.tensor_type.shape.dim]
        assert sizes == [size or bundle.manifest.model.num_classes for size in shape]
    pixels = np.random.default_rng(0).integers(0, 256, (batch, crop, crop, 3), np.uint8)
    asked = pixels.transpose(0, 3, 1, 2).astype(np.float32) if planes else pixels
    (found,) = ReferenceEvaluator(model).run(None, {"pixels": asked})
    with open_engine("torch", bundle, 1) as reference:
        np.testing.assert_allclose(np.asarray(found), reference.run(pixels), atol=1e-3)


@pytest.mark.parametrize("batch", [None, 2])
def test_the_target_for_old_readers(
    batch: int | None, bundle: Bundle, shapes: Path, tmp_path: Path
) -> None:
    written = export_to(
        str(bundle.path), "tnn", tmp_path / "made", batch=batch, images=[str(shapes)], limit=5
    )
    (artifact,) = written.artifacts
    (record,) = artifact.verification
    assert artifact.key == ("plain-onnx", "fp32", batch or 1)
    assert (record.images, record.engine, record.top1_agreement) == (5, "onnxruntime", 1.0)
    assert record.max_abs_diff <= 1e-4
    path, of_bytes = written.files_of(artifact)
    check_against_the_network(bundle, path.read_bytes(), batch or 1)
    check_against_the_network(bundle, of_bytes.read_bytes(), batch or 1, planes=False)
    page = (written.path / "README.md").read_text("utf-8")
    crop = bundle.manifest.preprocess.crop
    assert f"Takes `float32[{batch or 1}, 3, {crop}, {crop}]`" in page
    assert f"`uint8[{batch or 1}, {crop}, {crop}, 3]`" in page
    assert "onnx2tnn model.onnx" in page


def test_a_network_whose_shortcuts_are_padded(tmp_path: Path) -> None:
    bundle = make_untrained("ReXNet_1_0", 32, tmp_path / "rexnet")
    check_against_the_network(bundle, plain_graph(bundle, 1), 1)
