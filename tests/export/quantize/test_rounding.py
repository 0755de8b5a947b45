"""Weights that are rounded for their sums: nearer sums, the same means, integers that stay."""

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
import onnxruntime as ort
import openvino as ov
import pytest
from onnx import numpy_helper
from onnx.helper import make_graph, make_model, make_node, make_opsetid, make_tensor_value_info

from fleetnet.bundle import Bundle
from fleetnet.export.quantize import rounding, session
from fleetnet.export.quantize.bundle import quantize_bundle
from fleetnet.export.quantize.layers import layers_of, read_graph
from fleetnet.export.quantize.moments import measure, products_of
from fleetnet.export.quantize.nncf import OpenVinoQuantizer
from fleetnet.export.quantize.qdq import OnnxRuntimeQuantizer
from fleetnet.export.quantize.quantizer import (
    LARGEST,
    ROUNDED,
    Quantizer,
    QuantizerKind,
    Unquantized,
)
from fleetnet.export.quantize.quantizers import QUANTIZERS
from fleetnet.export.quantize.rounding import TOLD, Rounding, _nearest_sums, rounding_of
from fleetnet.export.quantize.samples import Samples
from fleetnet.inference.comparison import run_in_batches
from fleetnet.inference.engines import Pixels, open_engine
from fleetnet.reporting import Advance

Arrays = Mapping[str, npt.NDArray[Any]]
BITS = 7
SIDE = 8
CONVOLUTIONS: list[tuple[dict[str, Any], tuple[int, ...]]] = [
    ({"kernel_shape": [3, 3], "pads": [1, 1, 1, 1]}, (5, 3, 3, 3)),
    ({"kernel_shape": [3, 3], "pads": [0, 1, 2, 0], "strides": [2, 1]}, (5, 3, 3, 3)),
    ({"kernel_shape": [3, 2], "dilations": [2, 3]}, (5, 3, 3, 2)),
    ({"kernel_shape": [5, 5], "pads": [2, 2, 2, 2], "group": 3}, (6, 1, 5, 5)),
    ({"kernel_shape": [1, 1]}, (4, 3, 1, 1)),
]


def quiet(_what: str, _steps: int) -> Advance:
    return lambda _: None


def arrays(graph: onnx.ModelProto) -> Arrays:
    return {one.name: numpy_helper.to_array(one) for one in graph.graph.initializer}


def network_of(attributes: dict[str, Any], shape: tuple[int, ...]) -> onnx.ModelProto:
    """One convolution of pixels, and a classifier behind its mean."""
    random = np.random.default_rng(1)
    constants = {
        "conv.weight": random.normal(size=shape),
        "conv.bias": random.normal(size=shape[0]),
        "fc.weight": random.normal(size=(4, shape[0])),
        "fc.bias": random.normal(size=4),
    }
    nodes = [
        make_node("Cast", ["pixels"], ["float"], "start/Cast", to=onnx.TensorProto.FLOAT),
        make_node("Transpose", ["float"], ["x"], "start/Transpose", perm=[0, 3, 1, 2]),
        make_node("Conv", ["x", "conv.weight", "conv.bias"], ["y"], "conv/Conv", **attributes),
        make_node("GlobalAveragePool", ["y"], ["mean"], "end/Mean"),
        make_node("Flatten", ["mean"], ["flat"], "end/Flatten"),
        make_node("Gemm", ["flat", "fc.weight", "fc.bias"], ["logits"], "fc/Gemm", transB=1),
    ]
    graph = make_graph(
        nodes,
        "g",
        [make_tensor_value_info("pixels", onnx.TensorProto.UINT8, ["N", SIDE, SIDE, 3])],
        [make_tensor_value_info("logits", onnx.TensorProto.FLOAT, ["N", 4])],
        [numpy_helper.from_array(v.astype(np.float32), name) for name, v in constants.items()],
    )
    return make_model(graph, opset_imports=[make_opsetid("", 18)], ir_version=8)


