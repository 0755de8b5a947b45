"""Answer pixels as model.pte in int8 would, in PyTorch, which takes a fraction of making that file.

It rounds the same values to the same steps; only where a sum falls between two of them may XNNPACK
take the other one.
"""

import sys
from pathlib import Path

import torch
from channel import answer

folder = Path(sys.argv[1])


def load():
    """Return what maps one batch of pixels to logits."""
    from executorch_rounding import rounded_network

    torch.set_num_threads(1)
    network, _ = rounded_network(folder)

    def run(pixels):
        # Copied, as PyTorch warns of memory that cannot be written to.
        with torch.inference_mode():
            return network(torch.from_numpy(pixels.copy())).numpy()

    return run


answer(load)
