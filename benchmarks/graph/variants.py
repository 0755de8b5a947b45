"""Forms of the exported graph: before, as export writes it, and what else was tried.

A variant is a list of steps. Each step changes a network whose batch norms are folded, or how the
deployed network takes its pixels; the answers stay the same, except with the steps in
``CEILINGS``, which only show what a part of the network costs.
"""

from __future__ import annotations

import copy
import types
from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.nn import functional

from fleetnet.models.base import Network
from fleetnet.models.folding import fold_batch_norm, fold_input_scale
from fleetnet.models.layers import ConvNormAct, InvertedResidual, SqueezeExcite
from fleetnet.models.padding import pad_channels
from fleetnet.preprocess import Preprocess

STRIPS = 4


class Graph(nn.Module):
    """A network whose batch norms are folded, with normalisation as it was before any step."""

    scale: Tensor
    shift: Tensor

    def __init__(self, network: Network, preprocess: Preprocess) -> None:
        super().__init__()
        scale, shift = preprocess.normalisation()
        self.register_buffer("scale", torch.from_numpy(scale))
        self.register_buffer("shift", torch.from_numpy(shift))
        self.crop = preprocess.crop
        self.network = fold_batch_norm(network)

    def normalise(self, pixels: Tensor) -> Tensor:
        """Map ``uint8[N, crop, crop, 3]`` to ``float32[N, 3, crop, crop]``."""
        return (pixels.float() * self.scale + self.shift).permute(0, 3, 1, 2)

    def forward(self, pixels: Tensor) -> tuple[Tensor, Tensor]:
        """Return logits and probabilities."""
        logits = self.network(self.normalise(pixels))
        return logits, logits.softmax(1)


Step = Callable[[Graph], None]


def _method(owner: nn.Module, name: str, function: Callable[..., Tensor]) -> None:
    setattr(owner, name, types.MethodType(function, owner))


def _blocks(graph: Graph) -> list[InvertedResidual]:
    return [module for module in graph.modules() if isinstance(module, InvertedResidual)]


def joined_shortcut(graph: Graph) -> None:
    """Write the shortcut as the paper does: slice the output, add the input, join."""

    def forward(self: InvertedResidual, x: Tensor) -> Tensor:
        y: Tensor = self.project(self.act(self.se(self.depthwise(self.expand(x)))))
        if not self.shortcut:
            return y
        channels = x.shape[1]
        if y.shape[1] == channels:
            return x + y
        return torch.cat([y[:, :channels] + x, y[:, channels:]], dim=1)

    for block in _blocks(graph):
        _method(block, "forward", forward)


def centred(graph: Graph) -> None:
    """Add an offset to whole rows of pixels; the scale goes into the stem's weights."""
    graph.network = fold_input_scale(graph.network, graph.scale)
    graph.register_buffer("offset", (graph.shift / graph.scale).repeat(graph.crop, 1))

    def normalise(self: Graph, pixels: Tensor) -> Tensor:
        offset = self.get_buffer("offset")
        return (pixels.float() + offset).permute(0, 3, 1, 2)

    _method(graph, "normalise", normalise)


def planes(graph: Graph) -> None:
    """Normalise after the change of layout instead, channel by channel."""
    graph.network = fold_input_scale(graph.network, graph.scale)

    def normalise(self: Graph, pixels: Tensor) -> Tensor:
        return pixels.permute(0, 3, 1, 2).float() + (self.shift / self.scale)[:, None, None]

    _method(graph, "normalise", normalise)


def padded(multiple: int) -> Step:
    """Round channel counts up."""

    def step(graph: Graph) -> None:
        graph.network = pad_channels(graph.network, multiple)

    return step


def average_pools(graph: Graph) -> None:
    """Pool by GlobalAveragePool instead of ReduceMean."""

    def gate(self: SqueezeExcite, x: Tensor) -> Tensor:
        pooled = functional.adaptive_avg_pool2d(x, 1)
        return x * self.expand(self.reduce(pooled)).sigmoid()

    def pool(_: Network, features: Tensor) -> Tensor:
        return functional.adaptive_avg_pool2d(features, 1).flatten(1)

    for module in graph.modules():
        if isinstance(module, SqueezeExcite):
            _method(module, "forward", gate)
    _method(graph.network, "pool", pool)


def convolved_classifier(graph: Graph) -> None:
    """Compute the classifier as a 1×1 convolution instead of Gemm."""
    linear = graph.network.classifier
    conv = nn.Conv2d(linear.in_features, linear.out_features, 1)
    conv.load_state_dict({"weight": linear.weight[:, :, None, None], "bias": linear.bias})
    graph.network.classifier = nn.Sequential(
        nn.Unflatten(1, (linear.in_features, 1, 1)), conv, nn.Flatten(1)
    )


