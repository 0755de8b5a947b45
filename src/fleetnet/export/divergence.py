"""Finding the first layer whose output differs from the trained network's."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import onnx
import torch
from torch import Tensor, nn

from fleetnet.export.onnx import LAYER_KEY
from fleetnet.inference.engines import open_graph
from fleetnet.models.normalisation import Normalisation
from fleetnet.preprocess import Preprocess

THRESHOLD = 1e-3
"""A layer diverges if its largest difference exceeds this share of its largest value.

Rounding in fp32 causes about a hundredth of that; a wrong weight or attribute far more.
"""


class Divergence(NamedTuple):
    """A layer and its largest difference as a share of its largest value."""

    layer: str
    difference: float


def first_divergence(
    content: bytes,
    engine: str,
    network: nn.Module,
    preprocess: Preprocess,
    pixels: npt.NDArray[np.uint8],
) -> Divergence | None:
    """Compare the outputs of all labelled layers of an ONNX graph with those of the network.

    Args:
        content: an ONNX file as :func:`fleetnet.export.onnx.to_onnx` writes it.
        engine: one of :func:`fleetnet.inference.engines.graph_engines`.
        network: the trained network, unfolded, on the CPU.
        preprocess: of both.
        pixels: ``uint8[N, crop, crop, 3]``, on which the answers differ.

    Returns:
        The first layer beyond :data:`THRESHOLD`, in the order they run; None if no layer is.
    """
    tapped, names = _tap(content)
    with open_graph(engine, tapped) as opened:
        found = opened.outputs(pixels)
    expected = _layer_outputs(network, preprocess, pixels, list(names))
    for layer, value in names.items():
        reference = _widened(expected[layer], found[value].shape[1])
        scale = max(float(np.abs(reference).max()), 1e-6)
        difference = float(np.abs(found[value] - reference).max()) / scale
        if not difference <= THRESHOLD:
            return Divergence(layer, difference)
    return None


def _widened(values: npt.NDArray[np.float32], channels: int) -> npt.NDArray[np.float32]:
    """Add channels of zeros, as the graph's padded layers have them."""
    extra = [(0, channels - size if axis == 1 else 0) for axis, size in enumerate(values.shape)]
    return np.pad(values, extra)


def _tap(content: bytes) -> tuple[bytes, dict[str, str]]:
    """Make every labelled layer's output an output of the graph; return its name for each layer."""
    model = onnx.load_from_string(content)
    names: dict[str, str] = {}
    present = {output.name for output in model.graph.output}
    for node in model.graph.node:
        for entry in node.metadata_props:
            if entry.key == LAYER_KEY:
                names[entry.value] = node.output[0]
    for value in names.values():
        if value not in present:
            output = onnx.helper.make_tensor_value_info(value, onnx.TensorProto.FLOAT, None)
            model.graph.output.append(output)
    return model.SerializeToString(), names


@torch.inference_mode()
def _layer_outputs(
    network: nn.Module, preprocess: Preprocess, pixels: npt.NDArray[np.uint8], layers: list[str]
) -> dict[str, npt.NDArray[np.float32]]:
    outputs: dict[str, npt.NDArray[np.float32]] = {}
    handles = []
    for layer in layers:

        def keep(_: nn.Module, __: object, output: Tensor, layer: str = layer) -> None:
            outputs[layer] = output.numpy().copy()

        handles.append(network.get_submodule(layer).register_forward_hook(keep))
    normalise = Normalisation(*preprocess.normalisation())
    try:
        network.eval()(normalise(torch.tensor(pixels)).contiguous())
    finally:
        for handle in handles:
            handle.remove()
    return outputs
