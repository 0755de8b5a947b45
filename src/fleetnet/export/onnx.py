"""A trained network as an ONNX graph that takes raw pixels."""

from __future__ import annotations

import io
import logging
import warnings
from collections.abc import Iterator

import onnx
import torch
from onnxscript import ir
from torch import Tensor, nn

from fleetnet.bundle import ONNX_METADATA_KEY, Activation, Manifest, TensorInfo
from fleetnet.models.base import Network
from fleetnet.models.folding import fold_batch_norm, fold_input_scale
from fleetnet.models.padding import pad_channels
from fleetnet.preprocess import Preprocess

OPSET = 18
INPUT, LOGITS, PROBABILITIES = "pixels", "logits", "probabilities"
LAYER_KEY = "fleetnet.layer"
"""Metadata of a graph node: the dotted name of the layer whose output it computes."""


def graph_input(crop: int) -> TensorInfo:
    """Describe the input of a graph for images of ``crop`` pixels a side."""
    return TensorInfo(
        name=INPUT, dtype="uint8", shape=(None, crop, crop, 3), layout="NHWC", color="RGB"
    )


def graph_outputs(classes: int) -> tuple[TensorInfo, ...]:
    """Describe the outputs of a graph for so many classes."""
    return tuple(
        TensorInfo(name=name, dtype="float32", shape=(None, classes))
        for name in (LOGITS, PROBABILITIES)
    )


class Deployable(nn.Module):
    """A network for engines: normalisation before it, probabilities after it, fewer layers between.

    Takes ``uint8[N, crop, crop, 3]`` and gives logits and probabilities, ``float32[N, K]`` each;
    the probabilities are those of the logits divided by ``temperature``. Batch norm is folded away
    and channel counts are padded; docs/graph.md describes these steps.
    """

    offset: Tensor

    def __init__(
        self,
        network: nn.Module,
        preprocess: Preprocess,
        activation: Activation = "softmax",
        temperature: float = 1.0,
    ) -> None:
        super().__init__()
        self.activation = activation
        self.temperature = temperature
        assert isinstance(network, Network)  # noqa: S101 - for the type checker
        scale, shift = preprocess.normalisation()
        # Repeated for each pixel of a row: engines add whole rows as fast as memory allows, but
        # broadcast the three numbers of a pixel nearly one by one.
        offset = torch.from_numpy(shift / scale).repeat(preprocess.crop, 1)
        self.register_buffer("offset", offset)
        folded = fold_input_scale(fold_batch_norm(network), torch.from_numpy(scale))
        self.network = pad_channels(folded)

    def forward(self, pixels: Tensor) -> tuple[Tensor, Tensor]:
        """Return logits and probabilities."""
        # The cast comes first: TensorRT takes uint8 only as an input followed by a cast.
        centred = (pixels.float() + self.offset).permute(0, 3, 1, 2)
        logits = self.network(centred)
        scaled = logits if self.temperature == 1.0 else logits / self.temperature
        return logits, scaled.softmax(1) if self.activation == "softmax" else scaled.sigmoid()


def to_onnx(network: nn.Module, preprocess: Preprocess, manifest: Manifest) -> bytes:
    """Export ``network`` to ONNX.

    The graph takes ``pixels``, ``uint8[batch, crop, crop, 3]`` with a free batch, and gives
    ``logits`` and ``probabilities``, ``float32[batch, K]``. Normalisation is inside, batch norm is
    folded, channel counts are padded with zeros, and the manifest is in the file's metadata.

    Args:
        network: a trained network, any mode, on the CPU.
        preprocess: gives the graph's normalisation and size.
        manifest: put into the metadata without its artifacts; says how logits become
            probabilities.

    Returns:
        The content of the ``.onnx`` file.
    """
    deployable = Deployable(
        network, preprocess, manifest.model.activation, manifest.temperature
    ).eval()
    model = trace(deployable, preprocess.crop)
    _label_layers(model, list(deployable.network.layers()))
    model.metadata_props.clear()
    model.graph.metadata_props.clear()
    model.metadata_props[ONNX_METADATA_KEY] = manifest.model_copy(
        update={"artifacts": ()}
    ).to_json()
    model.producer_name = "fleetnet"
    model.producer_version = str(manifest.provenance.get("fleetnet", ""))
    proto = ir.to_proto(model)
    onnx.checker.check_model(proto, full_check=True)
    buffer = io.BytesIO()
    onnx.save_model(proto, buffer)
    return buffer.getvalue()


def trace(deployable: nn.Module, crop: int) -> ir.Model:
    """Turn a module that maps pixels to logits and probabilities into an ONNX graph.

    Args:
        deployable: takes ``uint8[N, crop, crop, 3]``, as :class:`Deployable` does.
        crop: height and width of the images.
    """
    example = torch.zeros(2, crop, crop, 3, dtype=torch.uint8)
    with warnings.catch_warnings(), _quiet():
        warnings.simplefilter("ignore")
        program = torch.onnx.export(
            deployable,
            (example,),
            input_names=[INPUT],
            output_names=[LOGITS, PROBABILITIES],
            dynamic_shapes={"pixels": {0: torch.export.Dim("batch")}},
            opset_version=OPSET,
            dynamo=True,
            optimize=True,
            verbose=False,
        )
    assert program is not None  # noqa: S101 - only a call with a file returns None
    return program.model


def _label_layers(model: ir.Model, layers: list[str]) -> None:
    """Replace the exporter's traces of the Python source by plain layer names.

    Nodes are named after the layer they belong to, and the node that computes a layer's output
    carries the layer's name as metadata. File names of the exporting machine are removed.
    """
    last: dict[str, ir.Node] = {}
    for number, node in enumerate(model.graph):
        scope = _scope_of(node)
        node.metadata_props.clear()
        node.name = f"{scope or 'deploy'}/{node.op_type}_{number}"
        for layer in layers:
            if scope == layer or scope.startswith(f"{layer}."):
                last[layer] = node
    for layer, node in last.items():
        node.metadata_props[LAYER_KEY] = layer
    for value in _values(model):
        value.metadata_props.clear()


def _scope_of(node: ir.Node) -> str:
    """Return the dotted name of the module whose code made this node, below the network."""
    scopes = node.metadata_props.get("pkg.torch.onnx.name_scopes", "[]")
    names = [part.strip(" '\"") for part in scopes.strip("[]").split(",")]
    inner = [name for name in names if name.startswith("network.")]
    return inner[-1].removeprefix("network.") if inner else ""


def _values(model: ir.Model) -> Iterator[ir.Value]:
    yield from model.graph.inputs
    yield from model.graph.initializers.values()
    for node in model.graph:
        yield from node.outputs


class _quiet:  # noqa: N801 - used like a function
    """Hide the exporter's log lines, which are about torchvision and opsets."""

    def __enter__(self) -> None:
        self.logger = logging.getLogger("torch.onnx")
        self.level = self.logger.level
        self.logger.setLevel(logging.ERROR)

    def __exit__(self, *_: object) -> None:
        self.logger.setLevel(self.level)