class _HalvedSiLU(nn.Module):
    """SiLU of ``2 * u`` by way of tanh: ``u + u * tanh(u)``."""

    def forward(self, u: Tensor) -> Tensor:
        """Apply it to each element."""
        return u + u * u.tanh()


def tanh_silu(graph: Graph) -> None:
    """Compute SiLU from tanh; its halving goes into the convolution before it."""
    for module in graph.modules():
        if isinstance(module, ConvNormAct) and isinstance(getattr(module, "act", None), nn.SiLU):
            with torch.no_grad():
                module.conv.weight *= 0.5
                module.conv.bias *= 0.5
            module.act = _HalvedSiLU()


def paired_stem(graph: Graph) -> None:
    """Let the stem see two neighbouring pixels as one of six channels; runs after ``centred``."""
    conv = graph.network.stem.conv
    weight = torch.zeros(conv.out_channels, 2, 3, 3, 2)
    # A pair holds an even column and the odd one after it: of the kernel's three columns the
    # first lies in the pair to the left.
    weight[:, 1, :, :, 0] = conv.weight[:, :, :, 0].detach()
    weight[:, :, :, :, 1] = conv.weight[:, :, :, 1:].detach().permute(0, 3, 1, 2)
    pairs = nn.Conv2d(6, conv.out_channels, (3, 2), stride=(2, 1))
    pairs.load_state_dict({"weight": weight.reshape(-1, 6, 3, 2), "bias": conv.bias})
    graph.network.stem.conv = nn.Sequential(nn.ZeroPad2d((1, 0, 1, 0)), pairs)

    def normalise(self: Graph, pixels: Tensor) -> Tensor:
        rows = pixels.float() + self.get_buffer("offset")
        return rows.reshape(-1, self.crop, self.crop // 2, 6).permute(0, 3, 1, 2)

    _method(graph, "normalise", normalise)


def strips(graph: Graph) -> None:
    """Compute the second block in horizontal strips, which fit the cache.

    Each strip has weights of its own: engines do not fuse layers that share a constant.
    """
    block = _blocks(graph)[1]
    parts = nn.ModuleList(copy.deepcopy(block) for _ in range(STRIPS))
    stride = block.depthwise.conv.stride[0]
    for part in parts:
        part.depthwise.conv.padding = (0, 1)
    block.add_module("strips", parts)

    def forward(self: InvertedResidual, x: Tensor) -> Tensor:
        height = x.shape[2]
        rows = (height - 1) // stride + 1
        outputs = []
        for index, part in enumerate(self.get_submodule("strips").children()):
            first, last = index * rows // STRIPS, (index + 1) * rows // STRIPS - 1
            top, bottom = first * stride - 1, last * stride + 2
            y = part.get_submodule("expand")(x[:, :, max(top, 0) : min(bottom, height)])
            y = functional.pad(y, (0, 0, max(-top, 0), max(bottom - height, 0)))
            y = part.get_submodule("act")(part.get_submodule("depthwise")(y))
            outputs.append(part.get_submodule("project")(y))
        return torch.cat(outputs, 2)

    _method(block, "forward", forward)


def relu_for_silu(graph: Graph) -> None:
    """Put ReLU in SiLU's place: what SiLU costs."""
    for module in graph.modules():
        if isinstance(module, ConvNormAct) and isinstance(getattr(module, "act", None), nn.SiLU):
            module.act = nn.ReLU()


def no_first_expand(graph: Graph) -> None:
    """Leave out the first block's expansion where it keeps the width: what it costs."""
    block = _blocks(graph)[0]
    if isinstance(block.expand, ConvNormAct):
        block.expand = nn.Identity()


KEPT: tuple[Step, ...] = (centred, padded(8))
VARIANTS: dict[str, tuple[Step, ...]] = {
    "before": (joined_shortcut,),
    "export": KEPT,
    "centred": (joined_shortcut, centred),
    "planes": (joined_shortcut, planes),
    "padded-8": (joined_shortcut, padded(8)),
    "shortcut": (),
    "export-4": (centred, padded(4)),
    "export-16": (centred, padded(16)),
    "export-32": (centred, padded(32)),
    "average-pools": (*KEPT, average_pools),
    "convolved-classifier": (*KEPT, convolved_classifier),
    "tanh-silu": (*KEPT, tanh_silu),
    "paired-stem": (*KEPT, paired_stem),
    "strips": (*KEPT, strips),
    "relu-for-silu": (*KEPT, relu_for_silu),
    "no-first-expand": (*KEPT, no_first_expand),
}
"""Name to steps. ``before`` is the graph with only batch norm folded."""
CEILINGS = ("relu-for-silu", "no-first-expand")
"""Variants with other answers."""


def build(name: str, network: Network, preprocess: Preprocess) -> Graph:
    """Apply a variant's steps to a network."""
    graph = Graph(network, preprocess)
    for step in VARIANTS[name]:
        step(graph)
    return graph.eval()
