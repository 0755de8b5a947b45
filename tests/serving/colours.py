"""A network that sees colours, so that it is known where it looks: no training, any engine."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper
from PIL import Image, ImageDraw

from fleetnet.bundle import Manifest, ModelInfo
from fleetnet.bundle.manifest import TensorInfo
from fleetnet.bundle.onnx_metadata import ONNX_METADATA_KEY
from fleetnet.preprocess import Preprocess

CLASSES = ("red", "blue", "<i>nothing</i>")
SIDE = 56
RED, BLUE = (230, 20, 20), (20, 20, 230)


def write_network(path: Path) -> Path:
    """Write an ``.onnx`` file, a bundle by itself; its logits are how much of each colour is seen.

    A pixel is red by as much as its red is over its green and blue together.
    """
    weights = np.array([[1, -1, -1], [-1, -1, 1], [0, 0, 0]], np.float32).T / 255
    bias, scale = np.array([0, 0, 0.02], np.float32), np.array(60, np.float32)
    given: dict[str, np.ndarray] = {"weights": weights, "bias": bias, "scale": scale}
    nodes = [
        helper.make_node("Cast", ["pixels"], ["floats"], to=TensorProto.FLOAT),
        helper.make_node("MatMul", ["floats", "weights"], ["seen"]),
        helper.make_node("Add", ["seen", "bias"], ["shifted"]),
        helper.make_node("Relu", ["shifted"], ["positive"]),
        helper.make_node("ReduceMean", ["positive"], ["mean"], axes=[1, 2], keepdims=0),
        helper.make_node("Mul", ["mean", "scale"], ["logits"]),
        helper.make_node("Softmax", ["logits"], ["probabilities"], axis=1),
    ]
    graph = helper.make_graph(
        nodes,
        "colours",
        [helper.make_tensor_value_info("pixels", TensorProto.UINT8, ["batch", SIDE, SIDE, 3])],
        [
            helper.make_tensor_value_info(name, TensorProto.FLOAT, ["batch", len(CLASSES)])
            for name in ("logits", "probabilities")
        ],
        [numpy_helper.from_array(values, name) for name, values in given.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
    helper.set_model_props(model, {ONNX_METADATA_KEY: _manifest().to_json()})
    onnx.checker.check_model(model)
    path.write_bytes(model.SerializeToString())
    return path


def _manifest() -> Manifest:
    outputs = (
        TensorInfo(name="logits", dtype="float32", shape=(None, len(CLASSES))),
        TensorInfo(name="probabilities", dtype="float32", shape=(None, len(CLASSES))),
    )
    return Manifest(
        model=ModelInfo(name="MobileNetV2_x0_25", num_classes=len(CLASSES)),
        classes=CLASSES,
        preprocess=Preprocess(resize=SIDE, crop=SIDE),
        input=TensorInfo(
            name="pixels", dtype="uint8", shape=(None, SIDE, SIDE, 3), layout="NHWC", color="RGB"
        ),
        outputs=outputs,
        metrics={"held_out": {"images": 20, "top1": 0.95, "not_measured": float("nan")}},
    )


def scene(*discs: tuple[tuple[int, int, int], int, int], size: tuple[int, int]) -> Image.Image:
    """Draw discs of ``(colour, x, y)``, by their middles, on grey noise."""
    noise = np.random.default_rng(5).integers(70, 130, (size[1], size[0], 1), np.uint8)
    image = Image.fromarray(np.repeat(noise, 3, axis=2))
    pen = ImageDraw.Draw(image)
    for colour, x, y in discs:
        pen.ellipse((x - 18, y - 18, x + 18, y + 18), fill=colour)
    return image
