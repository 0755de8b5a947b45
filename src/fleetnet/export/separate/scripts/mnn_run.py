"""Answer pixels with model.mnn, in fp32 arithmetic."""

import sys
from pathlib import Path

import numpy as np
from channel import answer

folder = Path(sys.argv[1])


def load():
    """Return what maps pixels to logits."""
    # Here, as it prints when it is imported: on the channel, if that were not taken yet.
    import MNN

    settings = {"backend": 0, "precision": "high", "numThread": 1}
    runtime = MNN.nn.create_runtime_manager((settings,))
    network = MNN.nn.load_module_from_file(
        str(folder / "model.mnn"), ["pixels"], ["logits"], runtime_manager=runtime
    )

    def run(pixels):
        # NCHW is what MNN calls every tensor whose axes are those of the ONNX graph.
        given = MNN.expr.const(pixels, list(pixels.shape), MNN.expr.NCHW, MNN.expr.uint8)
        answers = network.forward([given])
        if not answers:
            raise ValueError("MNN computes nothing of these pixels")
        return np.array(answers[0].read())

    return run


answer(load)
