"""Turn program.pt2 into model.pte, with XNNPACK for all that it can compute."""

import json
import sys
from pathlib import Path

import torch
from executorch.backends.xnnpack.partition.xnnpack_partitioner import XnnpackPartitioner
from executorch.exir import to_edge_transform_and_lower

WEIGHTED = (torch.ops.aten.conv2d.default, torch.ops.aten.linear.default)
folder = Path(sys.argv[1])
settings = json.loads((folder / "settings.json").read_text("utf-8"))


def giving_layers(exported):
    """Return the program with what its layers with weights compute as its output, in one row."""
    module = exported.module()
    graph = module.graph
    layers = [
        node for node in graph.nodes if node.op == "call_function" and node.target in WEIGHTED
    ]
    (given,) = graph.find_nodes(op="output")
    with graph.inserting_before(given):
        rows = [graph.call_function(torch.ops.aten.flatten.using_ints, (one, 1)) for one in layers]
        values = graph.call_function(torch.ops.aten.cat.default, (rows, 1))
    given.args = ((values,),)
    module.recompile()
    return torch.export.export(module, exported.example_inputs[0])


program = torch.export.load(folder / "program.pt2")
if settings["layers"]:
    program = giving_layers(program)
lowered = to_edge_transform_and_lower(program, partitioner=[XnnpackPartitioner()])
(folder / "model.pte").write_bytes(lowered.to_executorch().buffer)
