"""ONNX for readers that stopped years ago: opset 11, fixed shapes, the most common operators."""

from __future__ import annotations

import tempfile
import warnings
from pathlib import Path

import onnx
import torch
from onnxscript import ir, optimizer

from fleetnet.bundle import Bundle
from fleetnet.errors import FleetnetError
from fleetnet.export.onnx import INPUT, LOGITS
from fleetnet.export.program import example_of, program_of

OPSET = 11


def plain_graph(bundle: Bundle, batch: int, *, planes: bool = True) -> bytes:
    """Return an ONNX file that takes ``float32[batch, 3, crop, crop]``, RGB, from 0 to 255.

    Without ``planes`` it takes ``uint8[batch, crop, crop, 3]``, as the bundle's own graph does.
    It gives logits, ``float32[batch, K]``; normalisation is inside.

    Raises:
        BundleError: the bundle's weights are absent or damaged.
        FleetnetError: the network needs an operator that ONNX itself does not have.
    """
    # Sizes are numbers in the program, so the graph does not compute them.
    program = program_of(bundle, batch, planes=planes)
    with tempfile.TemporaryDirectory() as folder, warnings.catch_warnings():
        path = Path(folder) / "model.onnx"
        warnings.simplefilter("ignore")
        # By the older exporter: the newer one has no opset below 18, and converting down fails.
        torch.onnx.export(
            program.module(),
            (example_of(bundle, batch, planes=planes),),
            path,
            input_names=[INPUT],
            output_names=[LOGITS],
            opset_version=OPSET,
            dynamo=False,
            training=torch.onnx.TrainingMode.PRESERVE,  # the program is for inference, and knows it
        )
        return _folded(onnx.load(path))


def _folded(graph: onnx.ModelProto) -> bytes:
    """Compute beforehand what depends on no input, and check the graph."""
    model = ir.from_proto(onnx.shape_inference.infer_shapes(graph))
    optimizer.fold_constants(model, should_fold=lambda _: True)
    optimizer.optimize(model)
    proto = ir.to_proto(model)
    foreign = sorted({node.op_type for node in proto.graph.node if node.domain})
    if foreign:
        raise FleetnetError(f"the network needs operators beyond ONNX: {', '.join(foreign)}")
    onnx.checker.check_model(proto, full_check=True)
    content: bytes = proto.SerializeToString()
    return content
