"""Weights of a bundle's network in int8 on their way to devices: the same integers, and answers."""

from __future__ import annotations

import io
import json
import os
import subprocess
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
import onnxruntime as ort
import pytest
import torch
from onnx import numpy_helper

import conftest
from fleetnet.bundle import Bundle
from fleetnet.errors import BundleError, FleetnetError
from fleetnet.export import int8
from fleetnet.export.converted import export_to
from fleetnet.export.converted_engine import ConvertedEngine
from fleetnet.export.ncnn_files import read_layers
from fleetnet.export.plain_onnx import plain_graph
from fleetnet.export.program import deployable_of, planes_network_of, traced_network
from fleetnet.export.quantize import session
from fleetnet.export.quantize.bundle import quantize_bundle
from fleetnet.export.quantize.finetuned import Finetuned
from fleetnet.export.quantize.layers import Layer, layers_of, read_graph
from fleetnet.export.quantize.moments import products_of
from fleetnet.export.quantize.qdq import OnnxRuntimeQuantizer
from fleetnet.export.quantize.quantizer import LARGEST
from fleetnet.export.quantize.rounding import TOLD, rounding_of
from fleetnet.export.quantize.samples import Samples
from fleetnet.export.quantize.weights import Weights, weights_of_int8, weights_of_rounding
from fleetnet.export.reweighted import Reweighted, weights_in
from fleetnet.export.shown import Allowed
from fleetnet.export.targets import TARGETS, Files
from fleetnet.export.targets.target import Int8, Quantize
from fleetnet.inference.engines import Logits, Pixels
from fleetnet.reporting import Advance
from mnn_weights import weights_of_mnn
from users_environments import borrowed

KEPT = 3
"""Place of the layer that the graphs in int8 here keep in fp32."""
Arrays = Mapping[str, npt.NDArray[Any]]


def quiet(_what: str, _steps: int) -> Advance:
    return lambda _: None


def arrays(graph: onnx.ModelProto) -> Arrays:
    return {one.name: numpy_helper.to_array(one) for one in graph.graph.initializer}


@pytest.fixture(scope="module")
def network(taught: Bundle) -> onnx.ModelProto:
    return read_graph(taught.content(format="onnx").data, "it")


@pytest.fixture(scope="module")
def layers(network: onnx.ModelProto) -> tuple[Layer, ...]:
    return layers_of(network, "it")


def in_int8(
    network: onnx.ModelProto, pixels: Pixels, bits: int, kept: Sequence[str] = ()
) -> onnx.ModelProto:
    quantizer = OnnxRuntimeQuantizer(network, layers_of(network, "it"), pixels, bits, quiet)
    return onnx.load_from_string(quantizer.graph_without(kept))


@pytest.fixture(scope="module", params=[7, 8])
def bits(request: pytest.FixtureRequest) -> int:
    return int(request.param)


@pytest.fixture(scope="module")
def quantized(
    network: onnx.ModelProto, layers: tuple[Layer, ...], drawn: Samples, bits: int
) -> onnx.ModelProto:
    """The network in int8, but for one layer, in which it has other weights than the bundle's."""
    made = in_int8(network, drawn.calibration, bits, layers[KEPT].nodes)
    for tensor in made.graph.initializer:
        if tensor.name == f"network.{layers[KEPT].name}.conv.weight":
            value = numpy_helper.to_array(tensor)
            tensor.CopyFrom(numpy_helper.from_array(value * np.float32(0.5), tensor.name))
    return made


@pytest.fixture(scope="module")
def weights(network: onnx.ModelProto, quantized: onnx.ModelProto) -> Weights:
    return weights_of_int8(network, quantized, "it", "with odd ones")


def integers(quantized: onnx.ModelProto) -> dict[str, npt.NDArray[np.int8]]:
    """Return those of the weights, by the names in fp32."""
    return {
        name.removesuffix("_quantized"): value
        for name, value in arrays(quantized).items()
        if name.endswith("weight_quantized")
    }


