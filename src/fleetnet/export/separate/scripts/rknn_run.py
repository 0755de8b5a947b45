"""Answer pixels with the simulator, of the network that model.rknn was made of."""

import sys
from pathlib import Path

import numpy as np
from channel import answer

folder = Path(sys.argv[1])


def load():
    """Return what maps pixels to logits."""
    # Here, as it prints when it is imported: on the channel, if that were not taken yet.
    from rknn_network import built

    network = built(folder)
    network.call("init_runtime")
    return lambda pixels: np.concatenate([network.logits(image[None]) for image in pixels])


answer(load)
