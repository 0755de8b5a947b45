"""Answer pixels with model.pte, on one thread."""

import sys
from pathlib import Path

import torch
from channel import answer

folder = Path(sys.argv[1])


def load():
    """Return what maps one batch of pixels to logits."""
    from executorch.extension.pybindings import portable_lib
    from executorch.runtime import Runtime

    # The runtime's Python has no other way to say so.
    portable_lib._unsafe_reset_threadpool(1)
    program = Runtime.get().load_program((folder / "model.pte").read_bytes())
    method = program.load_method("forward")

    def run(pixels, _kept=program):  # a method does not keep its program, whose memory it reads
        # Copied, as PyTorch warns of memory that cannot be written to.
        (logits,) = method.execute([torch.from_numpy(pixels.copy())])
        return logits.numpy().copy()  # the next call writes over it

    return run


answer(load)
