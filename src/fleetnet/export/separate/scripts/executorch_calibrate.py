"""Measure the ranges of all values in program.pt2 on images.npy, into ranges.json.

Rounding changes none of them: observers see what the network in fp32 computes. So they are measured
once for all choices of layers.
"""

import json
import sys
from pathlib import Path

import numpy as np
import torch

CLAMPS = (torch.ops.aten.hardtanh.default, torch.ops.aten.relu.default)


class Measuring(torch.fx.Interpreter):
    """Runs a graph, and widens the range of each value by what it was."""

    def __init__(self, network):
        super().__init__(network)
        self.ranges = {}

    def run_node(self, node):
        """Run one, and look at what it gave."""
        value = super().run_node(node)
        if node.op == "call_function" and torch.is_tensor(value) and value.is_floating_point():
            low, high = (bound.item() for bound in torch.aminmax(value))
            before = self.ranges.get(node.name, (low, high))
            self.ranges[node.name] = min(before[0], low), max(before[1], high)
        return value

    def clamp(self):
        """Give what goes into a clamp alone the range of what comes out.

        The quantiser rounds both to the same steps. Beyond them values are cut off, which is what
        the clamp does to them; the range before it is many times as wide.
        """
        for node in reversed(self.module.graph.nodes):
            users = list(node.users)
            if len(users) == 1 and users[0].target in CLAMPS:
                self.ranges[node.name] = self.ranges[users[0].name]


folder = Path(sys.argv[1])
batch = json.loads((folder / "settings.json").read_text("utf-8"))["batch"]
images = np.load(folder / "images.npy")
# The last batch is filled up with the first images.
images = np.resize(images, (-(-len(images) // batch) * batch, *images.shape[1:]))
torch.set_num_threads(1)
measuring = Measuring(torch.export.load(folder / "program.pt2").module())
with torch.inference_mode():
    for part in torch.from_numpy(images.reshape(-1, batch, *images.shape[1:])):
        measuring.run(part)
measuring.clamp()
(folder / "ranges.json").write_text(json.dumps(measuring.ranges), "utf-8")