def test_the_weights_are_integers_times_their_steps(
    network: onnx.ModelProto, quantized: onnx.ModelProto, weights: Weights, bits: int,
    layers: tuple[Layer, ...],
) -> None:  # fmt: skip
    stored = arrays(quantized)
    assert weights.bits == bits
    assert weights.largest == LARGEST[bits]
    assert weights.rounded == {layer.name for layer in layers} - {layers[KEPT].name}
    for name, found in integers(quantized).items():
        step = stored[f"{name}_scale"].reshape(-1, *[1] * (found.ndim - 1))
        value = weights.tensors[name.removeprefix("network.")]
        assert (value == found.astype(np.float32) * step).all()
        assert np.abs(found.astype(int)).max() == LARGEST[bits]
    kept = f"{layers[KEPT].name}.conv.weight"
    assert (weights.tensors[kept] == 0.5 * arrays(network)[f"network.{kept}"]).all()
    assert len(weights.ranges) == len(layers)
    low, high = weights.ranges[layers[0].name]
    scale, zero = stored["permute_scale"], stored["permute_zero_point"]
    assert (low, high) == pytest.approx((-int(zero) * scale, (255 - int(zero)) * scale))
    assert weights.logits is not None


def test_the_same_integers_come_of_them_again(
    network: onnx.ModelProto, quantized: onnx.ModelProto, weights: Weights, drawn: Samples,
    bits: int,
) -> None:  # fmt: skip
    again = in_int8(weights.applied(network), drawn.calibration, bits)
    for name, found in integers(quantized).items():
        assert (integers(again)[name] == found).all()


@pytest.mark.filterwarnings("ignore:.*torch.jit.load.*is deprecated")
def test_every_converter_gets_the_network_with_these_weights(
    taught: Bundle, network: onnx.ModelProto, weights: Weights, drawn: Samples
) -> None:
    """As bytes in rows, as planes, traced and as a plain graph; the first has the pixels' scale."""
    view = Reweighted(taught, weights)
    assert weights_in(view) is weights
    assert weights_in(taught) is None
    pixels = drawn.validation[:4]
    (wanted,) = ort.InferenceSession(weights.applied(network).SerializeToString()).run(
        ["logits"], {"pixels": pixels}
    )
    planes = torch.from_numpy(pixels).permute(0, 3, 1, 2).float()
    with torch.inference_mode():
        found = [deployable_of(view)(torch.from_numpy(pixels)), planes_network_of(view)(planes)]
        traced = torch.jit.load(io.BytesIO(traced_network(view)))  # type: ignore[no-untyped-call]
        found.append(traced(planes))
        own = deployable_of(taught)(torch.from_numpy(pixels)).numpy()
    plain = ort.InferenceSession(plain_graph(view, 4)).run(["logits"], {"pixels": planes.numpy()})
    spread = float(np.abs(own - wanted).max())
    assert spread > 0
    for one in (*(answer.numpy() for answer in found), plain[0]):
        assert one == pytest.approx(wanted, abs=0.02 * spread)
    first = planes_network_of(view).get_submodule("network").first_convolution.weight  # type: ignore[union-attr]
    assert (first.detach().numpy() == weights.tensors["stem.conv.weight"]).all()  # type: ignore[operator]


def test_weights_that_were_rounded_for_their_sums_are_taken_too(
    network: onnx.ModelProto, layers: tuple[Layer, ...], drawn: Samples, weights: Weights
) -> None:
    rounding = rounding_of(network, drawn.calibration, LARGEST[8])
    found = weights_of_rounding(rounding, layers)
    assert found.applied(network) == rounding.applied(network)
    assert found.rounded == {layer.name for layer in layers}
    assert (found.bits, found.told, found.logits) == (8, TOLD, None)
    again = weights.rounded_to(rounding, layers)
    assert again.told == "with odd ones, rounded anew for their sums"
    assert (again.bits, again.ranges, again.logits) == (8, weights.ranges, weights.logits)
    assert again.applied(network) == rounding.applied(network)


def renamed(graph: onnx.ModelProto) -> None:
    next(node for node in graph.graph.node if node.op_type == "Conv").name = "odd/Conv_1"


