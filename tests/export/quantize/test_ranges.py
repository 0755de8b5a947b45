"""Ranges of least error: what they cut off, what they round finer, and that engines share them."""

import contextlib
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
import onnxruntime as ort
import openvino as ov
import pytest
from hypothesis import given
from hypothesis import strategies as st
from onnx import numpy_helper
from onnx.helper import make_graph, make_model, make_node, make_opsetid, make_tensor_value_info

from fleetnet.bundle import Bundle
from fleetnet.errors import VerificationError
from fleetnet.export.quantize import ranges
from fleetnet.export.quantize.bundle import quantize_bundle
from fleetnet.export.quantize.finetuned import Finetuned
from fleetnet.export.quantize.quantizer import NARROWED
from fleetnet.export.quantize.ranges import STEPS, narrowed
from fleetnet.export.quantize.samples import Samples
from fleetnet.export.quantize.session import Session
from fleetnet.export.quantize.shared import join_silu, with_whole_silu
from fleetnet.inference.comparison import run_in_batches
from fleetnet.inference.engines import open_engine
from fleetnet.inference.engines.openvino import read_onnx
from fleetnet.reporting import Advance

Values = npt.NDArray[np.float64]
SHARED = "the graph of ONNX Runtime"
SIDE = 16


def quiet(_what: str, _steps: int) -> Advance:
    return lambda _: None


def error(values: Values, low: float, high: float) -> float:
    """Return the mean square of what rounding within a range does to values."""
    step = (high - low) / STEPS
    rounded = np.rint(values.clip(low, high) / step) * step
    return float(np.square(rounded - values).mean())


def range_of(values: Values, side: int = SIDE) -> tuple[float, float]:
    """Return what is found for values that a network computes of images."""
    images = values.reshape(-1, side, side, 3)
    # A table of as many entries as there are bytes: the network looks its values up.
    table, places = np.unique(images, return_inverse=True)
    pixels = places.reshape(images.shape).astype(np.uint8)
    nodes = [
        make_node("Cast", ["pixels"], ["places"], to=onnx.TensorProto.INT64),
        make_node("Gather", ["table", "places"], ["y"]),
    ]
    graph = make_graph(
        nodes,
        "g",
        [make_tensor_value_info("pixels", onnx.TensorProto.UINT8, ["N", side, side, 3])],
        [make_tensor_value_info("y", onnx.TensorProto.FLOAT, ["N", side, side, 3])],
        [numpy_helper.from_array(table.astype(np.float32), "table")],
    )
    model = make_model(graph, opset_imports=[make_opsetid("", 18)], ir_version=8)
    seen: list[int] = []
    extremes = {"y": (float(values.min()), float(values.max()))}
    found = narrowed(model, extremes, pixels, seen.append)
    assert sum(seen) == (min(len(pixels), ranges.IMAGES) if values.any() else 0)
    return found["y"]


def drawn_values(seed: int, tail: float, shift: float) -> Values:
    """Return 256 different values, most of them near to each other, as often as not."""
    random = np.random.default_rng(seed)
    table = np.sort(random.standard_t(tail, 256)) + shift
    return np.asarray(random.choice(table, 8 * SIDE * SIDE * 3))


@given(st.integers(0, 2**32 - 1), st.floats(1.1, 30), st.sampled_from([-3.0, 0.0, 0.5, 20.0]))
def test_no_range_rounds_worse_than_that_of_the_extremes_may(
    seed: int, tail: float, shift: float
) -> None:
    """What rounding costs depends on where values lie between steps: at most half a step each."""
    values = drawn_values(seed, tail, shift)
    low, high = min(values.min(), 0), max(values.max(), 0)
    found = range_of(values)
    assert low - 1e-6 <= found[0] <= 0 <= found[1] <= high + 1e-6
    assert error(values, *found) <= ((high - low) / ranges.STEPS / 2) ** 2 * 1.1


def test_few_values_that_are_far_away_are_cut_off() -> None:
    """The many are worth more than the few, if these are not too far."""
    random = np.random.default_rng(0)
    values = random.choice(np.linspace(-1, 1, 255), (64, 64 * 64 * 3))
    values[0, 0] = 3
    low, high = range_of(values, 64)
    assert low == pytest.approx(-1, abs=0.1)
    assert 1 <= high < 2
    assert error(values, low, high) < 0.7 * error(values, -1, 3)


def test_values_that_are_equally_often_everywhere_keep_their_range() -> None:
    values = np.random.default_rng(0).choice(np.linspace(-2, 3, 256), 8 * SIDE * SIDE * 3)
    assert range_of(values) == pytest.approx((-2, 3), abs=0.1)


def test_values_on_one_side_keep_zero_in_their_range() -> None:
    low, high = range_of(np.full(SIDE * SIDE * 3, 7.0))
    assert low == 0
    assert high == pytest.approx(7, rel=0.02)
    assert range_of(np.zeros(SIDE * SIDE * 3)) == (0, 0)


def integers(content: bytes) -> list[bytes]:
    graph = onnx.load_from_string(content).graph
    arrays = (numpy_helper.to_array(one) for one in graph.initializer)
    return sorted(
        one.tobytes() for one in arrays if one.dtype == np.int8 and one.any() and one.ndim > 1
    )


def constants(files: Any) -> list[bytes]:
    model = ov.Core().read_model(files["model.int8.xml"], files["model.int8.bin"])
    return sorted(
        node.data.astype(np.int8).tobytes()
        for node in model.get_ordered_ops()
        if node.get_type_name() == "Constant"
        and node.get_element_type() == ov.Type.i8
        and node.data.ndim > 1
        and node.data.any()
    )


