"""A network that computes the same in fp32 but does not bear int8."""

import hashlib
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnx import numpy_helper

from fleetnet.bundle import MANIFEST, Bundle, File

SCALED, COMPENSATED = "blocks.0.project", "blocks.1.expand"
FACTOR = 2.0**12


def with_outlier(graph: bytes) -> bytes:
    """Scale a channel between two layers up, so that the others share one step of int8."""
    model = onnx.load_from_string(graph)
    _scale(model, f"network.{SCALED}.conv.weight", np.s_[0], FACTOR)
    _scale(model, f"network.{SCALED}.conv.bias", np.s_[0], FACTOR)
    _scale(model, f"network.{COMPENSATED}.conv.weight", np.s_[:, 0], 1 / FACTOR)
    content: bytes = model.SerializeToString()
    return content


def bundle_with(bundle: Bundle, graph: bytes, path: Path) -> Bundle:
    """Copy a bundle with another ONNX graph in it."""
    shutil.copytree(bundle.path, path)
    (path / "model.onnx").write_bytes(graph)
    file = File.of("model.onnx", b"-").model_copy(
        update={"sha256": hashlib.sha256(graph).hexdigest()}
    )
    artifacts = tuple(
        artifact.model_copy(update={"files": (file,)})
        if artifact.key == ("onnx", "fp32", None)
        else artifact
        for artifact in bundle.manifest.artifacts
    )
    manifest = bundle.manifest.model_copy(update={"artifacts": artifacts})
    (path / MANIFEST).write_text(manifest.to_json(), "utf-8")
    return Bundle.load(path)


def _scale(model: onnx.ModelProto, name: str, where: Any, factor: float) -> None:
    tensor = next(tensor for tensor in model.graph.initializer if tensor.name == name)
    values = np.array(numpy_helper.to_array(tensor))
    values[where] *= factor
    tensor.CopyFrom(numpy_helper.from_array(values, name))