def strided(graph: onnx.ModelProto) -> None:
    node = next(node for node in graph.graph.node if node.op_type == "Conv")
    next(one for one in node.attribute if one.name == "strides").ints[:] = [1, 1]


def shifted(graph: onnx.ModelProto) -> None:
    tensor = next(one for one in graph.graph.initializer if one.name.endswith("weight_zero_point"))
    value = numpy_helper.to_array(tensor)
    tensor.CopyFrom(numpy_helper.from_array(value + np.int8(1), tensor.name))


def narrower(graph: onnx.ModelProto) -> None:
    tensor = next(one for one in graph.graph.initializer if one.name.endswith("weight_quantized"))
    value = numpy_helper.to_array(tensor)
    tensor.CopyFrom(numpy_helper.from_array(np.ascontiguousarray(value[:, 1:]), tensor.name))


def _steps(graph: onnx.ModelProto) -> onnx.TensorProto:
    return next(one for one in graph.graph.initializer if one.name.endswith("weight_scale"))


def computed_steps(graph: onnx.ModelProto) -> None:
    tensor = _steps(graph)
    node = onnx.helper.make_node("Constant", [], [tensor.name], name="steps", value=tensor)
    graph.graph.node.insert(0, node)
    graph.graph.initializer.remove(tensor)


def fewer_steps(graph: onnx.ModelProto) -> None:
    tensor = _steps(graph)
    tensor.CopyFrom(numpy_helper.from_array(numpy_helper.to_array(tensor)[1:], tensor.name))


@pytest.mark.parametrize(
    "change", [renamed, strided, shifted, narrower, computed_steps, fewer_steps]
)
def test_another_network_in_int8_is_refused(
    change: Callable[[onnx.ModelProto], None], network: onnx.ModelProto, quantized: onnx.ModelProto
) -> None:
    graph = onnx.ModelProto()
    graph.CopyFrom(quantized)
    change(graph)
    with pytest.raises(BundleError, match=r"its layer '.*' is not that of the bundle's network"):
        weights_of_int8(network, graph, "model.int8.onnx", "")


def test_a_graph_without_integers_is_refused(network: onnx.ModelProto) -> None:
    with pytest.raises(BundleError, match="are no integers of 7 or 8 bits"):
        weights_of_int8(network, network, "model.int8.onnx", "")


@pytest.mark.parametrize("planes", [False, True])
def test_weights_of_another_network_are_refused(
    planes: bool, taught: Bundle, weights: Weights
) -> None:
    shape = weights.tensors["stem.conv.weight"][:, :2]
    for tensors in ({"odd.weight": shape}, {"stem.conv.weight": shape}):
        view = Reweighted(taught, replace(weights, tensors=tensors))
        with pytest.raises(FleetnetError, match=r"'.*' of its graph in int8 are none of its netw"):
            (planes_network_of if planes else deployable_of)(view)


def perturbed(network: onnx.ModelProto) -> onnx.ModelProto:
    """Return the network with other weights, as if they had been trained a good deal."""
    made, rng = onnx.ModelProto(), np.random.default_rng(0)
    made.CopyFrom(network)
    names = {product.node.input[1] for product in products_of(network)}
    for tensor in made.graph.initializer:
        if tensor.name in names:
            value = numpy_helper.to_array(tensor)
            size = np.sqrt(np.square(value).mean(tuple(range(1, value.ndim)), keepdims=True))
            other = value + 0.1 * size * rng.normal(size=value.shape)
            tensor.CopyFrom(numpy_helper.from_array(other.astype(np.float32), tensor.name))
    return made


def with_int8(bundle: Bundle, drawn: Samples, output: Path, bits: Any) -> Bundle:
    """Return a bundle whose int8 has other weights than its fp32."""
    content = read_graph(bundle.content(format="onnx").data, "it")
    finetuned = Finetuned(perturbed(content).SerializeToString(), 2, 72)
    written, _ = quantize_bundle(
        bundle, drawn, "shapes", output=output, engines=["onnxruntime"], agreement=0.01,
        weight_bits=bits, finetuned=finetuned,
    )  # fmt: skip
    return written


