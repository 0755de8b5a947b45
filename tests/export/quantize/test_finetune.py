"""Fine-tuning for int8: the graph that trains is the graph that runs, and training helps it."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime as ort
import pytest
import torch

from fleetnet.benchmark.untrained import make_untrained
from fleetnet.bundle import Bundle
from fleetnet.data.contents import Contents, content_of
from fleetnet.data.sources import Source, open_source
from fleetnet.errors import DataError, ModelError
from fleetnet.export.finetune.graph import TrainableGraph
from fleetnet.export.finetune.images import training_images
from fleetnet.export.finetune.run import Data, finetune
from fleetnet.export.quantize.bundle import quantize_bundle
from fleetnet.export.quantize.layers import layers_of, read_graph
from fleetnet.export.quantize.qdq import OnnxRuntimeQuantizer
from fleetnet.export.quantize.samples import Samples
from fleetnet.inference.comparison import run_in_batches
from fleetnet.inference.engines import Logits, Pixels, open_engine
from samples import make_folder

Graphs = tuple[onnx.ModelProto, onnx.ModelProto]


@pytest.fixture(scope="module")
def graphs(taught: Bundle, drawn: Samples) -> Graphs:
    """The network in fp32 and in int8."""
    network = read_graph(taught.file(format="onnx").read_bytes(), "it")
    return network, in_int8(network, drawn)


@pytest.fixture(scope="module")
def training(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Images that neither calibrate nor judge."""
    return make_folder(tmp_path_factory.mktemp("training") / "shapes", 24, seed=5)


def in_int8(network: onnx.ModelProto, drawn: Samples) -> onnx.ModelProto:
    quantizer = OnnxRuntimeQuantizer(
        network, layers_of(network, "it"), drawn.calibration, 7, lambda *_: lambda _: None
    )
    return onnx.load_from_string(quantizer.graph_without([]))


def run(graph: onnx.ModelProto, pixels: Pixels) -> Logits:
    """Run a graph as it is written, operator by operator."""
    options = ort.SessionOptions()
    options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_DISABLE_ALL
    session = ort.InferenceSession(graph.SerializeToString(), options)
    logits: Logits = session.run(["logits"], {"pixels": pixels})[0]
    return logits


def contents_of(source: Source) -> Contents:
    found = [content_of(source.read(index)) for index in range(len(source.samples))]
    return np.array(found, np.uint64)


def distance(first: Logits, second: Logits) -> float:
    return float(np.sqrt(np.square(first - second).mean()))


def test_the_trained_graph_computes_what_the_engine_does(graphs: Graphs, drawn: Samples) -> None:
    """Values at the edge of a step fall to either side, which this network makes much of."""
    network, quantized = graphs
    pixels = drawn.validation
    with torch.inference_mode():
        found = TrainableGraph(network, quantized, 7)(torch.from_numpy(pixels)).numpy()
    rounding = distance(run(quantized, pixels), run(network, pixels))
    assert rounding > 0
    assert distance(found, run(quantized, pixels)) < rounding


def test_one_layer_is_computed_to_the_bit(graphs: Graphs, drawn: Samples) -> None:
    """One convolution behind the pixels: its sums are exact, as is what is rounded of them."""
    network, quantized = graphs
    first = next(node for node in quantized.graph.node if node.op_type == "Conv").output[0]
    seen = onnx.ModelProto()
    seen.CopyFrom(quantized)
    del seen.graph.output[:]
    for node in seen.graph.node:
        for places in (node.input, node.output):
            for place, name in enumerate(places):
                if name in (first, "logits"):
                    places[place] = "logits" if name == first else "unused"
    seen.graph.output.append(onnx.helper.make_tensor_value_info("logits", 1, None))
    pixels = drawn.validation[:4]
    with torch.inference_mode():
        found = TrainableGraph(network, seen, 7)(torch.from_numpy(pixels)).numpy()
    assert found == pytest.approx(run(seen, pixels), abs=2e-3)


def test_every_weight_gets_a_gradient(graphs: Graphs, drawn: Samples) -> None:
    network, quantized = graphs
    student = TrainableGraph(network, quantized, 7)
    student(torch.from_numpy(drawn.validation[:8])).square().sum().backward()
    weights = list(student.parameters())
    assert len(weights) >= len(layers_of(network, "it"))
    assert all(weight.grad is not None and weight.grad.isfinite().all() for weight in weights)


def test_untrained_weights_come_back_as_they_were(graphs: Graphs) -> None:
    network, quantized = graphs
    assert TrainableGraph(network, quantized, 7).trained(network) == network


def test_an_operator_that_cannot_be_trained_is_named(graphs: Graphs) -> None:
    network, quantized = graphs
    strange = onnx.ModelProto()
    strange.CopyFrom(quantized)
    next(node for node in strange.graph.node if node.op_type == "Conv").op_type = "Erf"
    with pytest.raises(ModelError, match=r"operator Erf \('.*'\), which cannot be trained"):
        TrainableGraph(network, strange, 7)


