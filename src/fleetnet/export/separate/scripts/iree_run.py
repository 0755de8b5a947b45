"""Answer pixels with model.vmfb, on one thread."""

import sys
from pathlib import Path

import iree.runtime as iree
import numpy as np
from channel import answer

folder = Path(sys.argv[1])


def load():
    """Return what maps one batch of pixels to logits."""
    settings = iree.Config("local-sync")
    content = (folder / "model.vmfb").read_bytes()
    module = iree.load_vm_module(iree.VmModule.copy_buffer(settings.vm_instance, content), settings)
    compute = module["logits"]
    # A copy: what it is a view of is written anew by the next call.
    return lambda pixels: np.array(compute(pixels).to_host())


answer(load)
