"""Bundles that say they have int8, in a graph that is quick to make."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import onnx
from onnx import numpy_helper

from fleetnet.bundle import (
    MANIFEST,
    Artifact,
    Bundle,
    Judgement,
    Quantization,
    Verification,
)

JUDGEMENT = Judgement(
    metric="top1",
    judged_by="confidence",
    images=40,
    loss=0.0012,
    low=-0.001,
    high=0.0034,
    allowed=0.005,
)
"""What is on record of it; see :func:`cell_of`."""


def cell_of(judgement: Judgement) -> str:
    """Return what a table shows of a judgement."""
    return f"{100 * judgement.loss:.2f}<{100 * judgement.high:.2f}"


def with_int8(
    bundle: Bundle,
    path: Path,
    graph: bytes | None = None,
    judgement: Judgement | None = JUDGEMENT,
    agreement: float = 0.99,
) -> Bundle:
    """Copy a bundle with an int8 for ONNX Runtime in it: this graph, or that in fp32."""
    shutil.copytree(bundle.path, path)
    graph = bundle.file(format="onnx").read_bytes() if graph is None else graph
    (path / "model.int8.onnx").write_bytes(graph)
    record = Verification(
        engine="onnxruntime",
        engine_version="1",
        images=40,
        source="made up",
        max_abs_diff=0.1,
        top1_agreement=1.0,
        tolerance=1.0,
        agreement=1.0,
        mean_abs_diff=0.01,
        judgement=judgement,
        latency_ms=1.0,
        machine="made up",
    )
    quantization = Quantization(
        tool="made up",
        calibration_images=10,
        weight_bits=7,
        agreement=agreement,
        layers=3,
        kept_macs=0.0,
    )
    artifact = Artifact.of(
        "onnx",
        {"model.int8.onnx": graph},
        precision="int8",
        verification=(record,),
        quantization=quantization,
    )
    manifest = bundle.manifest.model_copy(
        update={"artifacts": (*bundle.manifest.artifacts, artifact)}
    )
    (path / MANIFEST).write_text(manifest.to_json(), "utf-8")
    return Bundle.load(path)


def times(graph: bytes, factor: float) -> bytes:
    """Multiply the logits of a graph."""
    model = onnx.load_from_string(graph)
    for node in model.graph.node:
        node.input[:] = ["before" if name == "logits" else name for name in node.input]
        node.output[:] = ["before" if name == "logits" else name for name in node.output]
    model.graph.initializer.append(
        numpy_helper.from_array(np.array([factor], np.float32), "factor")
    )
    last = onnx.helper.make_node("Mul", ["before", "factor"], ["logits"], "times")
    model.graph.node.append(last)
    content: bytes = model.SerializeToString()
    return content
