"""Answer pixels with model.tflite, in fp32 arithmetic unless the file says otherwise."""

import json
import sys
from pathlib import Path

import numpy as np
from ai_edge_litert.interpreter import Interpreter, OpResolverType
from channel import answer

folder = Path(sys.argv[1])
settings = json.loads((folder / "settings.json").read_text("utf-8"))
WEIGHTED = ("CONV_2D", "DEPTHWISE_CONV_2D", "FULLY_CONNECTED")


def load():
    """Return what maps one batch of pixels to logits."""
    interpreter = Interpreter(str(folder / "model.tflite"), num_threads=1)
    interpreter.allocate_tensors()
    (given,), (wanted,) = interpreter.get_input_details(), interpreter.get_output_details()

    def run(pixels):
        interpreter.set_tensor(given["index"], taken(pixels, given))
        interpreter.invoke()
        return row(interpreter, wanted)

    return run


def layers():
    """Return what maps one batch of pixels to what all layers with weights compute."""
    interpreter = Interpreter(
        str(folder / "model.tflite"),
        num_threads=1,
        experimental_preserve_all_tensors=True,
        experimental_op_resolver_type=OpResolverType.BUILTIN_WITHOUT_DEFAULT_DELEGATES,
    )
    interpreter.allocate_tensors()
    (given,) = interpreter.get_input_details()
    tensors = {one["index"]: one for one in interpreter.get_tensor_details()}
    wanted = [
        tensors[operator["outputs"][0]]
        for operator in interpreter._get_ops_details()
        if operator["op_name"] in WEIGHTED
        # One number is no layer, but part of an activation or of the normalisation.
        and max(tensors[operator["inputs"][1]]["shape"]) > 1
    ]

    def run(pixels):
        interpreter.set_tensor(given["index"], taken(pixels, given))
        interpreter.invoke()
        return np.concatenate([row(interpreter, tensor) for tensor in wanted], axis=1)

    return run


def taken(pixels, given):
    """Return pixels as the network takes them: less 128 where all of it is rounded."""
    if given["dtype"] == np.int8:
        return (pixels.astype(np.int16) - 128).astype(np.int8)
    return pixels


def row(interpreter, tensor):
    """Return the values of a tensor as rows, channels first."""
    values = interpreter.get_tensor(tensor["index"]).astype(np.float32)
    scale, zero = tensor["quantization"]
    if scale:
        values = (values - zero) * scale
    if values.ndim == 4:
        values = values.transpose(0, 3, 1, 2)
    return values.reshape(len(values), -1)


answer(layers if settings.get("layers") else load)