def test_openvino_gets_the_integers_of_onnx_runtime(taught: Bundle, drawn: Samples) -> None:
    session = Session(taught, drawn, 0.9, 7, quiet)
    own, other = session.quantizer("onnxruntime", NARROWED), session.quantizer("openvino", SHARED)
    assert other.tool == own.tool
    assert "for their sums and ranges of least error" in own.tool
    first, second = own.quantize(()), other.quantize(())
    wanted = integers(first.contents["model.int8.onnx"])
    assert len(wanted) == 54
    assert constants(second.contents) == wanted
    with open_engine("onnxruntime", taught, 1) as engine:
        expected = run_in_batches(engine, drawn.validation)
    apart = []
    for made in (first, second):
        with made.open(1) as engine:
            apart.append(np.abs(run_in_batches(engine, drawn.validation) - expected).mean())
    # Sums of two layers are rounded once less or more, and between layers there may be bf16.
    assert 0 < apart[1] < 1.5 * apart[0]


def test_layers_that_are_kept_are_kept_in_the_shared_graph_too(
    taught: Bundle, drawn: Samples
) -> None:
    session = Session(taught, drawn, 0.9, 7, quiet)
    quantizer = session.quantizer("openvino", SHARED)
    assert len(constants(quantizer.quantize(session.layers[3:5]).contents)) == 52


def silu(*more: onnx.NodeProto) -> onnx.ModelProto:
    """Return ``x * sigmoid(x)`` as ONNX Runtime's quantiser writes it: every value is rounded."""
    constants = {"step": np.float32(0.1), "zero": np.uint8(100)}

    def rounded(name: str) -> list[onnx.NodeProto]:
        return [
            make_node("QuantizeLinear", [name, "step", "zero"], [f"{name}_q"]),
            make_node("DequantizeLinear", [f"{name}_q", "step", "zero"], [f"{name}_r"]),
        ]

    nodes = [
        *rounded("x"),
        make_node("Sigmoid", ["x_r"], ["gate"]),
        *rounded("gate"),
        make_node("Mul", ["gate_r", "x_r"], ["y"]),
        *more,
    ]
    outputs = ["y", *(name for node in more for name in node.output)]
    graph = make_graph(
        nodes,
        "g",
        [make_tensor_value_info("x", onnx.TensorProto.FLOAT, [1, 8])],
        [make_tensor_value_info(name, onnx.TensorProto.FLOAT, [1, 8]) for name in outputs],
        [numpy_helper.from_array(np.asarray(one), name) for name, one in constants.items()],
    )
    return make_model(graph, opset_imports=[make_opsetid("", 18)], ir_version=8)


def computed(content: bytes, x: npt.NDArray[np.float32]) -> list[Any]:
    return list(ort.InferenceSession(content).run(None, {"x": x}))


def test_openvino_rounds_nothing_inside_of_a_silu() -> None:
    x = np.random.default_rng(0).normal(size=(1, 8)).astype(np.float32)
    content = silu().SerializeToString()
    (y,) = computed(with_whole_silu(content), x)
    assert y == pytest.approx(x / (1 + np.exp(-x)), abs=1e-5)
    assert computed(content, x)[0] != pytest.approx(y, abs=1e-3)
    model = read_onnx(with_whole_silu(content))
    join_silu(model)
    assert "Swish" in {node.get_type_name() for node in model.get_ordered_ops()}


def test_what_others_use_of_a_silu_stays_rounded() -> None:
    x = np.random.default_rng(0).normal(size=(1, 8)).astype(np.float32)
    content = silu(make_node("Neg", ["x_r"], ["z"])).SerializeToString()
    (y, z) = computed(with_whole_silu(content), x)
    rounded = -z
    assert rounded == pytest.approx(np.rint(x / 0.1) * 0.1, abs=1e-5)
    assert y == pytest.approx(rounded / (1 + np.exp(-rounded)), abs=1e-5)


def test_openvino_first_gets_the_graph_that_was_trained(taught: Bundle, drawn: Samples) -> None:
    content = taught.file(format="onnx").read_bytes()
    finetuned = Finetuned(content, epochs=1, images=2)
    # What passes at once is the first that was tried.
    session = Session(taught, drawn, 1e-6, 7, quiet, finetuned)
    own, other = session.quantize("onnxruntime"), session.quantize("openvino")
    assert (own.attempts, other.attempts) == (1, 1)
    told = "fine-tuned for 1 epoch of 2 images"
    assert own.quantization.tool == other.quantization.tool
    assert other.quantization.tool.startswith("onnxruntime")
    assert other.quantization.tool.endswith(told)
    wanted = integers(own.quantized.contents["model.int8.onnx"])
    assert constants(other.quantized.contents) == wanted
    assert Session(taught, drawn, 1e-6, 7, quiet).quantize("openvino").quantization.tool != (
        other.quantization.tool
    )


def test_they_are_tried_where_nothing_else_passes(
    taught: Bundle, drawn: Samples, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An agreement that no recipe reaches with all layers in int8 has every one tried."""
    tried: list[tuple[str, str]] = []
    found = Session.quantizer

    def noted(self: Session, engine: str, recipe: str = "") -> Any:
        tried.append((engine, recipe))
        return found(self, engine, recipe)

    monkeypatch.setattr(Session, "quantizer", noted)
    dark = Samples(drawn.calibration // 64, drawn.validation, 0, 0)
    with contextlib.suppress(VerificationError):  # whether layers can save it does not matter here
        quantize_bundle(taught, dark, "shapes", output=tmp_path / "b.bundle", agreement=1.0)
    assert ("openvino", SHARED) in tried
    assert ("onnxruntime", NARROWED) in tried
