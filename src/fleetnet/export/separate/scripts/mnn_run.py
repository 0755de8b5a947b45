"""Answer pixels with model.mnn, in fp32 arithmetic."""

import json
import sys
from pathlib import Path

import numpy as np
from channel import answer

folder = Path(sys.argv[1])
settings = json.loads((folder / "settings.json").read_text("utf-8"))


def load():
    """Return what maps pixels to logits, or to what all layers with weights compute."""
    # Here, as it prints when it is imported: on the channel, if that were not taken yet.
    import MNN

    file = str(folder / "model.mnn")
    wanted = ["logits"]
    if settings.get("layers"):
        wanted = list(weighted(MNN.expr.load_as_dict(file)["logits"]))
    arithmetic = {"backend": 0, "precision": "high", "numThread": 1}
    runtime = MNN.nn.create_runtime_manager((arithmetic,))
    network = MNN.nn.load_module_from_file(file, ["pixels"], wanted, runtime_manager=runtime)

    def run(pixels):
        # NCHW is what MNN calls every tensor whose axes are those of the ONNX graph.
        given = MNN.expr.const(pixels, list(pixels.shape), MNN.expr.NCHW, MNN.expr.uint8)
        answers = network.forward([given])
        if not answers:
            raise ValueError("MNN computes nothing of these pixels")
        if wanted == ["logits"]:
            return np.array(answers[0].read())
        # Else in the layout of its own arithmetic.
        # Each is held while it is copied: what it reads from is freed with it, and written over.
        plain = [MNN.expr.convert(one, MNN.expr.NCHW) for one in answers]
        rows = [np.array(one.read()) for one in plain]
        return np.concatenate([row.reshape(len(pixels), -1) for row in rows], axis=1)

    return run


def weighted(value):
    """Yield the names of the layers with weights that a value is of, in the order they run."""
    stack, seen = [(value, False)], set()
    while stack:
        one, done = stack.pop()
        if done:
            if one.op_type.startswith(("Convolution", "MatMul")):
                yield one.name
        elif one.name not in seen:
            seen.add(one.name)
            stack.append((one, True))
            stack.extend((given, False) for given in reversed(one.inputs))


answer(load)