@pytest.fixture(scope="module")
def tuned(
    taught: Bundle, drawn: Samples, bits: int, tmp_path_factory: pytest.TempPathFactory
) -> Bundle:
    return with_int8(taught, drawn, tmp_path_factory.mktemp("tuned") / "b.bundle", bits)


@pytest.fixture
def few(monkeypatch: pytest.MonkeyPatch) -> None:
    """Compare on as many images as the tests have."""
    monkeypatch.setattr(int8, "LEAST", 40)
    monkeypatch.setattr(session, "IMAGES", 2)


def odd(
    monkeypatch: pytest.MonkeyPatch, weight_bits: tuple[int, ...], *, fails: bool = False
) -> list[Bundle]:
    """Make a target known that runs what it is given in fp32; return what it was given.

    One that ``fails`` does so until it gets other weights than the bundle's own.
    """
    given: list[Bundle] = []

    def calibrate(
        bundle: Bundle, _batch: int | None, _pixels: Pixels, _layers: Sequence[Layer]
    ) -> Quantize:
        given.append(bundle)
        graph, weights = read_graph(bundle.content(format="onnx").data, "it"), weights_in(bundle)
        made = graph if weights is None else weights.applied(graph)
        if fails and weights is None:
            for tensor in made.graph.initializer:
                if tensor.name.endswith("classifier.weight"):
                    tensor.raw_data = (-np.frombuffer(tensor.raw_data, np.float32)).tobytes()

        def quantize(_kept: Sequence[str]) -> Files:
            return {"model.onnx": made.SerializeToString()}

        return quantize

    monkeypatch.setattr(TARGETS, "_found", dict(TARGETS))
    made = Int8("numpy", calibrate, weight_bits=weight_bits)
    onnx_target = TARGETS["onnx"]
    TARGETS.add(
        replace(onnx_target, name="odd", title="Odd", precisions=("fp32", "int8"), int8=made)
    )
    return given