def test_ranges_stand_still_until_they_are_set(
    taught: Bundle, drawn: Samples, training: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Measured anew for each epoch after the first, from the weights of then; never within one."""
    used: list[tuple[int, dict[str, Any]]] = []
    forward, set_ranges, epochs = TrainableGraph.forward, TrainableGraph.set_ranges, [1]

    def noted(self: TrainableGraph, pixels: torch.Tensor) -> torch.Tensor:
        used.append((epochs[0], dict(self._ranges)))
        return forward(self, pixels)

    def next_epoch(self: TrainableGraph, quantized: onnx.ModelProto) -> None:
        epochs[0] += 1
        probe = torch.from_numpy(drawn.validation[:8])
        with torch.no_grad():
            before = forward(self, probe)
            set_ranges(self, quantized)
            assert not torch.equal(forward(self, probe), before)

    monkeypatch.setattr(TrainableGraph, "forward", noted)
    monkeypatch.setattr(TrainableGraph, "set_ranges", next_epoch)
    data = Data(open_source(str(training)), np.arange(40))
    finetune(taught, data, drawn.calibration, epochs=2)
    assert [epoch for epoch, _ in used] == [1, 1, 2, 2]
    first, second = used[0][1], used[-1][1]
    assert [ranges for _, ranges in used] == [first, first, second, second]
    assert first.keys() == second.keys()
    assert first != second


@pytest.mark.slow
def test_fine_tuning_brings_int8_nearer_to_fp32(tmp_path: Path, training: Path) -> None:
    """Measured in int8 as the quantiser makes it anew from the weights, on images held back."""
    bundle = make_untrained("MobileNetV3_small_x0_35", 32, tmp_path / "b.bundle")
    source = open_source(str(training))
    everything = np.random.default_rng(0).permutation(len(source.samples))
    preprocess = bundle.manifest.preprocess
    pixels = np.stack([preprocess.from_bytes(source.read(int(one))) for one in everything])
    drawn = Samples(pixels[:24], pixels[48:], 0, 0)
    told: list[str] = []
    data = Data(source, everything[:48])
    finetuned = finetune(bundle, data, drawn.calibration, epochs=4, say=told.append)
    assert [line.partition(",")[0] for line in told] == [
        f"fine-tuning: epoch {epoch} of 4" for epoch in range(1, 5)
    ]
    network = read_graph(bundle.content(format="onnx").data, "it")
    expected = run(network, drawn.validation)
    before, after = (
        distance(run(in_int8(one, drawn), drawn.validation), expected)
        for one in (network, read_graph(finetuned.content, "it"))
    )
    assert after < before


@pytest.mark.slow
def test_a_bundle_gets_the_fine_tuned_network(
    taught: Bundle, drawn: Samples, training: Path, tmp_path: Path
) -> None:
    source = open_source(str(training))
    data = Data(source, np.arange(len(source.samples)))
    finetuned = finetune(taught, data, drawn.calibration, epochs=1)
    written, results = quantize_bundle(
        taught, drawn, "shapes", output=tmp_path / "b.bundle", agreement=0.8, finetuned=finetuned
    )
    for result in results:
        assert result.quantization.tool.endswith(", fine-tuned for 1 epoch of 72 images")
    for kind, engine in (("openvino-ir", "openvino"), ("onnx", "onnxruntime")):
        assert written.find(format=kind, precision="int8")
        with open_engine(engine, written, precision="int8") as opened:
            answers = run_in_batches(opened, drawn.validation).argmax(1)
        with open_engine(engine, written) as opened:
            expected = run_in_batches(opened, drawn.validation).argmax(1)
        assert (answers == expected).mean() >= 0.8
    fp32 = [bundle.content(format="onnx").data for bundle in (written, taught)]
    assert fp32[0] == fp32[1]


def test_images_that_judge_are_not_trained_on(
    bundle: Bundle, drawn: Samples, others: Path, training: Path
) -> None:
    source = open_source(str(others))
    begin = lambda _what, _steps: lambda _done: None  # noqa: E731
    indices = training_images(source, bundle, replace(drawn, contents=drawn.contents[:20]), begin)
    assert len(indices) == len(source.samples) - 20
    most = replace(drawn, contents=np.concatenate([drawn.contents, contents_of(source)[:50]]))
    with pytest.raises(DataError, match=r"\d+ images to fine-tune with besides the \d+ that judge"):
        training_images(source, bundle, most, begin)
    assert len(training_images(open_source(str(training)), bundle, drawn, begin)) == 72


def test_what_was_trained_on_is_trained_on(bundle: Bundle, drawn: Samples, shapes: Path) -> None:
    """So that what was held out stays unknown to the network."""
    source = open_source(str(shapes))
    indices = training_images(source, bundle, drawn, lambda *_: lambda _: None)
    assert 0 < len(indices) < len(source.samples)
