"""Turn program.pt2 into model.pte in int8, by ranges.json, but for the layers kept."""

import sys
from pathlib import Path

import torch
from executorch.backends.xnnpack.partition.xnnpack_partitioner import XnnpackPartitioner
from executorch.exir import to_edge_transform_and_lower
from executorch_rounding import rounded_network

folder = Path(sys.argv[1])
torch.set_num_threads(1)
network, black = rounded_network(folder)
program = torch.export.export(network, (black,))
lowered = to_edge_transform_and_lower(program, partitioner=[XnnpackPartitioner()])
(folder / "model.pte").write_bytes(lowered.to_executorch().buffer)