@pytest.mark.slow
@pytest.mark.usefixtures("few")
@pytest.mark.parametrize("takes", [(7, 8), (8,), ()])
def test_a_target_gets_the_weights_of_the_bundles_int8(
    takes: tuple[int, ...], tuned: Bundle, bits: int, others: Path, tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    given = odd(monkeypatch, takes)
    written = export_to(
        tuned.path, "odd:int8", tmp_path / "made", images=[str(others)], limit=40,
        allowed=Allowed(agreement=0.01),
    )  # fmt: skip
    (view,) = given
    (artifact,) = written.artifacts
    made, weights = artifact.quantization, weights_in(view)
    assert made is not None
    page = " ".join((tmp_path / "made" / "README.md").read_text("utf-8").split())
    assert f"int8 by {made.tool}." in page
    if not takes:
        assert weights is None
        assert made.tool == f"numpy {np.__version__}"
        return
    of = tuned.find(format="onnx", precision="int8")
    assert of is not None
    assert of.quantization is not None
    again = ", rounded anew for their sums" if bits not in takes else ""
    told = f"with the weights of model.int8.onnx ({of.quantization.tool}){again}"
    assert made.tool == f"numpy {np.__version__} {told}"
    assert "fine-tuned for 2 epochs of 72 images" in made.tool
    assert weights is not None
    assert made.weight_bits == weights.bits == (bits if bits in takes else 8)
    assert weights.ranges
    stored = onnx.load_from_string(tuned.content(format="onnx", precision="int8").data)
    name = "blocks.0.expand.conv.weight"
    step = arrays(stored)[f"network.{name}_scale"][:, None, None, None]
    apart = np.abs(weights.tensors[name] - integers(stored)[f"network.{name}"] * step)
    assert (apart.max() == 0) == (bits in takes)
    # Those for the sums are off by several of the finer steps, and no more than a few of its own.
    assert apart.max() <= 4 * step.max()


@pytest.mark.slow
@pytest.mark.usefixtures("few")
@pytest.mark.parametrize("fails", [False, True])
def test_without_int8_in_the_bundle_sums_are_tried_where_its_own_weights_do_not_pass(
    fails: bool, taught: Bundle, others: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    given = odd(monkeypatch, (7, 8), fails=fails)
    written = export_to(
        taught.path, "odd:int8", tmp_path / "made", images=[str(others)], limit=40,
        allowed=Allowed(agreement=0.8),
    )  # fmt: skip
    assert [weights_in(one) is not None for one in given] == [False, True][: 1 + fails]
    (artifact,) = written.artifacts
    assert artifact.quantization is not None
    assert artifact.quantization.tool == f"numpy {np.__version__}{f' {TOLD}' if fails else ''}"
    assert artifact.quantization.kept_layers == ()


@pytest.mark.slow
@pytest.mark.usefixtures("few")
def test_int8_of_another_network_is_a_line(
    taught: Bundle, drawn: Samples, others: Path, tmp_path: Path, fleetnet: conftest.Run,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    """As where somebody has put another file there, and its hash into the manifest."""
    bundle = with_int8(taught, drawn, tmp_path / "b.bundle", 8)
    graph = onnx.load_from_string(bundle.content(format="onnx", precision="int8").data)
    narrower(graph)
    (artifact,) = (one for one in bundle.artifacts if one.key == ("onnx", "int8", None))
    (file,) = artifact.files
    content = graph.SerializeToString()
    (bundle.path / file.name).write_bytes(content)
    manifest = json.loads((bundle.path / "fleetnet.json").read_text("utf-8"))
    changed = type(file).of(file.name, content).model_dump(mode="json")
    for one in manifest["artifacts"]:
        one["files"] = [changed if each["name"] == file.name else each for each in one["files"]]
    (bundle.path / "fleetnet.json").write_text(json.dumps(manifest), "utf-8")
    given = odd(monkeypatch, (7, 8))
    made = tmp_path / "made"
    result = fleetnet(
        "export", bundle.path, "--to", "odd:int8", "-o", made, "--images", others, "--limit", 40
    )
    assert result.code == 2, result
    assert "is not that of the bundle's network in fp32" in result.err.splitlines()[-1]
    assert not made.exists()
    assert not given


WITH_ALL = pytest.mark.skipif(
    os.environ.get("FLEETNET_DEVICES") != "all", reason="FLEETNET_DEVICES=all"
)
LITERT = """
import sys, numpy
from ai_edge_litert.interpreter import Interpreter, OpResolverType
kind = OpResolverType.BUILTIN_WITHOUT_DEFAULT_DELEGATES
network = Interpreter(sys.argv[1], experimental_preserve_all_tensors=True,
                      experimental_op_resolver_type=kind)
network.allocate_tensors()
tensors = {one["index"]: one for one in network.get_tensor_details()}
found = {}
for operator in network._get_ops_details():
    if operator["op_name"] in ("CONV_2D", "DEPTHWISE_CONV_2D", "FULLY_CONNECTED"):
        taken, weights = (tensors[place] for place in operator["inputs"][:2])
        if max(weights["shape"]) == 1:
            continue
        values = network.get_tensor(weights["index"])
        axis = values.ndim - 1 if operator["op_name"].startswith("DEPTH") else 0
        rows = numpy.moveaxis(values, axis, 0)
        if values.ndim == 4 and axis == 0:
            rows = rows.transpose(0, 3, 1, 2)
        place = len(found) // 3
        found[f"{place}.weights"] = rows.reshape(len(rows), -1)
        found[f"{place}.steps"] = weights["quantization_parameters"]["scales"]
        found[f"{place}.takes"] = numpy.array(taken["quantization"])
numpy.savez(sys.argv[2], **found)
"""


class Found(dict[str, tuple[npt.NDArray[np.int8], npt.NDArray[np.float32]]]):
    """Integers ``[outputs, inputs]`` and steps of each layer in int8, by its name."""


def of_ncnn(files: Files, layers: Sequence[Layer], _folder: Path) -> Found:
    weighted = [layer for layer in read_layers(files) if layer.weighted]
    found = Found()
    for layer, one in zip(layers, weighted, strict=True):
        size, outputs = int(np.prod(layer.weights)), one.setting(0)
        rows = one.setting(7, 1) if one.kind == "ConvolutionDepthWise" else outputs
        behind = 4 + -(-size // 4) * 4 + 4 * outputs  # each of them has biases
        scales = np.frombuffer(one.numbers, "<f4", rows, behind)
        steps = np.divide(1, scales, out=np.zeros_like(scales), where=scales > 0)
        found[layer.name] = (np.frombuffer(one.numbers, "i1", size, 4).reshape(rows, -1), steps)
    return found


def of_litert(files: Files, layers: Sequence[Layer], folder: Path) -> Found:
    environment = TARGETS["litert"].environment
    assert environment is not None
    (folder / "model.tflite").write_bytes(files["model.tflite"])
    names = [str(folder / name) for name in ("model.tflite", "found.npz")]
    command = [str(environment.program), "-c", LITERT, *names]
    subprocess.run(command, check=True, env=environment.variables, capture_output=True)
    read = np.load(folder / "found.npz")
    return Found(
        (layer.name, (read[f"{place}.weights"], read[f"{place}.steps"]))
        for place, layer in enumerate(layers)
    )


def of_mnn(files: Files, layers: Sequence[Layer], folder: Path) -> Found:
    environment = TARGETS["mnn"].environment
    assert environment is not None
    return Found(
        (layer.name, pair)
        for layer, pair in zip(
            layers, weights_of_mnn(files["model.mnn"], environment, folder), strict=True
        )
    )


READ = {"ncnn": of_ncnn, "litert": of_litert, "mnn": of_mnn}


@WITH_ALL
@pytest.mark.slow
@pytest.mark.usefixtures("few")
@pytest.mark.parametrize("name", ["ncnn", "mnn", "litert"])
def test_devices_have_the_integers_and_answer_as_the_bundles_int8(
    name: str, tuned: Bundle, bits: int, layers: tuple[Layer, ...], others: Path, drawn: Samples,
    tmp_path: Path,
) -> None:  # fmt: skip
    target = TARGETS[name]
    assert target.environment is not None
    assert target.int8 is not None
    if not borrowed(target.environment):
        pytest.skip(f"no environment '{name}': fleetnet export --to {name} makes it once")
    written = export_to(
        tuned.path, f"{name}:int8", tmp_path / "made", images=[str(others)], limit=40,
        allowed=Allowed(agreement=0.01),
    )  # fmt: skip
    (artifact,) = written.artifacts
    files = {one.path.name: one.data for one in written.contents_of(artifact)}
    stored = arrays(onnx.load_from_string(tuned.content(format="onnx", precision="int8").data))
    if bits in target.int8.weight_bits:
        found = READ[name](files, layers, tmp_path)
        for layer in layers:
            (key,) = (
                f"network.{layer.name}{inside}.weight"
                for inside in ("", ".conv")
                if f"network.{layer.name}{inside}.weight_quantized" in stored
            )
            wanted, step = stored[f"{key}_quantized"], stored[f"{key}_scale"]
            rows, steps = found[layer.name]
            wanted = wanted.reshape(len(wanted), -1)
            assert (rows == wanted).all(), layer.name
            some = np.abs(wanted).max(1) > 0
            assert steps[some] == pytest.approx(step[some], rel=1e-5)
    pixels = drawn.validation
    with ConvertedEngine(target, files, "int8", 1) as engine:
        answers = engine.run(pixels)
    of_int8, of_fp32 = (
        as_written(tuned.content(format="onnx", precision=precision).data, pixels)
        for precision in ("int8", "fp32")
    )
    # So small a network makes much of the rounding of its values, which is the runtime's own.
    assert distance(answers, of_int8) < 0.8 * distance(answers, of_fp32)


def as_written(graph: bytes, pixels: Pixels) -> Logits:
    """Run a graph operator by operator: sums of 8-bit products overflow on older processors."""
    options = ort.SessionOptions()
    options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_DISABLE_ALL
    logits: Logits = ort.InferenceSession(graph, options).run(["logits"], {"pixels": pixels})[0]
    return logits


def distance(first: Logits, second: Logits) -> float:
    return float(np.sqrt(np.square(first - second).mean()))
