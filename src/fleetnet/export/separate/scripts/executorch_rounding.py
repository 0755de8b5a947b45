"""program.pt2 with its values rounded to 8 bits, by ranges.json, but for the layers kept."""

import json
import sys
from dataclasses import replace

import torch
from executorch.backends.xnnpack.quantizer.xnnpack_quantizer import (
    XNNPACKQuantizer,
    get_symmetric_quantization_config,
)
from torchao.quantization.pt2e import MinMaxObserver
from torchao.quantization.pt2e.quantize_pt2e import convert_pt2e, prepare_pt2e

WEIGHTED = (torch.ops.aten.conv2d.default, torch.ops.aten.linear.default)
MEAN = torch.ops.aten.mean.dim
ANNOTATION = "quantization_annotation"
NETWORK = "deployable.network."
"""Of the names of the network's modules in the program."""


def layers_of(graph):
    """Return the layer that each node belongs to: the last with weights before it."""
    layer, found = None, {}
    for node in graph.nodes:
        if node.target in WEIGHTED:
            name, _ = list(node.meta["nn_module_stack"].values())[-1]
            layer = name.removeprefix(NETWORK).removesuffix(".conv").removesuffix(".linear")
        found[node.name] = layer
    return found


def widen(observed, ranges):
    """Give the observers of activations the ranges that were measured.

    One that several values share, such as both sides of an addition, gets what holds all of them.
    """
    bounds = {}
    for node in observed.graph.nodes:
        if node.op != "call_module" or node.args[0].name not in ranges:
            continue
        observer = observed.get_submodule(node.target)
        if isinstance(observer, MinMaxObserver):
            bounds.setdefault(observer, []).append(ranges[node.args[0].name])
    if not bounds:
        sys.exit("none of the values that are to be rounded was measured")
    for observer, found in bounds.items():
        observer.min_val = torch.tensor(min(low for low, _ in found))
        observer.max_val = torch.tensor(max(high for _, high in found))


class Quantizer(XNNPACKQuantizer):
    """XNNPACK's, but for means over the pixels, which stay as they are.

    It rounds a mean to the steps of what it is of, whose range is many times as wide, and so leaves
    the next layer a few steps to tell features by.
    """

    def annotate(self, model):
        """Say which values are rounded, and how."""
        model = super().annotate(model)
        bare = set()
        for node in model.graph.nodes:
            # What only passes a mean on was given the mean's steps.
            passes = bool(bare & {*node.all_input_nodes}) and node.target not in WEIGHTED
            if node.target is MEAN or (passes and node.meta.pop(ANNOTATION, None)):
                node.meta.pop(ANNOTATION, None)
                bare.add(node)
        return model


def quantizer_of(layers, rounded):
    """Return XNNPACK's quantiser for the nodes of some layers: weights have a scale a channel."""
    config = get_symmetric_quantization_config(is_per_channel=True)
    activations = replace(
        config.input_activation,
        observer_or_fake_quant_ctr=MinMaxObserver.with_args(eps=2**-12),
    )
    config = replace(config, input_activation=activations, output_activation=activations)
    # The filter is asked of weights too, which stand before all layers.
    return (
        Quantizer()
        .set_global(config)
        .set_filter_function(lambda node: node.op == "get_attr" or layers.get(node.name) in rounded)
    )


def rounded_network(folder):
    """Return the network in PyTorch, with what rounds and what undoes it, and black images."""
    settings = json.loads((folder / "settings.json").read_text("utf-8"))
    ranges = json.loads((folder / "ranges.json").read_text("utf-8"))
    network = torch.export.load(folder / "program.pt2").module()
    (pixels,) = (node.meta["val"] for node in network.graph.nodes if node.op == "placeholder")
    black = torch.zeros(pixels.shape, dtype=pixels.dtype)
    layers = layers_of(network.graph)
    if wrong := set(settings["layers"]) ^ {layer for layer in layers.values() if layer}:
        sys.exit(f"the program's layers are not those of the network: {sorted(wrong)[0]}")
    rounded = {layer for layer in layers.values() if layer} - set(settings["kept"])
    observed = prepare_pt2e(network, quantizer_of(layers, rounded))
    with torch.no_grad():
        observed(black)  # shows the weights, which are measured as they are rounded
    if rounded:
        widen(observed, ranges)
    return convert_pt2e(observed), black
