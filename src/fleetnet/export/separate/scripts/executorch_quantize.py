"""Turn program.pt2 into model.pte in int8, calibrated on images.npy, but for the layers kept."""

import json
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from executorch.backends.xnnpack.partition.xnnpack_partitioner import XnnpackPartitioner
from executorch.backends.xnnpack.quantizer.xnnpack_quantizer import (
    XNNPACKQuantizer,
    get_symmetric_quantization_config,
)
from executorch.exir import to_edge_transform_and_lower
from torchao.quantization.pt2e import MinMaxObserver
from torchao.quantization.pt2e.quantize_pt2e import convert_pt2e, prepare_pt2e

WEIGHTED = (torch.ops.aten.conv2d.default, torch.ops.aten.linear.default)
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


folder = Path(sys.argv[1])
settings = json.loads((folder / "settings.json").read_text("utf-8"))
batch = settings["batch"]
images = np.load(folder / "images.npy")
# The last batch is filled up with the first images.
images = np.resize(images, (-(-len(images) // batch) * batch, *images.shape[1:]))
given = torch.from_numpy(images.reshape(-1, batch, *images.shape[1:]))
torch.set_num_threads(1)

network = torch.export.load(folder / "program.pt2").module()
layers = layers_of(network.graph)
if wrong := set(settings["layers"]) ^ {layer for layer in layers.values() if layer}:
    sys.exit(f"the program's layers are not those of the network: {sorted(wrong)[0]}")
rounded = {layer for layer in layers.values() if layer} - set(settings["kept"])
config = get_symmetric_quantization_config(is_per_channel=True)
ranges = replace(
    config.input_activation,
    observer_or_fake_quant_ctr=MinMaxObserver.with_args(eps=2**-12),
)
config = replace(config, input_activation=ranges, output_activation=ranges)
quantizer = XNNPACKQuantizer().set_global(config)
# It is asked of weights too, which stand before all layers.
quantizer.set_filter_function(
    lambda node: node.op == "get_attr" or layers.get(node.name) in rounded
)
observed = prepare_pt2e(network, quantizer)
with torch.no_grad():
    for part in given:
        observed(part)
program = torch.export.export(convert_pt2e(observed), (given[0],))
lowered = to_edge_transform_and_lower(program, partitioner=[XnnpackPartitioner()])
(folder / "model.pte").write_bytes(lowered.to_executorch().buffer)
