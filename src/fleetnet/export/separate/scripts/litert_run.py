"""Answer pixels with model.tflite, in fp32 arithmetic unless the file says otherwise."""

import sys
from pathlib import Path

from ai_edge_litert.interpreter import Interpreter
from channel import answer

folder = Path(sys.argv[1])


def load():
    """Return what maps one batch of pixels to logits."""
    interpreter = Interpreter(str(folder / "model.tflite"), num_threads=1)
    interpreter.allocate_tensors()
    (given,), (wanted,) = interpreter.get_input_details(), interpreter.get_output_details()

    def run(pixels):
        interpreter.set_tensor(given["index"], pixels)
        interpreter.invoke()
        return interpreter.get_tensor(wanted["index"])

    return run


answer(load)