@pytest.fixture(scope="module")
def pixels() -> Pixels:
    """Images whose neighbouring pixels go together, as those of photographs do."""
    random = np.random.default_rng(2)
    coarse = random.integers(0, 200, (24, SIDE // 4, SIDE // 4, 1))
    smooth = coarse.repeat(4, 1).repeat(4, 2)
    found: Pixels = (smooth + random.integers(0, 56, (24, SIDE, SIDE, 3))).astype(np.uint8)
    return found


def values(graph: onnx.ModelProto, name: str, pixels: Pixels) -> npt.NDArray[np.float32]:
    tapped = onnx.ModelProto()
    tapped.CopyFrom(graph)
    tapped.graph.output.append(onnx.helper.make_tensor_value_info(name, 1, None))
    found: npt.NDArray[np.float32] = ort.InferenceSession(tapped.SerializeToString()).run(
        [name], {"pixels": pixels}
    )[0]
    return found


@pytest.mark.parametrize(("attributes", "shape"), CONVOLUTIONS)
def test_sums_are_nearer_than_rounded_one_by_one_and_their_means_are_kept(
    attributes: dict[str, Any], shape: tuple[int, ...], pixels: Pixels
) -> None:
    graph = network_of(attributes, shape)
    made = rounding_of(graph, pixels, LARGEST[BITS]).applied(graph)
    wanted, found = values(graph, "y", pixels), values(made, "y", pixels)
    assert found.mean((0, 2, 3)) == pytest.approx(wanted.mean((0, 2, 3)), rel=1e-4, abs=1e-3)

    weight = arrays(graph)["conv.weight"]
    step = np.abs(weight).max((1, 2, 3), keepdims=True) / LARGEST[BITS]
    plain = onnx.ModelProto()
    plain.CopyFrom(graph)
    tensor = next(one for one in plain.graph.initializer if one.name == "conv.weight")
    tensor.CopyFrom(
        numpy_helper.from_array((np.rint(weight / step) * step).astype(np.float32), "conv.weight")
    )
    one_by_one = values(plain, "y", pixels) - wanted
    together = found - wanted
    assert (together.var((0, 2, 3)) <= one_by_one.var((0, 2, 3)) * (1 + 1e-4)).all()
    if np.prod(shape[1:]) > 3:
        assert np.square(together).mean() < 0.5 * np.square(one_by_one).mean()


@pytest.mark.parametrize(("attributes", "shape"), CONVOLUTIONS)
@pytest.mark.parametrize("bits", [7, 8])
def test_every_quantiser_computes_the_same_steps(
    attributes: dict[str, Any], shape: tuple[int, ...], bits: int, pixels: Pixels
) -> None:
    """The largest weight of each output stays the largest integer."""
    graph = network_of(attributes, shape)
    made = arrays(rounding_of(graph, pixels, LARGEST[bits]).applied(graph))
    for name in ("conv.weight", "fc.weight"):
        before = arrays(graph)[name].reshape(len(made[name]), -1)
        after = made[name].reshape(len(made[name]), -1)
        assert np.abs(after).max(1) == pytest.approx(np.abs(before).max(1), rel=1e-6)
        integers = after / np.abs(after).max(1, keepdims=True) * LARGEST[bits]
        assert integers == pytest.approx(np.rint(integers), abs=1e-3)
        assert (integers != np.rint(before / np.abs(before).max(1, keepdims=True) * 64)).any()


def test_moments_are_those_of_what_is_multiplied(pixels: Pixels) -> None:
    """A sum's mean and variance follow from them."""
    graph = network_of(*CONVOLUTIONS[1])
    products = products_of(graph)
    assert [one.node.op_type for one in products] == ["Conv", "Gemm"]
    seen: list[int] = []
    for product, moments in measure(graph, products, pixels, seen.append):
        rows = product.rows(product.weight)
        out = values(graph, product.node.output[0], pixels).astype(np.float64)
        axes = (0, *range(2, out.ndim))
        bias = arrays(graph)[product.node.input[2]]
        mean = (rows @ moments.mean[:, :, None]).reshape(-1) + bias
        assert mean == pytest.approx(out.mean(axes), rel=1e-4, abs=1e-3)
        variance = ((rows @ moments.covariance) * rows).sum(2).reshape(-1)
        assert variance == pytest.approx(out.var(axes), rel=1e-3)
    assert sum(seen) == len(pixels)


def test_nothing_depends_on_chance_and_the_network_stays_as_it_was(
    taught: Bundle, drawn: Samples
) -> None:
    content = taught.file(format="onnx").read_bytes()
    graph = read_graph(content, "it")
    before = graph.SerializeToString(deterministic=True)
    first, second = (
        rounding_of(graph, drawn.calibration, LARGEST[BITS]).applied(graph) for _ in range(2)
    )
    assert first == second
    assert graph.SerializeToString(deterministic=True) == before != first.SerializeToString()


def test_layers_that_are_kept_have_their_own_weights(taught: Bundle, drawn: Samples) -> None:
    graph = read_graph(taught.file(format="onnx").read_bytes(), "it")
    rounding = rounding_of(graph, drawn.calibration, LARGEST[BITS])
    layers = layers_of(graph, "it")
    kept, other = layers[3].nodes, layers[4].nodes[0]
    made = arrays(rounding.applied(graph, kept))
    for name, value in arrays(graph).items():
        if name in rounding.nodes[kept[0]]:
            assert (made[name] == value).all()
        if name in rounding.nodes[other]:
            assert (made[name] != value).any()


def in_int8(graph: onnx.ModelProto, drawn: Samples, rounding: Rounding | None) -> onnx.ModelProto:
    quantizer = OnnxRuntimeQuantizer(
        graph, layers_of(graph, "it"), drawn.calibration, BITS, quiet, rounding
    )
    assert quantizer.tool.endswith(TOLD) == (rounding is not None)
    return onnx.load_from_string(quantizer.graph_without([]))


def of_each_output(scale: npt.NDArray[Any], axes: int) -> npt.NDArray[Any]:
    return scale.reshape(-1, *[1] * (axes - 1))


def test_the_graph_has_the_integers_that_were_chosen(taught: Bundle, drawn: Samples) -> None:
    graph = read_graph(taught.file(format="onnx").read_bytes(), "it")
    rounding = rounding_of(graph, drawn.calibration, LARGEST[BITS])
    made = arrays(in_int8(graph, drawn, rounding))
    weights = [name for name in rounding.tensors if f"{name}_quantized" in made
               and made[f"{name}_quantized"].dtype == np.int8]  # fmt: skip
    assert len(weights) == 54
    for name in weights:
        integers, scale = made[f"{name}_quantized"], made[f"{name}_scale"]
        wanted = numpy_helper.to_array(rounding.tensors[name])
        wanted = wanted if wanted.shape[0] == len(scale) else wanted.T
        integers = integers if integers.shape[0] == len(scale) else integers.T
        assert integers * of_each_output(scale, wanted.ndim) == pytest.approx(
            wanted, rel=1e-5, abs=1e-12
        )


def test_openvino_has_the_integers_that_were_chosen(taught: Bundle, drawn: Samples) -> None:
    content = taught.file(format="onnx").read_bytes()
    graph = read_graph(content, "it")
    rounding = rounding_of(graph, drawn.calibration, QUANTIZERS.find("openvino").largest[BITS])
    quantizer = OpenVinoQuantizer(content, "it", drawn.calibration, BITS, quiet, rounding=rounding)
    assert quantizer.tool.endswith(TOLD)
    files = quantizer.quantize(()).contents
    model = ov.Core().read_model(files["model.int8.xml"], files["model.int8.bin"])
    wanted = [
        numpy_helper.to_array(tensor).reshape(-1)
        for name, tensor in rounding.tensors.items()
        if name.endswith("weight")
    ]
    chosen = []
    for operation in model.get_ordered_ops():
        if operation.get_type_name() != "Multiply":
            continue
        converted, scale = (entry.get_source_output().get_node() for entry in operation.inputs())
        if converted.get_type_name() != "Convert":
            continue
        integers = converted.input(0).get_source_output().get_node()
        if integers.get_element_type() != ov.Type.i8:
            continue
        found = (integers.data.astype(np.float32) * scale.data).reshape(-1)
        same = [one for one in wanted if one.shape == found.shape]
        apart = min((np.abs(one - found) for one in same), key=np.mean)
        chosen.append(apart < 1e-5 * np.abs(found).max())
    assert len(chosen) == len(wanted) == 54
    # An output's largest weight is half a step from two integers, of which NNCF takes either.
    assert np.concatenate(chosen).mean() > 0.9


@pytest.mark.parametrize(("attributes", "shape"), CONVOLUTIONS)
def test_answers_come_nearer_where_a_weight_is_an_outlier(
    attributes: dict[str, Any], shape: tuple[int, ...], pixels: Pixels
) -> None:
    """It makes the steps of its output coarse; half of the images are not calibrated on."""
    graph = network_of(attributes, shape)
    tensor = next(one for one in graph.graph.initializer if one.name == "conv.weight")
    weight = numpy_helper.to_array(tensor).copy()
    weight[:, 0].reshape(len(weight), -1)[:, 0] *= 20
    tensor.CopyFrom(numpy_helper.from_array(weight, tensor.name))
    calibration, others = pixels[::2], pixels[1::2]
    wanted = values(graph, "y", others)
    made = rounding_of(graph, calibration, LARGEST[BITS]).applied(graph)
    step = np.abs(weight).max((1, 2, 3), keepdims=True) / LARGEST[BITS]
    tensor.CopyFrom(
        numpy_helper.from_array((np.rint(weight / step) * step).astype(np.float32), tensor.name)
    )
    plain, found = (np.square(values(one, "y", others) - wanted).mean() for one in (graph, made))
    assert 0 < found < 0.8 * plain


def test_it_is_tried_where_the_usual_rounding_does_not_pass(
    taught: Bundle, drawn: Samples, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With weights for the steps of each engine, which differ in seven bits.

    The usual one sees only images in the dark here, and so ranges that are far too small.
    """
    chosen: list[Rounding] = []

    def counted(*given: Any) -> Rounding:
        chosen.append(rounding_of(*given))
        return chosen[-1]

    def dimmed(kind: QuantizerKind) -> QuantizerKind:
        def make(network: Unquantized) -> Quantizer:
            assert (network.rounding is not None) == (network.recipe == ROUNDED)
            dark = network.recipe == ""
            shown = drawn.calibration // 64 if dark else network.calibration
            return kind.make(replace(network, calibration=shown))

        return replace(kind, make=make)

    monkeypatch.setattr(session, "rounding_of", counted)
    kinds = {name: dimmed(QUANTIZERS.find(name)) for name in QUANTIZERS}
    monkeypatch.setattr(QUANTIZERS, "_found", kinds)
    written, results = quantize_bundle(
        taught, drawn, "shapes", output=tmp_path / "b.bundle", agreement=0.8
    )
    assert len(chosen) == 2
    for result in results:
        assert result.attempts == 2
        assert result.quantization.tool.endswith(TOLD)
        assert result.quantization.kept_layers == ()
    for name in ("openvino", "onnxruntime"):
        with open_engine(name, written, 1, precision="int8") as engine:
            assert run_in_batches(engine, drawn.validation).shape == (len(drawn.validation), 3)


@pytest.mark.parametrize("lowest", [0.0, -1e-9, -1e-3])
def test_inputs_that_hardly_vary_are_rounded_too(lowest: float) -> None:
    """What is left of their variance is rounding, which may be below zero."""
    rng = np.random.default_rng(0)
    rows = rng.normal(size=(2, 5, 9))
    one = rng.normal(size=(9, 1))
    covariance = np.stack([one @ one.T, np.zeros((9, 9))]) + lowest * np.eye(9)
    found = _nearest_sums(rows, covariance, 127)
    step = np.abs(rows).max(2, keepdims=True) / 127
    assert np.isfinite(found).all()
    integers = found / step
    assert np.abs(integers - np.rint(integers)).max() < 1e-6
    assert np.abs(integers).max() <= 127 + 1e-6


def test_inputs_that_tell_nothing_leave_the_nearest_integers(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def fails(_covariance: object) -> None:
        raise np.linalg.LinAlgError

    monkeypatch.setattr(rounding, "_passed_on", fails)
    rows = np.random.default_rng(0).normal(size=(1, 5, 9))
    found = _nearest_sums(rows, np.ones((1, 9, 9)), 127)
    step = np.abs(rows).max(2, keepdims=True) / 127
    assert found == pytest.approx(np.rint(rows / step) * step)
