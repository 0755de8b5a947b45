"""A network for inference whose channel counts fit the vectors that engines compute with.

ReXNet's widths, such as 27, 38, 50 and 61, are odd by design. Convolution kernels work on blocks of
channels: some engines take a slower road where a count is no multiple of the block (ONNX Runtime
leaves its blocked layout), others compute the remainder apart. Channels of zeros change no answer:
every activation here maps 0 to 0, and a gate times 0 is 0.
"""

from __future__ import annotations

import copy

import torch
from torch import nn

from fleetnet.models.layers import ConvNormAct, InvertedResidual, LinearNormAct, SqueezeExcite
from fleetnet.models.network import Network

MULTIPLE = 8
"""benchmarks/graph compares it with 4, 16 and 32."""


def padded_width(channels: int, multiple: int = MULTIPLE) -> int:
    """Round ``channels`` up to a multiple, of half as much where there are few.

    The narrowest networks would otherwise grow by half and gain nothing.
    """
    if channels <= 2 * multiple:
        multiple = max(multiple // 2, 1)
    return -(-channels // multiple) * multiple


def pad_channels(network: Network, multiple: int = MULTIPLE) -> Network:
    """Return a copy whose inner channel counts are rounded up, the new channels being zero.

    Images, logits and what the first channels of every layer hold stay as they are; the feature
    maps, the embedding and the weights get zeros at their end.

    Args:
        network: without batch norms, as :func:`fleetnet.models.folding.fold_batch_norm` returns it.
        multiple: see :func:`padded_width`.

    Raises:
        ValueError: ``network`` has batch norms, which would not leave the new channels zero.
    """
    if hasattr(network.stem, "norm"):
        raise ValueError("the network to pad still has batch norms: fold them first")
    padded = copy.deepcopy(network)
    width = _pad_layer(padded.stem, padded.stem.conv.in_channels, multiple)
    for block in padded.blocks:
        assert isinstance(block, InvertedResidual)  # noqa: S101 - for the type checker
        width = _pad_block(block, width, multiple)
    width = _pad_layer(padded.head, width, multiple)
    after_pool = padded.neck.linear if isinstance(padded.neck, LinearNormAct) else padded.classifier
    _widen(after_pool, after_pool.out_features, width)
    after_pool.in_features = width
    return padded


def _pad_block(block: InvertedResidual, width: int, multiple: int) -> int:
    hidden = width
    if isinstance(block.expand, ConvNormAct):
        hidden = _pad_layer(block.expand, width, multiple)
    depthwise = block.depthwise.conv
    _widen(depthwise, hidden, 1)
    depthwise.in_channels = depthwise.out_channels = depthwise.groups = hidden
    if isinstance(block.se, SqueezeExcite):
        squeezed = _pad_layer(block.se.reduce, hidden, multiple)
        _widen(block.se.expand, hidden, squeezed)
        block.se.expand.in_channels, block.se.expand.out_channels = squeezed, hidden
    return _pad_layer(block.project, hidden, multiple)


def _pad_layer(layer: ConvNormAct, in_channels: int, multiple: int) -> int:
    """Widen a layer to ``in_channels`` and a round number of outputs, and return that number."""
    out_channels = padded_width(layer.conv.out_channels, multiple)
    _widen(layer.conv, out_channels, in_channels)
    layer.conv.in_channels, layer.conv.out_channels = in_channels, out_channels
    return out_channels


def _widen(layer: nn.Conv2d | nn.Linear, outputs: int, inputs: int) -> None:
    """Add zeros to the weights and biases of a layer, for more outputs and inputs."""
    weight = torch.zeros(outputs, inputs, *layer.weight.shape[2:], dtype=layer.weight.dtype)
    bias = torch.zeros(outputs, dtype=layer.weight.dtype)
    weight[: layer.weight.shape[0], : layer.weight.shape[1]] = layer.weight.detach()
    bias[: layer.weight.shape[0]] = 0 if layer.bias is None else layer.bias.detach()
    layer.weight, layer.bias = nn.Parameter(weight), nn.Parameter(bias)
