import onnx
import pytest
from onnx import helper

from fleetnet.bundle import Bundle
from fleetnet.errors import BundleError
from fleetnet.export.quantize.layers import layers_of, macs_share, read_graph
from fleetnet.models import build_model
from fleetnet.models.folding import fold_batch_norm
from fleetnet.models.network import measure_structure
from fleetnet.models.padding import pad_channels


def test_layers_have_the_work_and_pixels_are_prepared_before_them(bundle: Bundle) -> None:
    graph = read_graph(bundle.file(format="onnx").read_bytes(), "here")
    layers = layers_of(graph, "here")
    network, size = build_model(bundle.manifest.model.name, 3), bundle.manifest.preprocess.crop
    network = pad_channels(fold_batch_norm(network))
    assert sum(layer.macs for layer in layers) == measure_structure(network, size=size).macs
    nodes = [node for layer in layers for node in layer.nodes]
    assert len(set(nodes)) == len(nodes)
    outside = [node.op_type for node in graph.graph.node if node.name not in nodes]
    assert outside == ["Cast", "Add", "Transpose"]
    assert macs_share(layers, layers) == 1
    assert macs_share([], layers) == 0


def test_bytes_that_are_no_graph_are_refused() -> None:
    for content in (b"", b"\x08\x07", b"not a graph" * 9):
        with pytest.raises(BundleError, match=r"here (is not an ONNX graph|has no layer)"):
            layers_of(read_graph(content, "here"), "here")


def model(*nodes: onnx.NodeProto) -> onnx.ModelProto:
    value = helper.make_tensor_value_info("x", onnx.TensorProto.FLOAT, [1, 2])
    weight = helper.make_tensor("w", onnx.TensorProto.FLOAT, [2, 2], [1, 2, 3, 4])
    out = helper.make_tensor_value_info(nodes[-1].output[0], onnx.TensorProto.FLOAT, [1, 2])
    return helper.make_model(helper.make_graph(nodes, "g", [value], [out], [weight]))


@pytest.mark.parametrize(
    ("nodes", "words"),
    [
        ([("Relu", ["x"], "y", "a/Relu")], "no layer with weights"),
        ([("Gemm", ["x", "w"], "y", "")], "no names of their own"),
        ([("Gemm", ["x", "w"], "y", "a"), ("Gemm", ["y", "w"], "z", "a")], "no names of their"),
        ([("Gemm", ["x", "w"], "y", "a/1"), ("Gemm", ["y", "w"], "z", "a/2")], "the same name"),
    ],
)
def test_a_graph_that_export_did_not_write_is_refused(
    nodes: list[tuple[str, list[str], str, str]], words: str
) -> None:
    made = [helper.make_node(kind, taken, [given], name) for kind, taken, given, name in nodes]
    with pytest.raises(BundleError, match=words):
        layers_of(model(*made), "here")
