"""Turn program.pt2 into model.pte, with XNNPACK for all that it can compute."""

import sys
from pathlib import Path

import torch
from executorch.backends.xnnpack.partition.xnnpack_partitioner import XnnpackPartitioner
from executorch.exir import to_edge_transform_and_lower

folder = Path(sys.argv[1])
program = torch.export.load(folder / "program.pt2")
lowered = to_edge_transform_and_lower(program, partitioner=[XnnpackPartitioner()])
(folder / "model.pte").write_bytes(lowered.to_executorch().buffer)
